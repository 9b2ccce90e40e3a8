//! Bugs put in on purpose, one at a time, so that the simulator can be seen to find them.
//!
//! Invariant: a deviation is a constant of a type that only the simulator has, and everywhere else [`Deviation::None`]:
//! no binary contains the code of any. Each stands where a hurried change would put it.

/// What a machine gets wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deviation {
    /// Nothing.
    None,
    /// A read answers the newest of what it saw without writing it back.
    WriteBackSkipped,
    /// A replica that holds something newer counts as one that applied the write.
    SupersededAcknowledged,
    /// A write that ran out of time is reported as surely not applied.
    UnknownReportedAsRefused,
    /// Answers of a round that was given up are counted in the one after it.
    OldRoundsCounted,
    /// A read answers from the first replica that has told its version.
    ReadsOne,
    /// A replica that refused because of its epoch counts as one that applied the write.
    OldEpochAccepted,
    /// A write that was asked twice of a replica counts as refused when one copy is.
    CopiesForgotten,
    /// A node that was restarted issues versions as the writer it was before, from the wall clock on.
    ClockReused,
    /// Versions are issued beyond the time that is on disk.
    CeilingIgnored,
    /// A replica does what was asked of it long before, while it was stopped.
    DeadlineIgnored,
    /// A change whose round was lost is decided anew, whatever is there.
    LostRoundsForgotten,
    /// A change that some replica will never accept is taken for one that none will.
    RefusalOfOneSuffices,
    /// A proposer knows the last of its own versions only.
    LastRoundRemembered,
    /// A condition that does not hold is reported, though most replicas may not hold what it was judged by.
    SettlingSkipped,
    /// A write-back that finds something newer counts as done.
    NewerCountsAsRepaired,
    /// A write-back that a promise is in the way of counts as done.
    PromisedCountsAsRepaired,
    /// A change is asked of another node when the link to the first is lost.
    ChangesRepeated,
    /// A node that came back without its data counts at once.
    RecoveringCounted,
    /// A node that came back without its data has enough when one other has handed over all it has.
    RecoveredFromOne,
    /// While a key moves, those who hold it suffice for a level.
    OldOwnersSuffice,
    /// A node has what a movement brings it when one of the old owners has handed over all it has.
    FilledFromOne,
    /// A node has what a movement brings it at once.
    BarrierSkipped,
    /// A read answers that a value has expired without seeing to it that the others find so too.
    MarkSkipped,
    /// A change is judged by a value that has expired by one clock, which another may find to be there.
    ExpiryByTwoClocks,
    /// A page of a walk is told as soon as one node has said what it has.
    WalkOfOneNode,
    /// A page of a walk goes on to where the last of the nodes stopped.
    WalkToTheLast,
    /// What others hand over to a node is dropped where it promised to take no such thing.
    PromisesBindStreams,
    /// That a node has what others handed over to it counts as if it had taken it itself.
    HearsayCounted,
    /// A voter that was restarted does not know whom it voted for.
    VoteForgotten,
    /// A voter answers before what it answers with is on disk.
    AnsweredBeforePersisted,
    /// A node that is told that it was declared dead takes no notice.
    RenewalSkipped,
    /// A node that was asleep judges others by what it did not hear meanwhile.
    SleepNotDoubted,
    /// Gossip about nodes that the topology does not have is believed.
    StrangersBelieved,
    /// A suspicion is held for ever.
    VerdictSkipped,
    /// Nobody looks for nodes that were declared dead.
    DeadNotSought,
}
