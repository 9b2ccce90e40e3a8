//! Linearizable histories of any length: clients with random delays before one atomic store.
//!
//! Invariant: every operation takes effect at one moment between its invocation and its return, those of unknown
//! outcome at any later moment or never. Values written are unique. Versions rise with each change, and at times
//! without one.

use std::collections::BTreeMap;

use annulus::history::{Answer, Ask, ClientId, Condition, History, Key, Rank};
use annulus::types::Level;
use fastrand::Rng;

/// What is asked of the store, in parts of the sum of all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub(crate) reads: u32,
    pub(crate) writes: u32,
    pub(crate) removals: u32,
    pub(crate) conditions: u32,
    pub(crate) increments: u32,
    pub(crate) appends: u32,
}

/// What a history is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: u32,
    pub(crate) operations: u32,
    pub(crate) keys: u64,
    pub(crate) mix: Mix,
    pub(crate) tells_versions: bool,
    /// Operations in a thousand whose outcome is unknown.
    pub(crate) unknown_permille: u32,
}

/// Longest time an operation takes on either side of its effect.
const DELAY_MAX: u64 = 50;

/// Longest time after which an operation of unknown outcome still takes effect.
const SURFACE_MAX: u64 = 2_000;

#[derive(Clone, Debug, Default)]
struct Cell {
    tokens: Vec<u64>,
    version: u128,
}

#[derive(Clone, Copy)]
struct Planned {
    client: u32,
    key: u64,
    invoked_at: u64,
    effect_at: Option<u64>,
    returned_at: Option<u64>,
}

/// A history that is linearizable, as planned.
pub(crate) fn history(rng: &mut Rng, plan: &Plan) -> History {
    let mut history = History::new();
    let mut cells: BTreeMap<u64, Cell> = BTreeMap::new();
    for (number, planned) in (1..).zip(timed(rng, plan)) {
        let cell = cells.entry(planned.key).or_default();
        let ask = ask(rng, &plan.mix, cell, number, plan.tells_versions);
        let id = history.invoke(
            ClientId(planned.client),
            Key(planned.key),
            Level::Linearizable,
            ask,
            planned.invoked_at,
        );
        if rng.u8(0..10) == 0 {
            cell.version += 1; // a round was settled
        }
        let answer = planned.effect_at.map(|_| take_effect(rng, cell, ask, &mut history));
        match (planned.returned_at, answer) {
            (Some(at), Some(answer)) => {
                let is_absence = cell.tokens.is_empty();
                let version = if plan.tells_versions && !is_absence { cell.version } else { 0 };
                history.done(id, answer, Rank::new(version), at);
            }
            _ if rng.bool() => history.unknown(id, planned.invoked_at + DELAY_MAX),
            _ => {}
        }
    }
    history
}

/// When clients ask and are answered, in the order in which the operations take effect.
fn timed(rng: &mut Rng, plan: &Plan) -> Vec<Planned> {
    let mut clocks = vec![0_u64; plan.clients as usize];
    let mut all: Vec<Planned> = (0..plan.operations)
        .map(|_| {
            let client = rng.u32(0..plan.clients);
            let clock = &mut clocks[client as usize];
            let invoked_at = *clock + rng.u64(0..DELAY_MAX / 2);
            let key = rng.u64(0..plan.keys);
            let is_unknown = rng.u32(0..1000) < plan.unknown_permille;
            let (effect_at, returned_at) = if is_unknown {
                *clock = invoked_at + DELAY_MAX;
                (rng.bool().then(|| invoked_at + rng.u64(0..SURFACE_MAX)), None)
            } else {
                let effect_at = invoked_at + rng.u64(0..DELAY_MAX);
                *clock = effect_at + rng.u64(0..DELAY_MAX);
                (Some(effect_at), Some(*clock))
            };
            Planned { client, key, invoked_at, effect_at, returned_at }
        })
        .collect();
    all.sort_by_key(|planned| planned.effect_at.unwrap_or(u64::MAX));
    all
}

fn ask(rng: &mut Rng, mix: &Mix, cell: &Cell, number: u64, by_version: bool) -> Ask {
    let parts = [mix.reads, mix.writes, mix.removals, mix.conditions, mix.increments, mix.appends];
    let mut lot = rng.u32(0..parts.iter().sum());
    let kind = parts.iter().position(|&part| {
        let is_it = lot < part;
        lot = lot.saturating_sub(part);
        is_it
    });
    match kind.expect("the lot is below the sum") {
        0 => Ask::Read,
        1 => Ask::write(number),
        2 => Ask::remove(),
        3 => conditional(rng, cell, number, by_version),
        4 => Ask::Increment(rng.i64(1..4)),
        _ => Ask::Append(number),
    }
}

/// A change on a condition that often holds.
fn conditional(rng: &mut Rng, cell: &Cell, number: u64, by_version: bool) -> Ask {
    let stale = if rng.bool() { 0 } else { rng.u64(1..3) };
    let when = match (rng.u8(0..8), &cell.tokens[..]) {
        (0, _) => Condition::Present,
        (1, _) | (_, []) => Condition::Absent,
        (2..5, _) if by_version && cell.version > 2 => {
            Condition::VersionIs(Rank::new(cell.version - u128::from(stale)).expect("above 0"))
        }
        (_, [value, ..]) => Condition::ValueIs(value.saturating_sub(stale).max(1)),
    };
    if rng.u8(0..8) == 0 { Ask::Remove { when } } else { Ask::Write { value: number, when } }
}

fn take_effect(rng: &mut Rng, cell: &mut Cell, ask: Ask, history: &mut History) -> Answer {
    let holds = match ask.condition() {
        Condition::Always => true,
        Condition::Absent => cell.tokens.is_empty(),
        Condition::Present => !cell.tokens.is_empty(),
        Condition::ValueIs(value) => cell.tokens == [value],
        Condition::VersionIs(version) => !cell.tokens.is_empty() && cell.version == version.number(),
    };
    if !holds {
        return Answer::NotMet;
    }
    if ask != Ask::Read {
        cell.version += rng.u128(1..4);
    }
    match ask {
        Ask::Read => Answer::Holds(history.list(&cell.tokens)),
        Ask::Write { value, .. } => {
            cell.tokens = vec![value];
            Answer::Applied
        }
        Ask::Remove { .. } => {
            cell.tokens.clear();
            Answer::Applied
        }
        Ask::Increment(delta) => {
            let now = cell.tokens.first().map_or(0, |&number| number);
            cell.tokens = vec![now.wrapping_add_signed(delta)];
            if rng.u8(0..8) == 0 { Answer::Applied } else { Answer::Holds(history.list(&cell.tokens)) }
        }
        Ask::Append(token) => {
            cell.tokens.push(token);
            match rng.u8(0..4) {
                0 => Answer::Holds(history.list(&cell.tokens)),
                1 => Answer::Applied,
                _ => Answer::Length(u32::try_from(cell.tokens.len()).expect("a list is short")),
            }
        }
    }
}
