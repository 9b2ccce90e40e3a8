//! The loops: one thread, all connections, phase after phase.
//!
//! Invariant: what is counted in a phase arrived in it, and the processor times are read at the same two moments as the
//! clock. In a closed loop a request's latency runs from its send to its reply's arrival: a stall delays the sends
//! behind it and they do not show that. In an open loop it runs from the moment the request was due. The first
//! connection that breaks ends the run; what was counted until then is kept.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use thiserror::Error;

use crate::connection::{Broken, Connection, Read, ReadBuffer, Times};
use crate::counts::{Counts, latency_us, percentiles_us};
use crate::dialect::{Dialect, Outcome};
use crate::distribution::Distribution;
use crate::keys;
use crate::options::{Settings, Until};
use crate::plan::{Plan, Requests, replies_per_read};
use crate::process::{ProcessTime, Unreadable};
use crate::report::{OpenLoop, Phase, Report};
use crate::schedule::{LATE, Schedule};

/// What connections are watched for.
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Reads of one connection before the others have their turn.
const READS_PER_TURN_MAX: usize = 16;
/// Requests sent before replies are looked at again.
const DUE_PER_TURN_MAX: usize = 4096;
/// Requests under way on one connection of an open loop.
const OUTSTANDING_MAX: usize = 65_536;

/// Why a run ended early, or why its figures cannot be trusted.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("cannot connect to {target}: {source}")]
    Connect { target: String, source: io::Error },
    #[error("{target}: {source}, {answered} operations into the phase")]
    Broken { target: String, source: Broken, answered: u64 },
    #[error("{target}: no reply for {timeout_ms} ms, {answered} operations into the phase")]
    Silent { target: String, timeout_ms: u128, answered: u64 },
    #[error("{target}: {errors} error replies, the first: {first}")]
    Refused { target: String, errors: u64, first: String },
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("the event loop failed: {0}")]
    Loop(#[from] io::Error),
}

/// Runs all phases that `settings` ask for. The report is there even if they failed.
pub(crate) fn run<D: Dialect>(settings: &Settings, dialect: &D) -> Report {
    let mut report = Report {
        label: settings.label.clone(),
        load: settings.load.clone(),
        preload: None,
        measured: None,
        failure: None,
    };
    let outcome = Load::connect(settings, dialect).and_then(|mut load| load.phases(&mut report));
    report.failure = outcome.err().map(|failure| failure.to_string());
    report
}

/// The moments a phase is measured between.
struct Moment {
    at: Instant,
    server: Option<ProcessTime>,
    own: ProcessTime,
}

impl Moment {
    fn now(server_pid: Option<u32>) -> Result<Self, Failure> {
        let server = server_pid.map(ProcessTime::of).transpose()?;
        Ok(Self { own: ProcessTime::of(std::process::id())?, server, at: Instant::now() })
    }
}

struct Load<'a, D> {
    settings: &'a Settings,
    poll: Poll,
    connections: Vec<Connection<D>>,
    /// Connections with requests under way.
    busy: usize,
    requests: Requests<'a>,
    buffer: ReadBuffer,
    counts: Counts,
    /// When requests are due, in an open loop that runs.
    schedule: Option<Schedule>,
    /// The connection that the next request which is due goes to.
    next_connection: usize,
    /// When a reply last came, or driving began.
    heard_at: Instant,
}

impl<'a, D: Dialect> Load<'a, D> {
    fn connect(settings: &'a Settings, dialect: &D) -> Result<Self, Failure> {
        let load = &settings.load;
        let distribution = Distribution::new(settings.shape, load.keys, load.read_ratio);
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(load.connections);
        for number in 0..load.connections {
            let socket = TcpStream::connect_timeout(&settings.address, CONNECT_TIMEOUT)
                .and_then(|socket| socket.set_nodelay(true).map(|()| socket))
                .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
                .map_err(|source| Failure::Connect { target: load.target.clone(), source })?;
            let mut socket = mio::net::TcpStream::from_std(socket);
            poll.registry().register(&mut socket, Token(number), INTEREST)?;
            let stream = distribution.stream(load.seed, number as u64, load.connections as u64);
            connections.push(Connection::new(socket, dialect.clone(), stream));
        }
        let requests = Requests {
            settings,
            distribution,
            key_text: settings.key_text.clone(),
            value: keys::value(load.value_bytes),
            plan: Plan::Drain,
        };
        Ok(Self {
            settings,
            poll,
            connections,
            busy: 0,
            requests,
            buffer: ReadBuffer::new::<D>(load.value_bytes, replies_per_read(settings.sending, load.pipeline)),
            counts: Counts::new(false, None),
            schedule: None,
            next_connection: 0,
            heard_at: Instant::now(),
        })
    }

