//! What nodes lack when a ring takes the place of another.
//!
//! Invariant: once every node has what it is said to lack here, most of those who own a token by the new ring have
//! whatever most of those who owned it by the old one were known to have.

use std::collections::BTreeSet;

use crate::cluster::ring::Ring;
use crate::types::{NodeNumber, Token};

/// The preference lists of both rings wherever they may differ; some may come twice.
pub fn pairs<'r>(old: &'r Ring, new: &'r Ring) -> impl Iterator<Item = (&'r [NodeNumber], &'r [NodeNumber])> {
    // Between two neighbouring places of either ring nothing changes, and the arc ends at the second.
    let ends = old.tokens.iter().chain(&new.tokens);
    ends.map(|&end| (old.preference_list(Token(end)), new.preference_list(Token(end))))
}

/// Whether `node` has to get what the old owners have before the new ones alone own it: it is new, or so few are to
/// own it that most of them might have missed what most of the old ones have.
#[must_use]
pub fn lacks(node: NodeNumber, old: &[NodeNumber], new: &[NodeNumber]) -> bool {
    let majority = |count: usize| count / 2 + 1;
    let missing = old.len().saturating_sub(majority(old.len()));
    let enough_have_it = new.len() >= majority(new.len()) + missing;
    new.contains(&node) && (!old.contains(&node) || !enough_have_it)
}

/// Everybody who lacks something.
#[must_use]
pub fn gains(old: &Ring, new: &Ring) -> BTreeSet<NodeNumber> {
    let lacking = |(old, new): (_, &[NodeNumber])| {
        new.iter().copied().filter(|&node| lacks(node, old, new)).collect::<Vec<_>>()
    };
    pairs(old, new).flat_map(lacking).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(old: &[u16], new: &[u16]) -> Vec<u16> {
        let numbers = |list: &[u16]| list.iter().copied().map(NodeNumber).collect::<Vec<_>>();
        let (old, new) = (numbers(old), numbers(new));
        new.iter().filter(|&&node| lacks(node, &old, &new)).map(|node| node.0).collect()
    }

    #[test]
    fn newcomers_lack_everything_and_the_others_what_too_few_of_them_might_have() {
        assert_eq!(lacking(&[1, 2, 3], &[1, 2, 3]), [0u16; 0]);
        assert_eq!(lacking(&[1, 2, 3], &[4, 1, 2]), [4]);
        assert_eq!(lacking(&[1, 2, 3], &[4, 5, 1]), [4, 5]);
        assert_eq!(lacking(&[1], &[1, 2, 3]), [2, 3]);
        assert_eq!(lacking(&[1, 2], &[1]), [0u16; 0], "both have it");
        assert_eq!(lacking(&[1, 2, 3], &[1, 2]), [1, 2], "1 and 3 may have it, of which 1 is half");
        assert_eq!(lacking(&[1, 2, 3], &[2]), [2]);
        assert_eq!(
            lacking(&[1, 2, 3, 4], &[1, 2, 3]),
            [0u16; 0],
            "two of three have what three of four have"
        );
        assert_eq!(lacking(&[1, 2, 3, 4, 5], &[1, 2, 3]), [1, 2, 3]);
    }
}
