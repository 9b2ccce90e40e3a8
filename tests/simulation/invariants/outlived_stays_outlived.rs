//! What a read has found to be no longer there, though it was, never comes back; and where all clocks are right,
//! nothing is read after its time.

use annulus::history::{Answer, Ask, KeyHistory, Operation, Outcome, Rank};
use annulus::types::Level;

use crate::clients::{Clients, Expiry};
use crate::world::World;

/// How far clocks that are right may be apart, and time may have gone on since an operation was asked for.
const NEAR_NS: u64 = 2_000_000;

pub(super) fn broken<const BUG: usize>(world: &World<BUG>) -> Option<String> {
    let clients = &world.clients;
    Clients::fleeting().find_map(|key| {
        let history = clients.history.key(key);
        let expiries: Vec<&Expiry> = clients.expiries.iter().filter(|expiry| expiry.key == key).collect();
        let reads = || history.operations.iter().filter(|operation| operation.level != Level::One);
        reads().find_map(|read| {
            let value = value_of(read, &history)?;
            let expiry = expiries.iter().find(|expiry| expiry.value == value)?;
            if clients.clocks_are_right() && read.invoked_at > expiry.at_ns + NEAR_NS {
                return Some(format!("{read:?} after its time, {}", expiry.at_ns));
            }
            // A write that was tried again may have its effect twice, in two versions, around another's.
            let version = version_of(read)?;
            let was_there = |other: &&Operation| version_of(other) == Some(version);
            let known_at = reads().filter(was_there).map(|other| other.returned_at).min()?;
            let was_gone = |other: &&Operation| {
                is_absent(other, &history)
                    && other.invoked_at > known_at
                    && other.returned_at < read.invoked_at
            };
            let gone = reads().find(was_gone)?;
            Some(format!("{read:?} comes back after {gone:?}"))
        })
    })
}

/// The number that a read found.
fn value_of(operation: &Operation, history: &KeyHistory<'_>) -> Option<u64> {
    match (operation.ask, operation.outcome) {
        (Ask::Read, Outcome::Done { answer: Answer::Holds(value), .. }) => history.values.as_number(value),
        _ => None,
    }
}

/// The version that was written or read.
fn version_of(operation: &Operation) -> Option<Rank> {
    match operation.outcome {
        Outcome::Done { version, .. } => version,
        _ => None,
    }
}

fn is_absent(operation: &Operation, history: &KeyHistory<'_>) -> bool {
    match (operation.ask, operation.outcome) {
        (Ask::Read, Outcome::Done { answer: Answer::Holds(value), .. }) => history.values.length(value) == 0,
        _ => false,
    }
}