    fn phases(&mut self, report: &mut Report) -> Result<(), Failure> {
        let settings = self.settings;
        if settings.preload {
            self.phase(Plan::Preload { next: settings.load.first_key }, None, &mut report.preload)?;
        }
        if settings.preload_only {
            return Ok(());
        }
        if !settings.warm_up.is_zero() {
            self.requests.plan = Plan::Mix { remaining: None };
            self.begin_schedule();
            self.drive(Some(Instant::now() + settings.warm_up))?;
        }
        match settings.until {
            Until::Elapsed(duration) => {
                self.phase(Plan::Mix { remaining: None }, Some(duration), &mut report.measured)?;
            }
            Until::Answered(requests) => {
                // Replies to the warm-up must not be counted among those asked for.
                self.requests.plan = Plan::Drain;
                self.drive(None)?;
                self.phase(Plan::Mix { remaining: Some(requests) }, None, &mut report.measured)?;
            }
        }
        self.requests.plan = Plan::Drain;
        self.drive(None)
    }

    /// Carries out `plan` until `duration` has passed, or until it is done, and reports what was counted either way.
    fn phase(
        &mut self,
        plan: Plan,
        duration: Option<Duration>,
        result: &mut Option<Phase>,
    ) -> Result<(), Failure> {
        let open = matches!(plan, Plan::Mix { .. }) && self.settings.load.rate_per_second.is_some();
        self.requests.plan = plan;
        self.counts = Counts::new(open, duration);
        self.begin_schedule();
        let start = Moment::now(self.settings.server_pid)?;
        self.counts.slices.begin(start.at, start.server.clone());
        let outcome = self.drive(duration.map(|duration| start.at + duration));
        let end = match Moment::now(self.settings.server_pid) {
            Ok(end) => end,
            // The server may be what failed: its time is lost, the counts are not.
            Err(_) if outcome.is_err() => Moment::now(None)?,
            Err(failure) => return Err(failure),
        };
        *result = Some(self.summary(&start, &end));
        outcome?;
        match &self.counts.first_error {
            Some(first) => Err(Failure::Refused {
                target: self.settings.load.target.clone(),
                errors: self.counts.of(Outcome::Error),
                first: first.clone(),
            }),
            None => Ok(()),
        }
    }

    fn summary(&self, start: &Moment, end: &Moment) -> Phase {
        let counts = &self.counts;
        let duration = end.at - start.at;
        let per_operation = |nanos: u64| nanos as f64 / 1e3 / counts.answered().max(1) as f64;
        let server = end.server.as_ref().zip(start.server.as_ref());
        Phase {
            operations: counts.answered(),
            hits: counts.of(Outcome::Hit),
            misses: counts.of(Outcome::Miss),
            stored: counts.of(Outcome::Stored),
            errors: counts.of(Outcome::Error),
            duration_ms: duration.as_secs_f64() * 1e3,
            operations_per_second: counts.answered() as f64 / duration.as_secs_f64().max(1e-9),
            replies_per_read: counts.answered() as f64 / counts.reads.max(1) as f64,
            latency_us: latency_us(&counts.latency_ns),
            open_loop: counts.service_ns.as_ref().map(|service_ns| OpenLoop {
                due: counts.due,
                sent_late: counts.sent_late,
                late_us_max: counts.late_max.as_secs_f64() * 1e6,
                service_us: latency_us(service_ns),
                short_of_rate: (counts.answered() as f64) < 0.99 * counts.due as f64,
            }),
            percentiles_us: percentiles_us(&counts.latency_ns),
            series: counts.slices.done.clone(),
            server_cpu_us_per_operation: server.map(|(end, start)| per_operation(end.nanos_since(start))),
            generator_cpu_us_per_operation: per_operation(end.own.nanos_since(&start.own)),
        }
    }

