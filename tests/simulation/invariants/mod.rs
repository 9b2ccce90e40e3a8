//! What must hold at the end of a run: each in a file of its own.

mod acknowledged_writes_stay;
mod histories_are_linearizable;
mod nothing_after_its_time;
mod nothing_beyond_the_ceiling;
#[path = "../../agreement/invariants/one_leader_a_term.rs"]
pub(crate) mod one_leader_a_term;
mod one_value_a_version;
mod outlived_stays_outlived;
mod reads_never_go_back;
mod reads_were_written;
mod removed_stays_removed;
mod replicas_are_equal;
mod whoever_asks_is_answered;

use annulus::history::{KeyHistory, Verdict};
pub(crate) use histories_are_linearizable::UNDECIDED;

use crate::clients::Clients;
use crate::world::World;

/// What a run is judged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Invariant {
    AcknowledgedWritesStay,
    HistoriesAreLinearizable,
    NothingAfterItsTime,
    NothingBeyondTheCeiling,
    OneLeaderATerm,
    OneValueAVersion,
    OutlivedStaysOutlived,
    ReadsNeverGoBack,
    ReadsWereWritten,
    RemovedStaysRemoved,
    ReplicasAreEqual,
    WalksSeeWhatIsThere,
    WhoeverAsksIsAnswered,
}

impl Invariant {
    pub(crate) const ALL: [Self; 13] = [
        Self::OneLeaderATerm,
        Self::NothingAfterItsTime,
        Self::NothingBeyondTheCeiling,
        Self::OneValueAVersion,
        Self::ReadsWereWritten,
        Self::AcknowledgedWritesStay,
        Self::ReadsNeverGoBack,
        Self::RemovedStaysRemoved,
        Self::OutlivedStaysOutlived,
        Self::HistoriesAreLinearizable,
        Self::WalksSeeWhatIsThere,
        Self::WhoeverAsksIsAnswered,
        Self::ReplicasAreEqual,
    ];

    /// What of it does not hold in a run that has ended.
    pub(crate) fn broken<const BUG: usize>(self, world: &World<BUG>) -> Option<String> {
        match self {
            Self::AcknowledgedWritesStay => acknowledged_writes_stay::broken(world),
            Self::HistoriesAreLinearizable => histories_are_linearizable::broken(world),
            Self::NothingAfterItsTime => nothing_after_its_time::broken(world),
            Self::NothingBeyondTheCeiling => nothing_beyond_the_ceiling::broken(world),
            Self::OneLeaderATerm => world.two_leaders.clone(),
            Self::OneValueAVersion => one_value_a_version::broken(world),
            Self::OutlivedStaysOutlived => outlived_stays_outlived::broken(world),
            Self::ReadsNeverGoBack => reads_never_go_back::broken(world),
            Self::ReadsWereWritten => reads_were_written::broken(world),
            Self::RemovedStaysRemoved => removed_stays_removed::broken(world),
            Self::ReplicasAreEqual => replicas_are_equal::broken(world),
            Self::WalksSeeWhatIsThere => crate::walks::broken(world),
            Self::WhoeverAsksIsAnswered => whoever_asks_is_answered::broken(world),
        }
    }
}

/// Judges the history of every key whose values last.
fn each_lasting_key<const BUG: usize>(
    world: &World<BUG>,
    check: fn(&KeyHistory<'_>) -> Verdict,
) -> Option<String> {
    let lasts = |key: &KeyHistory<'_>| Clients::fleeting().all(|fleeting| fleeting != key.key);
    let mut verdicts = world.history().keys().filter(lasts).map(|key| check(&key));
    verdicts.find_map(|verdict| verdict.violation().map(ToString::to_string))
}

/// Judges every key's history.
fn each_key<const BUG: usize>(world: &World<BUG>, check: fn(&KeyHistory<'_>) -> Verdict) -> Option<String> {
    let verdicts = world.history().keys().map(|key| check(&key));
    verdicts.into_iter().find_map(|verdict| verdict.violation().map(ToString::to_string))
}
