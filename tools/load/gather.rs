//! Gathering: what the lanes of a stage tell, and what is read beside them while they run.
//!
//! Invariant: processor times are read when counting begins and when the last lane has ended. A lane that fails ends
//! all others; an objective that is lost ends the stage. It runs no lane, and judges nothing else.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::crew::Order;
use crate::lane::{Failed, Stage, Told};
use crate::process::{Moment, Unreadable};
use crate::settings::Settings;
use crate::stop::Stop;
use crate::tally::Tally;
use crate::timeline::Timeline;
use crate::watch::Watch;

/// How soon it is noticed that a stage has begun to count, or that a lane has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What lanes have told of a stage, and what was read beside them.
pub(crate) struct Gathered {
    pub(crate) timeline: Timeline,
    /// How many lanes have not ended.
    pub(crate) running: usize,
    /// When the last of the others did.
    pub(crate) ended_at: Instant,
    /// Read when counting began, and when the last lane had ended.
    pub(crate) start: Option<Moment>,
    pub(crate) end: Result<Moment, Unreadable>,
    /// What the probe counted.
    pub(crate) probed: Option<Tally>,
    pub(crate) failed: Option<Failed>,
    pub(crate) cut_short: bool,
}

/// Gathers what lanes tell until the last has ended.
pub(crate) fn gather(
    settings: &Settings,
    stop: &Stop,
    order: &Order,
    stage: &Stage<'_>,
    heard: &Receiver<Told>,
    gathered: &mut Gathered,
    watch: &mut Watch<'_>,
) {
    // A server that cannot be looked at any more is found out at the end.
    let moment = || Moment::now(&settings.server_pids).ok();
    if gathered.start.is_some() {
        watch.counts_from(moment());
    }
    while gathered.running > 0 {
        let mut wait = LOOK;
        if gathered.start.is_none() {
            wait = wait.min(stage.count_from.saturating_duration_since(Instant::now()));
            if wait.is_zero() {
                gathered.start = moment();
                watch.counts_from(moment());
                wait = LOOK;
            }
        }
        match heard.recv_timeout(wait) {
            Ok(Told::Interval { lane, number, tally }) => {
                recycle(stage, gathered.timeline.tell(lane, number, tally));
            }
            Ok(Told::Ended { lane, at, failed }) => {
                gathered.timeline.end(lane);
                gathered.running -= 1;
                gathered.ended_at = gathered.ended_at.max(at);
                if failed.is_some() {
                    stop.abort();
                    gathered.failed = gathered.failed.take().or(failed);
                }
            }
            Err(RecvTimeoutError::Timeout) => watch.idle(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if gathered.running == 0 {
            gathered.end = Moment::now(&settings.server_pids);
        }
        while let Some((number, tally)) = gathered.timeline.next() {
            let ended_at = (gathered.running == 0).then_some(gathered.ended_at);
            watch.interval(stage, number, ended_at, &tally, moment());
            recycle(stage, Some(tally));
        }
        if is_lost(order, &gathered.timeline.sum) {
            gathered.cut_short = true;
            stage.enough.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether what was counted so far misses the objective of the stage, whatever is still to come.
fn is_lost(order: &Order, sum: &Tally) -> bool {
    let Some((objective, (rate, length))) = order.objective.as_ref().zip(order.rate.zip(order.length)) else {
        return false;
    };
    objective.is_lost(&sum.all().latency_ns, rate * length.as_secs_f64())
}

fn recycle(stage: &Stage<'_>, spare: Option<Tally>) {
    let Some(mut spare) = spare else { return };
    spare.clear();
    stage.spares.lock().unwrap_or_else(PoisonError::into_inner).push(spare);
}
