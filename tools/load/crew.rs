//! The lanes of a run together, and the probe beside them: a stage is run on all of them at once, and gathered.
//!
//! Invariant: a stage's figures are there whether it failed or not, and processor times are read at its two ends. The
//! first connection that breaks ends the run for all lanes, unless the run goes on without it. Which stages there are,
//! and in what order, is not decided here.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::connection::{Broken, Connection, ReadBuffer};
use crate::cores::{Unpinnable, core, pin};
use crate::dialect::{Dialect, Outcome};
use crate::gather::{Gathered, gather};
use crate::greeting::{Unwelcome, connect};
use crate::lane::{Failed, Lane, Loss, Manners, Stage, Told};
use crate::mix::{Mix, Operation};
use crate::plan::{Plan, Requests, Shared, replies_per_read};
use crate::process::{Moment, Unreadable};
use crate::report::{Phase, TargetLoss};
use crate::schedule::{Arrivals, Schedule};
use crate::search::Objective;
use crate::served::Served;
use crate::settings::Settings;
use crate::stop::Stop;
use crate::summary::{self, Ends};
use crate::tally::{Shape, Tally};
use crate::timeline::Timeline;
use crate::watch::Watch;

/// Requests under way on one connection of an open loop.
const OUTSTANDING_MAX: usize = 65_536;
/// Time for the lanes to be ready before the first request of an open loop is due.
const LEAD: Duration = Duration::from_millis(5);
/// An interval is no shorter than this unless that is asked for.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Intervals that a stage is divided into, about.
const INTERVALS: u32 = 120;

/// Why a run ended early, or why its figures cannot be trusted.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Unwelcome(#[from] Unwelcome),
    #[error("{target}: {source}, {answered} operations into the phase")]
    Broken { target: String, source: Broken, answered: u64 },
    #[error("every connection broke, the last to {target}: {reason}, {answered} operations into the phase")]
    NoneLeft { target: String, reason: String, answered: u64 },
    #[error("{target}: {errors} error replies, the first: {first}")]
    Refused { target: String, errors: u64, first: String },
    #[error("interrupted; what was measured until then is reported")]
    Interrupted,
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Pin(#[from] Unpinnable),
    #[error("the event loop failed: {0}")]
    Loop(#[from] io::Error),
}

/// What is to be run.
pub(crate) struct Order {
    pub(crate) plan: Plan,
    /// Requests a second of an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) warm_up: Duration,
    /// How long it is to be counted; `None` until the plan is done.
    pub(crate) length: Option<Duration>,
    /// What ends it early, once it is lost.
    pub(crate) objective: Option<Objective>,
}

/// What came of it.
pub(crate) struct Staged {
    /// `None` if it failed before anything was counted.
    pub(crate) phase: Option<Phase>,
    pub(crate) sum: Tally,
    /// Whether it was ended early because its objective was lost.
    pub(crate) cut_short: bool,
    pub(crate) failure: Option<Failure>,
}

/// All lanes.
pub(crate) struct Crew<'a, D> {
    settings: &'a Settings,
    stop: &'a Stop,
    lanes: Vec<Lane<'a, D>>,
    probe: Option<Lane<'a, D>>,
    /// Connections that broke while the run went on.
    losses: Vec<Loss>,
}

/// The target and the lane of the connection `number`: targets take turns, and lanes take turns of those, so that each
/// lane has as many connections to each target, but for one.
const fn place(number: usize, targets: usize, lanes: usize) -> (usize, usize) {
    (number % targets, number / targets % lanes)
}

/// How connections and lanes are made.
struct Maker<'a, 'd, D> {
    settings: &'a Settings,
    shared: &'a Shared,
    stop: &'a Stop,
    dialect: &'d D,
}

impl<'a, D: Dialect> Maker<'a, '_, D> {
    fn lane(&self, number: usize, mix: &'a Mix, outstanding_max: usize) -> io::Result<Lane<'a, D>> {
        let settings = self.settings;
        let manners = Manners {
            outstanding_max,
            reply_timeout: settings.reply_timeout,
            keep_going: settings.keep_going,
        };
        let lengths = &settings.values.lengths;
        let replies = replies_per_read(settings.sending, settings.load.pipeline);
        let buffer = ReadBuffer::new::<D>(lengths.most(), lengths.mean(), replies);
        let requests = Requests::new(settings, mix, self.shared);
        Lane::new(number, manners, requests, buffer, self.stop.flag())
    }

    /// The connection `number` of all, to the target in the place `target`.
    fn connection(&self, number: usize, target: usize) -> Result<Connection<D>, Failure> {
        if self.stop.is_interrupted() {
            return Err(Failure::Interrupted);
        }
        let Settings { load, targets, distribution, password, .. } = self.settings;
        let mut dialect = self.dialect.clone();
        let server = &targets[target];
        let socket = connect(&server.name, server.address, &mut dialect, password.as_deref())?;
        let stream = distribution.stream(load.seed, number as u64, load.connections as u64);
        let mut connection = Connection::new(socket, dialect, stream, target, Instant::now());
        // Its part of the key space, among the connections to the same target.
        let (place, places) = (number / targets.len(), (load.connections - target).div_ceil(targets.len()));
        let part = |place: usize| (u128::from(load.keys) * place as u128 / places as u128) as u64;
        connection.to_preload = part(place)..part(place + 1);
        Ok(connection)
    }
}

