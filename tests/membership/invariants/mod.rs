//! What must hold at every moment, or once faults have ended: each in a file of its own.

pub(crate) mod backlogs_are_bounded;
pub(crate) mod calm_suspects_nobody;
pub(crate) mod everyone_is_alive_once_healed;
pub(crate) mod falsely_dead_return;
pub(crate) mod only_the_present_are_spoken_to;
pub(crate) mod sleepers_judge_nobody;
pub(crate) mod the_crashed_are_dead;

/// What a run is judged by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Invariant {
    EveryoneIsAliveOnceHealed,
    TheCrashedAreDead,
    CalmSuspectsNobody,
    SleepersJudgeNobody,
    FalselyDeadReturn,
    OnlyThePresentAreSpokenTo,
    BacklogsAreBounded,
}

impl Invariant {
    pub(crate) const ALL: [Self; 7] = [
        Self::EveryoneIsAliveOnceHealed,
        Self::TheCrashedAreDead,
        Self::CalmSuspectsNobody,
        Self::SleepersJudgeNobody,
        Self::FalselyDeadReturn,
        Self::OnlyThePresentAreSpokenTo,
        Self::BacklogsAreBounded,
    ];
}
