//! How far this node's clock is from the others'.
//!
//! Invariant: a node whose clock is further from most others' than versions may drift does not take part: its writes
//! would be refused, or would hide those of others. A majority decides, so that one wrong clock stops nobody else. The
//! time that a question takes to and fro is the error of its answer: Cristian, "Probabilistic Clock Synchronization"
//! (1989).

use std::collections::BTreeMap;

use super::{Control, Said, Source};
use crate::config::control::CLOCK_INTERVAL;
use crate::message::control::TimeTold;
use crate::types::{NodeNumber, Timestamp, WallTime};

/// What is known of other clocks.
#[derive(Default)]
pub(super) struct Clocks {
    /// How far each node's is ahead of this one's, in milliseconds.
    ahead_ms: BTreeMap<NodeNumber, i64>,
}

/// What comparing the clocks has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Comparison {
    /// Too few have been heard.
    Waiting,
    /// Most others agree with this one.
    Agrees,
    /// Most others are so far ahead, in milliseconds.
    Apart(i64),
}

/// How far the other clock is ahead at least, in milliseconds, 0 if that cannot be told from the way of the question.
pub(super) fn ahead_ms(told: TimeTold, heard_at: WallTime) -> Option<i64> {
    let distance = |later: WallTime, earlier: WallTime| later.0 as i64 - earlier.0 as i64;
    let answered_at = told.answered_at?;
    if answered_at < told.asked_at {
        Some(distance(answered_at, told.asked_at))
    } else {
        Some(distance(answered_at, heard_at).max(0))
    }
}

/// In words, how another clock stands to this one, to a tenth of a second: a log need not repeat itself for less.
pub(super) fn clocks_apart(ahead_ms: i64) -> String {
    let direction = if ahead_ms < 0 { "behind" } else { "ahead of" };
    format!("{:.1} s {direction}", ahead_ms.unsigned_abs() as f64 / 1000.0)
}

impl Clocks {
    /// Takes in a node's answer.
    pub(super) fn hear(&mut self, node: NodeNumber, told: TimeTold, heard_at: WallTime) {
        if let Some(ahead_ms) = ahead_ms(told, heard_at) {
            self.ahead_ms.insert(node, ahead_ms);
        }
    }

    /// Compares this clock with those of `others`, which may be `drift_max_ms` apart.
    pub(super) fn compare(&self, others: &[NodeNumber], drift_max_ms: u32) -> Comparison {
        let majority = others.len() / 2 + others.len() % 2;
        let heard = others.iter().filter_map(|node| self.ahead_ms.get(node).copied());
        let (near, far): (Vec<i64>, Vec<i64>) =
            heard.partition(|ahead| ahead.unsigned_abs() <= u64::from(drift_max_ms));
        if near.len() >= majority {
            return Comparison::Agrees;
        }
        match far.first() {
            Some(&ahead_ms) if far.len() >= majority => Comparison::Apart(ahead_ms),
            _ => Comparison::Waiting,
        }
    }
}

impl Control {
    /// Asks all others for their time, now and then.
    pub(super) fn ask_for_clocks(&mut self, now: Timestamp) {
        if now < self.clocks_at {
            return;
        }
        // Often until it takes part, and then no more: its own time does not jump.
        self.clocks_at = now.after(CLOCK_INTERVAL);
        if !self.entered {
            let asked_at = self.clock.wall();
            let nodes: Vec<NodeNumber> = self.links.keys().copied().collect();
            for node in nodes {
                self.say(Source::Link(node), &Said::Time(TimeTold { asked_at, answered_at: None }));
            }
        }
    }

    /// Whether most others agree with this node's clock; says so if not.
    pub(super) fn has_right_time(&mut self) -> bool {
        let others: Vec<NodeNumber> = self.links.keys().copied().collect();
        let compared = self.clocks.compare(&others, self.log.topology().settings.drift_max_ms);
        if compared != self.compared {
            self.compared = compared;
            if let Comparison::Apart(ahead_ms) = compared {
                tracing::error!(
                    "this node does not take part: most others' clocks are {} its own; correct it",
                    clocks_apart(ahead_ms)
                );
            }
        }
        compared == Comparison::Agrees
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_of_a_question_is_no_distance() {
        let told =
            |answered_at| TimeTold { asked_at: WallTime(1000), answered_at: Some(WallTime(answered_at)) };
        assert_eq!(ahead_ms(told(1500), WallTime(2000)), Some(0), "it was asked and heard around it");
        assert_eq!(ahead_ms(told(900), WallTime(2000)), Some(-100));
        assert_eq!(ahead_ms(told(5000), WallTime(2000)), Some(3000));
    }

    #[test]
    fn how_far_clocks_are_apart_is_told_with_its_direction() {
        assert_eq!(clocks_apart(3_600_001), "3600.0 s ahead of");
        assert_eq!(clocks_apart(-700), "0.7 s behind");
    }

    #[test]
    fn a_majority_decides() {
        let nodes: Vec<NodeNumber> = (1..=4).map(NodeNumber).collect();
        let mut clocks = Clocks::default();
        let told = |ms: u64| TimeTold { asked_at: WallTime(10_000), answered_at: Some(WallTime(ms)) };
        let compare = |clocks: &Clocks| clocks.compare(&nodes, 500);
        assert_eq!(clocks.compare(&[], 500), Comparison::Agrees, "there is nobody to ask");
        clocks.hear(nodes[0], told(10_000), WallTime(10_000));
        assert_eq!(compare(&clocks), Comparison::Waiting);
        clocks.hear(nodes[1], told(13_600), WallTime(10_000));
        clocks.hear(nodes[2], told(13_500), WallTime(10_000));
        assert_eq!(compare(&clocks), Comparison::Apart(3600));
        clocks.hear(nodes[3], told(9_700), WallTime(10_000));
        assert_eq!(compare(&clocks), Comparison::Agrees);
    }
}
