//! Why a key lies where it lies: the walk round the ring, step by step, for people.
//!
//! Invariant: the explanation is the walk that computed the preference list, told by the same code; it cannot
//! disagree with the list. It is not for the path of a request.

use super::{Place, Walk};
use crate::types::{NodeNumber, Token, Zone};

/// Why the walk took a node, or did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The first node of its zone: taken.
    NewZone,
    /// Its zone holds the key already: taken only if there are fewer zones than replicas.
    SameZone,
    /// Another place of a node met before.
    SameNode,
}

/// One place that the walk met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// Where.
    pub token: Token,
    /// Whose.
    pub node: NodeNumber,
    /// In which zone.
    pub zone: Zone,
    /// What it meant for the list.
    pub reason: Reason,
}

/// The way from a token to the nodes that hold it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The key's token.
    pub token: Token,
    /// The places met clockwise from there, until the list was full.
    pub steps: Vec<Step>,
    /// The nodes that hold it, the preferred one first.
    pub preference_list: Vec<NodeNumber>,
}

pub(super) fn explain(walk: &Walk<'_>, token: Token, start: usize) -> Explanation {
    let (mut steps, mut preference_list) = (Vec::new(), Vec::new());
    walk.from(start, &mut preference_list, |&Place { token, member }, reason| {
        steps.push(Step { token, node: member.node, zone: member.zone, reason });
    });
    Explanation { token, steps, preference_list }
}
