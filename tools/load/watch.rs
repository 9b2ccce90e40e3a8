//! What is seen of a stage while it runs: its series, a live line for people, a log for other programs.
//!
//! Invariant: whoever watches changes nothing: a terminal that is not there and a log that cannot be written leave the
//! run as it is, and the log's failure is told at the end. It counts nothing itself.

use std::fs::File;
use std::io::{self, LineWriter, Write};
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriter, IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::crew::Order;
use crate::lane::Stage;
use crate::plan::Plan;
use crate::process::Moment;
use crate::report::Slice;
use crate::settings::Settings;
use crate::tally::{Tally, latency_us};

/// A slice of the series that is shorter than this share of an interval is left out: its rate says little.
const WHOLE: f64 = 0.9;
/// Latencies are in nanoseconds; readers of the log are shown milliseconds.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// A log of intervals that is being written.
type Log<'w> = IntervalLogWriter<'w, 'w, LineWriter<File>, V2DeflateSerializer>;

/// What a log is written with: line by line, so that it can be followed, and is whole whatever ends the run.
pub(crate) struct LogFile {
    file: LineWriter<File>,
    serializer: V2DeflateSerializer,
}

impl LogFile {
    /// Creates the file at `path`.
    pub(crate) fn create(path: &str) -> io::Result<Self> {
        Ok(Self { file: LineWriter::new(File::create(path)?), serializer: V2DeflateSerializer::new() })
    }

    /// Writes what is left.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Who watches a run.
pub(crate) struct Watch<'w> {
    bar: ProgressBar,
    log: Option<Log<'w>>,
    log_failed: Option<String>,
    began: Instant,
    /// The tags of the log, by place.
    operations: Vec<&'static str>,
    /// Of the stage: where counting began, up to where it was seen, and the times of the servers then.
    count_from: Instant,
    seen_until: Instant,
    servers: Option<Moment>,
    series: Vec<Slice>,
}

impl<'w> Watch<'w> {
    /// Watches a run, and writes `log` if there is one.
    pub(crate) fn new(settings: &Settings, log: Option<&'w mut LogFile>) -> io::Result<Self> {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix:<10} {wide_bar} {elapsed} {msg}");
        bar.set_style(style.expect("the template is a constant that can be read"));
        let log = log.map(|LogFile { file, serializer }| {
            let now = SystemTime::now();
            IntervalLogWriterBuilder::new()
                .add_comment("[Latencies in nanoseconds, by operation, written by annulus-load]")
                .with_start_time(now)
                .with_base_time(now)
                .with_max_value_divisor(MAX_VALUE_DIVISOR)
                .begin_log_with(file, serializer)
        });
        let now = Instant::now();
        Ok(Self {
            bar,
            log: log.transpose()?,
            log_failed: None,
            began: now,
            operations: settings.mix.operations().iter().map(|operation| operation.name()).collect(),
            count_from: now,
            seen_until: now,
            servers: None,
            series: Vec::new(),
        })
    }

    /// A stage begins, and is counted from then on.
    pub(crate) fn begin(&mut self, order: &Order, count_from: Instant) {
        (self.count_from, self.seen_until) = (count_from, count_from);
        self.series.clear();
        self.bar.reset();
        let name = match (order.plan, &order.objective) {
            (Plan::Preload, _) => "preloading".to_owned(),
            (_, Some(_)) => format!("{:.0}/s", order.rate.unwrap_or_default()),
            (_, None) => "measuring".to_owned(),
        };
        self.bar.set_prefix(name);
        self.bar.set_length(order.length.map_or(0, |length| millis(length + order.warm_up)));
    }

    /// Counting has begun, with the servers' times as they are.
    pub(crate) fn counts_from(&mut self, servers: Option<Moment>) {
        self.servers = servers;
    }

    /// Nothing was told for a while.
    pub(crate) fn idle(&self) {
        self.bar.set_position(millis(self.bar.elapsed()));
    }

    /// An interval is complete; `ended_at` if it is the last.
    pub(crate) fn interval(
        &mut self,
        stage: &Stage<'_>,
        number: u32,
        ended_at: Option<Instant>,
        tally: &Tally,
        servers: Option<Moment>,
    ) {
        let end = stage.count_from + stage.interval * (number + 1);
        let end = ended_at.map_or(end, |ended_at| ended_at.clamp(self.seen_until, end));
        let length = end - self.seen_until;
        let slice = self.slice(end, length, tally, servers.as_ref());
        self.bar.set_position(millis(self.bar.elapsed()));
        self.bar.set_message(format!(
            "{:.0}/s, p50 {:.0} us, p99 {:.0} us, max {:.0} us",
            slice.operations_per_second, slice.p50_us, slice.p99_us, slice.max_us
        ));
        if stage.plan != Plan::Preload {
            self.log_interval(length, tally);
        }
        if length >= stage.interval.mul_f64(WHOLE) {
            self.series.push(slice);
        }
        (self.seen_until, self.servers) = (end, servers);
    }

    fn slice(&self, end: Instant, length: Duration, tally: &Tally, servers: Option<&Moment>) -> Slice {
        let all = tally.all();
        let latency = latency_us(&all.latency_ns);
        let spent_ns =
            servers.zip(self.servers.as_ref()).and_then(|(now, then)| now.server_nanos_since(then));
        Slice {
            at_ms: (end - self.count_from).as_secs_f64() * 1e3,
            operations_per_second: all.count() as f64 / length.as_secs_f64().max(1e-9),
            p50_us: latency.p50,
            p99_us: latency.p99,
            max_us: latency.max,
            server_cpu_us_per_operation: spent_ns.map(|nanos| nanos as f64 / 1e3 / all.count().max(1) as f64),
        }
    }

    fn log_interval(&mut self, length: Duration, tally: &Tally) {
        let Some(log) = &mut self.log else { return };
        for (place, name) in self.operations.iter().enumerate() {
            let replies = tally.of_operation(place);
            let written = log.write_histogram(
                &replies.latency_ns,
                self.seen_until - self.began,
                length,
                Tag::new(name),
            );
            if let Err(error) = written {
                self.log_failed.get_or_insert(match error {
                    IntervalLogWriterError::IoError(error) => error.to_string(),
                    error => format!("{error:?}"),
                });
            }
        }
    }

    /// The series of the stage that has ended.
    pub(crate) fn take_series(&mut self) -> Vec<Slice> {
        std::mem::take(&mut self.series)
    }

    /// Clears the live line. What the log's writing failed with is returned.
    pub(crate) fn end(self) -> Option<String> {
        self.bar.finish_and_clear();
        self.log_failed
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