impl<'a, D: Dialect> Crew<'a, D> {
    /// Connects all lanes, and the probe, which asks for `gets`.
    pub(crate) fn connect(
        settings: &'a Settings,
        dialect: &D,
        shared: &'a Shared,
        gets: &'a Mix,
        stop: &'a Stop,
    ) -> Result<Self, Failure> {
        let Settings { load, targets, .. } = settings;
        let maker = Maker { settings, shared, stop, dialect };
        let mut lanes = Vec::new();
        for number in 0..load.threads {
            lanes.push(maker.lane(number, &settings.mix, OUTSTANDING_MAX)?);
        }
        for number in 0..load.connections {
            let (target, lane) = place(number, targets.len(), load.threads);
            lanes[lane].add(maker.connection(number, target)?)?;
        }
        let mut probe = None;
        if load.probes_per_second.is_some() {
            let mut lane = maker.lane(0, gets, 1)?;
            lane.add(maker.connection(load.connections, 0)?)?;
            probe = Some(lane);
        }
        Ok(Self { settings, stop, lanes, probe, losses: Vec::new() })
    }

    /// Runs a stage on all lanes. What is under way at its end is waited for, unless the run is over.
    pub(crate) fn run(&mut self, order: &Order, watch: &mut Watch<'_>) -> Staged {
        let shape = Shape {
            targets: self.settings.targets.len(),
            operations: if order.plan == Plan::Preload { 1 } else { self.settings.mix.operations().len() },
            open: order.rate.is_some(),
        };
        let staged = self.staged(order, shape, watch).unwrap_or_else(|failure| Staged {
            phase: None,
            sum: Tally::new(shape),
            cut_short: false,
            failure: Some(failure),
        });
        if staged.failure.is_some() {
            self.stop.abort();
        }
        staged
    }

    fn staged(&mut self, order: &Order, shape: Shape, watch: &mut Watch<'_>) -> Result<Staged, Failure> {
        // Read before anything is sent; again when a warm-up is over.
        let start = Moment::now(&self.settings.server_pids)?;
        let begin = Instant::now() + if shape.open { LEAD } else { Duration::ZERO };
        let (enough, spares) = (AtomicBool::new(false), Mutex::default());
        let interval = order.length.map_or(INTERVAL_MIN, |length| INTERVAL_MIN.max(length / INTERVALS));
        let count_from = begin + order.warm_up;
        let served = Served::from(count_from);
        let stage = Stage {
            plan: order.plan,
            shape,
            count_from,
            until: order.length.map(|length| count_from + length),
            interval: self.settings.interval.unwrap_or(interval),
            enough: &enough,
            served: &served,
            spares: &spares,
        };
        let mut gathered = Gathered {
            timeline: Timeline::new(self.lanes.len(), shape),
            running: self.lanes.len(),
            ended_at: count_from,
            start: order.warm_up.is_zero().then_some(start),
            end: Moment::now(&[]),
            probed: None,
            failed: None,
            cut_short: false,
        };
        watch.begin(order, count_from);
        self.run_lanes(order, &stage, begin, &mut gathered, watch);
        let lanes = self.lanes.iter_mut().chain(&mut self.probe);
        self.losses.extend(lanes.flat_map(|lane| lane.losses.drain(..)));
        self.summed(order, &served, count_from, gathered, watch)
    }

