//! What must hold at every moment, or at the end: each in a file of its own.

pub(crate) mod always_a_leader;
pub(crate) mod epochs_agree;
pub(crate) mod nothing_agreed_is_lost;
pub(crate) mod one_leader_a_term;
pub(crate) mod one_number_a_life;

/// What a run is judged by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Invariant {
    OneLeaderATerm,
    EpochsAgree,
    OneNumberALife,
    NothingAgreedIsLost,
    AlwaysALeader,
}

impl Invariant {
    pub(crate) const ALL: [Self; 5] = [
        Self::OneLeaderATerm,
        Self::EpochsAgree,
        Self::OneNumberALife,
        Self::NothingAgreedIsLost,
        Self::AlwaysALeader,
    ];
}