    /// Sends and receives by plan until `deadline`, or without one until the plan is done and every reply is there.
    fn drive(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        self.heard_at = Instant::now();
        for number in 0..if self.schedule.is_some() { 0 } else { self.connections.len() } {
            self.send(number).map_err(|source| self.broken(source))?;
        }
        let mut events = Events::with_capacity(1024);
        loop {
            let now = Instant::now();
            if self.is_over(deadline, now) {
                return Ok(());
            }
            self.counts.slices.turn(now, self.settings.server_pid)?;
            self.send_due(now).map_err(|source| self.broken(source))?;
            let silent_at = self.heard_at + self.settings.reply_timeout;
            if now >= silent_at {
                return Err(self.silent());
            }
            let wake_at = deadline.map_or(silent_at, |deadline| deadline.min(silent_at));
            match self.poll.poll(&mut events, Some(self.sleep(wake_at, now))) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.turn(event).map_err(|source| self.broken(source))?;
            }
        }
    }

    fn turn(&mut self, event: &Event) -> Result<(), Broken> {
        let number = event.token().0;
        if event.is_writable() {
            self.connections[number].flush()?;
        }
        let hung_up = event.is_read_closed() || event.is_error();
        if !event.is_readable() && !hung_up {
            return Ok(());
        }
        for _ in 0..READS_PER_TURN_MAX {
            let Self { connections, buffer, counts, .. } = self;
            let connection = &mut connections[number];
            let before = connection.outstanding;
            let read = connection.receive(buffer, |outcome, dialect, reply| {
                counts.outcomes[outcome as usize] += 1;
                if outcome == Outcome::Error && counts.first_error.is_none() {
                    counts.first_error = Some(dialect.describe(reply));
                }
            })?;
            let answered = before - connection.outstanding;
            if answered > 0 {
                let now = Instant::now();
                connection.answered(answered, |times, requests| counts.record(times, now, requests));
                counts.reads += 1;
                self.busy -= usize::from(connection.outstanding == 0);
                self.heard_at = now;
                if self.schedule.is_none() {
                    self.send(number)?;
                }
            }
            // A short read has emptied the socket, unless the peer has closed: then its end is still to be read.
            match read {
                Read::Nothing => return Ok(()),
                Read::Short if !hung_up => return Ok(()),
                Read::Short | Read::Full => {}
            }
        }
        // Edges are told once: armed anew, the socket is readable again at once if anything is left.
        let socket = &mut self.connections[number].socket;
        Ok(self.poll.registry().reregister(socket, event.token(), INTEREST)?)
    }

    /// Encodes and sends what it is a connection's turn to send, if the plan has it.
    fn send(&mut self, number: usize) -> Result<(), Broken> {
        let connection = &mut self.connections[number];
        let encoded = self.requests.encode(connection);
        if encoded == 0 {
            return Ok(());
        }
        self.busy += usize::from(connection.outstanding == 0);
        let now = Instant::now();
        connection.sent(encoded, Times { due: now, sent: now });
        connection.flush()
    }

    /// Begins an open loop, if that is asked for and the plan draws requests.
    fn begin_schedule(&mut self) {
        let load = &self.settings.load;
        let drawn = matches!(self.requests.plan, Plan::Mix { .. });
        let schedule = |rate| Schedule::new(rate, self.settings.arrivals, load.seed, Instant::now());
        self.schedule = load.rate_per_second.filter(|_| drawn).map(schedule);
    }

    /// Whether driving is done: the time is up, or all is answered that was to be sent.
    fn is_over(&self, deadline: Option<Instant>, now: Instant) -> bool {
        let more_due = match self.requests.plan {
            Plan::Mix { remaining } => self.schedule.is_some() && remaining != Some(0),
            Plan::Drain | Plan::Preload { .. } => false,
        };
        deadline.map_or(self.busy == 0 && !more_due, |deadline| now >= deadline)
    }

    /// How long to wait for events: the kernel's timer is no finer than a millisecond, so before a request is due the
    /// loop looks again and again.
    fn sleep(&self, wake_at: Instant, now: Instant) -> Duration {
        const TIMER: Duration = Duration::from_millis(2);
        let due = self.schedule.as_ref().map(Schedule::due);
        match due.map(|due| due.saturating_duration_since(now)) {
            Some(pause) if pause < TIMER => Duration::ZERO,
            Some(pause) => (pause - TIMER / 2).min(wake_at - now),
            None => wake_at - now,
        }
    }

    /// Sends what is due, whatever has become of what was sent before.
    fn send_due(&mut self, now: Instant) -> Result<(), Broken> {
        let Some(schedule) = &mut self.schedule else { return Ok(()) };
        let mut touched = 0;
        while schedule.due() <= now && touched < DUE_PER_TURN_MAX {
            if let Plan::Mix { remaining: Some(remaining) } = &mut self.requests.plan {
                if *remaining == 0 {
                    break;
                }
                *remaining -= 1;
            }
            let connection = &mut self.connections[self.next_connection];
            if connection.outstanding >= OUTSTANDING_MAX {
                // It stays due, and late: what a target does not take is not held without bound.
                break;
            }
            self.requests.encode_drawn(connection);
            self.busy += usize::from(connection.outstanding == 0);
            let times = Times { due: schedule.due(), sent: now };
            connection.sent(1, times);
            let late = now - times.due;
            self.counts.due += 1;
            self.counts.sent_late += u64::from(late > LATE);
            self.counts.late_max = self.counts.late_max.max(late);
            schedule.advance();
            self.next_connection = (self.next_connection + 1) % self.connections.len();
            touched += 1;
        }
        // Each connection's requests in one write.
        let count = self.connections.len();
        for step in 1..=touched.min(count) {
            let number = (self.next_connection + count - step % count) % count;
            self.connections[number].flush()?;
        }
        Ok(())
    }

    fn broken(&self, source: Broken) -> Failure {
        Failure::Broken {
            target: self.settings.load.target.clone(),
            source,
            answered: self.counts.answered(),
        }
    }

    fn silent(&self) -> Failure {
        Failure::Silent {
            target: self.settings.load.target.clone(),
            timeout_ms: self.settings.reply_timeout.as_millis(),
            answered: self.counts.answered(),
        }
    }
}