    /// Runs the lanes, and the probe, each on a thread, and gathers what they tell.
    fn run_lanes(
        &mut self,
        order: &Order,
        stage: &Stage<'_>,
        begin: Instant,
        gathered: &mut Gathered,
        watch: &mut Watch<'_>,
    ) {
        let (settings, stop) = (self.settings, self.stop);
        let seed = settings.load.seed;
        let live: usize = self.lanes.iter().map(|lane| lane.live).sum();
        let probed = Stage {
            plan: Plan::Mix,
            shape: Shape { targets: 1, operations: 1, open: true },
            // It has no end of its own, and tells all that it counted then.
            until: None,
            interval: Duration::from_hours(1000),
            ..*stage
        };
        let probe_rate = settings.load.probes_per_second.filter(|_| order.plan != Plan::Preload);
        thread::scope(|scope| {
            let (tell, heard) = mpsc::channel();
            let mut threads = Vec::new();
            for (number, lane) in self.lanes.iter_mut().enumerate() {
                let schedule = order.rate.map(|rate| {
                    // Schedules at equal intervals take turns.
                    let turn = Duration::from_secs_f64(number as f64 / rate);
                    let share = lane.live.max(1) as f64 / live.max(1) as f64;
                    let seed = seed.wrapping_add(number as u64);
                    Schedule::new(rate * share, settings.arrivals, seed, begin + turn)
                });
                let (tell, core) = (tell.clone(), core(&settings.pins, number));
                threads.push(scope.spawn(move || {
                    pin(core);
                    lane.run_and_drain(stage, schedule, &tell)
                }));
            }
            let (tell_probe, heard_probe) = mpsc::channel();
            if let Some((probe, rate)) = self.probe.as_mut().zip(probe_rate) {
                let schedule = Schedule::new(rate, Arrivals::Fixed, seed, begin.max(Instant::now()));
                let stage = &probed;
                let tell = tell_probe.clone();
                threads.push(scope.spawn(move || probe.run_and_drain(stage, Some(schedule), &tell)));
            }
            drop((tell, tell_probe));
            gather(settings, stop, order, stage, &heard, gathered, watch);
            stage.enough.store(true, Ordering::Relaxed);
            for told in heard_probe {
                match told {
                    Told::Interval { tally, .. } => gathered.probed = Some(tally),
                    Told::Ended { failed, .. } => gathered.failed = gathered.failed.take().or(failed),
                }
            }
            for thread in threads {
                let drained = thread.join().expect("a lane does not panic");
                gathered.failed = gathered.failed.take().or(drained.err());
            }
        });
    }

    fn summed(
        &self,
        order: &Order,
        served: &Served,
        count_from: Instant,
        gathered: Gathered,
        watch: &mut Watch<'_>,
    ) -> Result<Staged, Failure> {
        let Settings { targets, mix, keep_going, .. } = self.settings;
        let Gathered { timeline, start, end, ended_at, probed, failed, cut_short, .. } = gathered;
        let end = match end {
            // The server may be what failed: its time is lost, the counts are not.
            Err(_) if failed.is_some() || *keep_going => Moment::now(&[])?,
            end => end?,
        };
        let sum = timeline.sum;
        let phase = start.filter(|_| ended_at > count_from).map(|start| {
            let ends = Ends { start: &start, end: &end, count_from, duration: ended_at - count_from };
            let targets: Vec<&str> = targets.iter().map(|target| &*target.name).collect();
            let operations = match order.plan {
                Plan::Preload => &[Operation::Set],
                _ => mix.operations(),
            };
            let phase = summary::phase(&sum, &ends, operations, &targets);
            Phase {
                probe: probed.map(|tally| summary::probe(&tally)),
                series: watch.take_series(),
                longest_gap_ms: served.longest_gap(ended_at - count_from).as_secs_f64() * 1e3,
                ..phase
            }
        });
        Ok(Staged { phase, cut_short, failure: self.judged(&sum, failed).err(), sum })
    }

    /// What a stage that ended like this is: a failure, or none.
    fn judged(&self, sum: &Tally, failed: Option<Failed>) -> Result<(), Failure> {
        if self.stop.is_interrupted() {
            return Err(Failure::Interrupted);
        }
        let name = |target: usize| self.settings.targets[target].name.clone();
        let answered = sum.answered();
        if self.lanes.iter().all(|lane| lane.live == 0)
            && let Some(last) = self.losses.last()
        {
            let (target, reason) = (name(last.target), last.reason.to_string());
            return Err(Failure::NoneLeft { target, reason, answered });
        }
        match failed {
            Some(Failed::Target(target, source)) => {
                return Err(Failure::Broken { target: name(target), source, answered });
            }
            Some(Failed::Loop(error)) => return Err(error.into()),
            None => {}
        }
        match &sum.first_error {
            Some((target, first)) => Err(Failure::Refused {
                target: name(*target),
                errors: sum.all().of(Outcome::Error),
                first: first.clone(),
            }),
            None => Ok(()),
        }
    }

    /// What was lost while the run went on, by target.
    pub(crate) fn losses(&self) -> Vec<TargetLoss> {
        let mut losses: Vec<TargetLoss> = Vec::new();
        for loss in &self.losses {
            let target = &self.settings.targets[loss.target].name;
            match losses.iter_mut().find(|before| before.target == *target) {
                Some(before) => {
                    before.connections += 1;
                    before.requests += loss.requests;
                }
                None => losses.push(TargetLoss {
                    target: target.clone(),
                    connections: 1,
                    requests: loss.requests,
                    reason: loss.reason.to_string(),
                }),
            }
        }
        losses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_has_its_share_of_every_target() {
        for (connections, targets, lanes) in [(12, 3, 2), (50, 1, 4), (7, 1, 1), (50, 3, 4)] {
            let mut counts = vec![vec![0_usize; lanes]; targets];
            for number in 0..connections {
                let (target, lane) = place(number, targets, lanes);
                counts[target][lane] += 1;
            }
            let fair = connections / targets / lanes;
            let counts: Vec<usize> = counts.concat();
            assert!(counts.iter().all(|count| (fair..=fair + 1).contains(count)), "{counts:?}");
        }
    }
}
