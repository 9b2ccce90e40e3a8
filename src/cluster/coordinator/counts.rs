//! What a coordinator saw happen on the way, which no single reply tells.
//!
//! Invariant: counting decides nothing. An operation that begins anew may be counted again.

/// How often.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Reads that found replicas with different cells, before the answer or after it.
    pub reads_divergent: u64,
    /// Reads that wrote the newest cell, or the mark of its expiry, back before they were answered.
    pub reads_written_back: u64,
    /// Reads that had the replicas agree on the key before they were answered.
    pub reads_agreed: u64,
    /// Cells sent to replicas that were behind, after the answer.
    pub repairs: u64,
    /// Writes that found a higher version, and were tried again above it.
    pub writes_superseded: u64,
    /// Operations, and rounds of agreement, whose replicas took longer than usual and were asked again, or others
    /// beside them.
    pub hurried: u64,
    /// Rounds of agreement that began by asking for promises.
    pub rounds_prepared: u64,
    /// Rounds whose promises had come with the acceptances before: they take one round trip.
    pub rounds_ridden: u64,
    /// Rounds that others' versions or promises, or silence, put an end to.
    pub rounds_lost: u64,
}

impl Counts {
    /// All of them, as reports name them.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("reads_divergent", self.reads_divergent),
            ("reads_written_back", self.reads_written_back),
            ("reads_agreed", self.reads_agreed),
            ("repairs", self.repairs),
            ("writes_superseded", self.writes_superseded),
            ("hurried", self.hurried),
            ("rounds_prepared", self.rounds_prepared),
            ("rounds_ridden", self.rounds_ridden),
            ("rounds_lost", self.rounds_lost),
        ]
    }
}
