//! Changes by agreement, as clients of the simulation ask for them: to bytes and back, and what they make of a key.
//!
//! Invariant: a value is a list of 64-bit tokens, a number a list of one; what is decided depends on what is shown.

use annulus::cluster::coordinator::{Decided, Decision, Question};
use annulus::history::{Ask, Condition};
use annulus::message::peer::{Content, Kind};
use annulus::types::WallTime;

const DONE: u8 = 0;
const NOT_MET: u8 = 1;
const HOLDS: u8 = 2;
const LENGTH: u8 = 3;

/// What a client is told of its change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Changed {
    Done,
    NotMet,
    Holds(u64),
    Length(u32),
}

/// The bytes of a change, and of when what it writes expires.
pub(crate) fn bytes_of(ask: Ask, expires_at: Option<WallTime>) -> Vec<u8> {
    let (kind, first, second) = match ask {
        Ask::Read => (0, 0, 0),
        Ask::Write { value, when: Condition::Absent } => (2, value, 0),
        Ask::Write { value, when: Condition::ValueIs(expected) } => (3, value, expected),
        Ask::Write { value, .. } => (1, value, 0),
        Ask::Remove { when: Condition::Present } => (5, 0, 0),
        Ask::Remove { .. } => (4, 0, 0),
        Ask::Increment(by) => (6, by as u64, 0),
        Ask::Append(token) => (7, token, 0),
    };
    let (first, second): (u64, u64) = (first, second);
    let third = expires_at.map_or(0, |at| at.0);
    [&[kind][..], &first.to_le_bytes(), &second.to_le_bytes(), &third.to_le_bytes()].concat()
}

pub(crate) fn tokens(value: &[u8]) -> Vec<u64> {
    value.chunks_exact(8).map(|token| u64::from_le_bytes(token.try_into().expect("eight bytes"))).collect()
}

/// What a reply says.
pub(crate) fn read(reply: &[u8]) -> Changed {
    let number = tokens(&reply[1..])[0];
    match reply[0] {
        DONE => Changed::Done,
        NOT_MET => Changed::NotMet,
        HOLDS => Changed::Holds(number),
        _ => Changed::Length(number as u32),
    }
}

/// Decides on a change.
pub(crate) fn decide(question: &Question<'_>, decision: &mut Decision) -> Decided {
    let current = question.current.and_then(|cell| match cell.content {
        Content::Value { value, .. } => Some(tokens(value)),
        Content::Expired | Content::Tombstone => None,
    });
    let operands = tokens(&question.change[1..]);
    let number = current.as_ref().map(|tokens| tokens[0]);
    let (new, reply): (Option<Vec<u64>>, (u8, u64)) = match (question.change[0], operands[0]) {
        (1, value) => (Some(vec![value]), (DONE, 0)),
        (2, value) if number.is_none() => (Some(vec![value]), (DONE, 0)),
        (3, value) if number == Some(operands[1]) => (Some(vec![value]), (DONE, 0)),
        (2 | 3, _) => (None, (NOT_MET, 0)),
        (4, _) => (Some(vec![]), (DONE, 0)),
        (5, _) if number.is_some() => (Some(vec![]), (DONE, 0)),
        (5, _) => (None, (NOT_MET, 0)),
        (6, by) => {
            let after = number.unwrap_or(0).wrapping_add(by);
            (Some(vec![after]), (HOLDS, after))
        }
        (_, token) => {
            let mut list = current.unwrap_or_default();
            list.push(token);
            let length = list.len() as u64;
            (Some(list), (LENGTH, length))
        }
    };
    decision.reply.push(reply.0);
    decision.reply.extend_from_slice(&reply.1.to_le_bytes());
    match new {
        None => Decided::Keep,
        Some(list) if list.is_empty() => Decided::Store(Kind::Tombstone),
        Some(list) => {
            decision.value.extend(list.iter().flat_map(|token| token.to_le_bytes()));
            let expires_at = Some(WallTime(operands[2])).filter(|at| at.0 > 0);
            Decided::Store(Kind::Value { expires_at })
        }
    }
}
