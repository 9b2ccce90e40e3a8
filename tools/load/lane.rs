//! A lane: one thread's event loop over its share of the connections.
//!
//! Invariant: what is counted in a stage arrived in it, after its warm-up. In a closed loop an operation's latency runs
//! from its send to its reply's arrival: a stall delays the sends behind it and they do not show that. In an open loop
//! it runs from the moment the operation was due. A connection that breaks ends the stage, or is left out from then
//! on; what was counted until then is kept. It decides nothing for other lanes, and sums up nothing.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use crate::connection::{Broken, Connection, Read, ReadBuffer, Times};
use crate::dialect::{Dialect, Outcome};
use crate::plan::{Plan, Requests};
use crate::schedule::{LATE, Schedule};
use crate::served::Served;
use crate::tally::{Shape, Tally};

/// What connections are watched for.
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);
/// Reads of one connection before the others have their turn.
const READS_PER_TURN_MAX: usize = 16;
/// Requests sent before replies are looked at again.
const DUE_PER_TURN_MAX: usize = 4096;
/// The longest wait for anything: so soon a lane sees that the stage is over for another reason.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// What a stage is to all lanes.
pub(crate) struct Stage<'a> {
    pub(crate) plan: Plan,
    pub(crate) shape: Shape,
    /// Where counting begins: behind the warm-up.
    pub(crate) count_from: Instant,
    /// When it ends; `None` if the plan does.
    pub(crate) until: Option<Instant>,
    /// The length of what is told at once.
    pub(crate) interval: Duration,
    /// Ends the stage early.
    pub(crate) enough: &'a AtomicBool,
    /// When somebody was served last.
    pub(crate) served: &'a Served,
    /// Tallies that nobody needs any more.
    pub(crate) spares: &'a Mutex<Vec<Tally>>,
}

/// What a lane tells while it runs.
pub(crate) enum Told {
    /// What it counted until the end of the interval of this number.
    Interval { lane: usize, number: u32, tally: Tally },
    /// It counts no more.
    Ended { lane: usize, at: Instant, failed: Option<Failed> },
}

/// Why a lane could not go on.
#[derive(Debug)]
pub(crate) enum Failed {
    /// A connection to the target in this place broke.
    Target(usize, Broken),
    /// The event loop failed.
    Loop(io::Error),
}

/// A connection that broke, in a run that went on without it.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) target: usize,
    pub(crate) reason: Broken,
    /// Requests whose replies will never come.
    pub(crate) requests: usize,
}

/// How a lane treats its connections.
#[derive(Clone, Copy)]
pub(crate) struct Manners {
    /// Requests under way on one connection of an open loop.
    pub(crate) outstanding_max: usize,
    pub(crate) reply_timeout: Duration,
    /// Whether it goes on without connections that broke.
    pub(crate) keep_going: bool,
}

/// One thread's share of the connections, and what it counts.
pub(crate) struct Lane<'a, D> {
    number: usize,
    manners: Manners,
    poll: Poll,
    /// By token; `None` once broken.
    connections: Vec<Option<Connection<D>>>,
    /// How many are not broken.
    pub(crate) live: usize,
    requests: Requests<'a>,
    buffer: ReadBuffer,
    /// Ends the run at once, replies or not.
    abort: &'a AtomicBool,
    /// When requests are due, in an open loop that runs.
    schedule: Option<Schedule>,
    /// The connection that the next request which is due goes to.
    next_connection: usize,
    /// Connections that were given requests which are due; empty between turns.
    touched: Vec<usize>,
    /// Requests under way on all connections.
    outstanding: usize,
    tally: Tally,
    /// Whether the warm-up is over; when the interval ends that is counted, and its number.
    counting: bool,
    cut_at: Option<Instant>,
    interval: u32,
    /// When silent connections are looked for next.
    look_at: Instant,
    pub(crate) losses: Vec<Loss>,
}

impl<'a, D: Dialect> Lane<'a, D> {
    /// A lane without connections.
    pub(crate) fn new(
        number: usize,
        manners: Manners,
        requests: Requests<'a>,
        buffer: ReadBuffer,
        abort: &'a AtomicBool,
    ) -> io::Result<Self> {
        Ok(Self {
            number,
            manners,
            poll: Poll::new()?,
            connections: Vec::new(),
            live: 0,
            requests,
            buffer,
            abort,
            schedule: None,
            next_connection: 0,
            touched: Vec::new(),
            outstanding: 0,
            tally: Tally::new(Shape { targets: 0, operations: 0, open: false }),
            counting: false,
            cut_at: None,
            interval: 0,
            look_at: Instant::now(),
            losses: Vec::new(),
        })
    }

    /// Takes in a connection.
    pub(crate) fn add(&mut self, mut connection: Connection<D>) -> io::Result<()> {
        let token = Token(self.connections.len());
        self.poll.registry().register(&mut connection.socket, token, INTEREST)?;
        self.connections.push(Some(connection));
        self.live += 1;
        Ok(())
    }

    /// Runs a stage, tells what was counted, and then waits for the replies that are under way; they count nowhere.
    pub(crate) fn run_and_drain(
        &mut self,
        stage: &Stage<'_>,
        schedule: Option<Schedule>,
        tell: &Sender<Told>,
    ) -> Result<(), Failed> {
        if !self.run(stage, schedule, tell) {
            return Ok(());
        }
        self.requests.plan = Plan::Drain;
        (self.schedule, self.cut_at) = (None, None);
        self.drive(&Stage { until: None, enough: &AtomicBool::new(false), ..*stage }, tell)
    }

    /// Runs a stage and tells what was counted, and why it failed if it did. Whether it went well is returned.
    fn run(&mut self, stage: &Stage<'_>, schedule: Option<Schedule>, tell: &Sender<Told>) -> bool {
        self.requests.plan = stage.plan;
        self.schedule = schedule;
        self.tally = Tally::new(stage.shape);
        (self.counting, self.interval, self.cut_at) = (false, 0, Some(stage.count_from));
        let failed = self.drive(stage, tell).err();
        let went_well = failed.is_none();
        let now = Instant::now();
        let at = stage.until.map_or(now, |until| until.min(now));
        // Whoever listens is there until every lane has ended.
        if self.counting {
            self.owe(at);
            let tally = std::mem::replace(&mut self.tally, Tally::new(stage.shape));
            let _ = tell.send(Told::Interval { lane: self.number, number: self.interval, tally });
        }
        let _ = tell.send(Told::Ended { lane: self.number, at, failed });
        went_well
    }

    /// Sends and receives by plan until the stage is over.
    fn drive(&mut self, stage: &Stage<'_>, tell: &Sender<Told>) -> Result<(), Failed> {
        if self.schedule.is_none() {
            for number in 0..self.connections.len() {
                let sent = self.send(number);
                self.tend(number, sent)?;
            }
        }
        let mut events = Events::with_capacity(1024);
        loop {
            let now = Instant::now();
            if self.is_over(stage, now) {
                return Ok(());
            }
            if self.cut_at.is_some_and(|cut_at| now >= cut_at) {
                self.cut(stage, tell, now);
            }
            self.send_due(now)?;
            self.look_for_silence(now)?;
            match self.poll.poll(&mut events, Some(self.wait(stage.until, now))) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failed::Loop(error)),
            }
            if events.is_empty() {
                // A target that shares the core is not to wait until the look-out for due requests has had its slice.
                thread::yield_now();
            }
            for event in &events {
                let turned = self.turn(event, stage.served);
                self.tend(event.token().0, turned)?;
            }
        }
    }

    /// Whether driving is done: for all, because the time is up, or because all is answered that was to be sent.
    fn is_over(&self, stage: &Stage<'_>, now: Instant) -> bool {
        if self.abort.load(Ordering::Relaxed) || stage.enough.load(Ordering::Relaxed) || self.live == 0 {
            return true;
        }
        let more_due = self.schedule.is_some() && self.requests.more();
        stage.until.map_or(self.outstanding == 0 && !more_due, |until| now >= until)
    }

    /// How long to wait for events: the kernel's timer is no finer than a millisecond, so before a request is due the
    /// loop looks again and again.
    fn wait(&self, until: Option<Instant>, now: Instant) -> Duration {
        const TIMER: Duration = Duration::from_millis(2);
        let wake_at = [until, self.cut_at].into_iter().flatten().min();
        let wait = wake_at.map_or(WAIT_MAX, |wake_at| WAIT_MAX.min(wake_at.saturating_duration_since(now)));
        let due = self.schedule.as_ref().map(|schedule| schedule.due().saturating_duration_since(now));
        match due {
            Some(pause) if pause < TIMER => Duration::ZERO,
            Some(pause) => wait.min(pause - TIMER / 2),
            None => wait,
        }
    }

    /// Ends an interval, or the warm-up.
    fn cut(&mut self, stage: &Stage<'_>, tell: &Sender<Told>, now: Instant) {
        let passed = (now - stage.count_from).as_nanos() / stage.interval.as_nanos().max(1);
        let number = u32::try_from(passed).unwrap_or(u32::MAX - 1);
        if self.counting {
            let spare = stage.spares.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let room = spare.unwrap_or_else(|| Tally::new(stage.shape));
            let tally = std::mem::replace(&mut self.tally, room);
            let _ = tell.send(Told::Interval { lane: self.number, number: number.saturating_sub(1), tally });
        } else {
            self.tally.clear();
            self.counting = true;
        }
        self.interval = number;
        self.cut_at = Some(stage.count_from + stage.interval * (number + 1));
    }

    /// Counts what was due until `at` and could not be sent.
    fn owe(&mut self, at: Instant) {
        if self.requests.more()
            && let Some(schedule) = &self.schedule
        {
            self.tally.owe(schedule.owed(at), at.saturating_duration_since(schedule.due()));
        }
    }

    /// Lets go of a connection that broke, or ends the stage.
    fn tend(&mut self, number: usize, outcome: Result<(), Broken>) -> Result<(), Failed> {
        let Err(reason) = outcome else { return Ok(()) };
        let connection = self.connections[number].take().expect("a connection breaks once");
        let target = connection.target;
        self.live -= 1;
        self.outstanding -= connection.outstanding;
        connection.lost().for_each(|lost| self.requests.settle(lost));
        if !self.manners.keep_going {
            return Err(Failed::Target(target, reason));
        }
        self.losses.push(Loss { target, reason, requests: connection.outstanding });
        Ok(())
    }

    fn look_for_silence(&mut self, now: Instant) -> Result<(), Failed> {
        const LOOK_MAX: Duration = Duration::from_millis(100);
        if now < self.look_at {
            return Ok(());
        }
        let timeout = self.manners.reply_timeout;
        self.look_at = now + LOOK_MAX.min(timeout / 8);
        for number in 0..self.connections.len() {
            let Some(connection) = &self.connections[number] else { continue };
            if connection.outstanding > 0 && now.saturating_duration_since(connection.heard_at) >= timeout {
                self.tend(number, Err(Broken::Silent(timeout.as_millis())))?;
            }
        }
        Ok(())
    }

    fn turn(&mut self, event: &Event, served: &Served) -> Result<(), Broken> {
        let number = event.token().0;
        let Some(connection) = &mut self.connections[number] else { return Ok(()) };
        if event.is_writable() {
            connection.flush()?;
        }
        let hung_up = event.is_read_closed() || event.is_error();
        if !event.is_readable() && !hung_up {
            return Ok(());
        }
        for _ in 0..READS_PER_TURN_MAX {
            let Some(connection) = &mut self.connections[number] else { return Ok(()) };
            let read = connection.read(&mut self.buffer)?;
            if read == Read::Nothing {
                return Ok(());
            }
            self.take_replies(number, served)?;
            self.send(number)?;
            // A short read has emptied the socket, unless the peer has closed: then its end is still to be read.
            if read == Read::Short && !hung_up {
                return Ok(());
            }
        }
        // Edges are told once: armed anew, the socket is readable again at once if anything is left.
        let Some(connection) = &mut self.connections[number] else { return Ok(()) };
        Ok(self.poll.registry().reregister(&mut connection.socket, event.token(), INTEREST)?)
    }

    /// Takes the replies that were read from a connection, and prepares what follows from them.
    fn take_replies(&mut self, number: usize, served: &Served) -> Result<(), Broken> {
        let now = Instant::now();
        let mut succeeded = false;
        let Some(connection) = &mut self.connections[number] else { return Ok(()) };
        let outstanding = connection.outstanding;
        let mut rest = self.buffer.filled();
        let parsed = loop {
            let (reply, answered) = match connection.answer(rest) {
                Ok(Some(answer)) => answer,
                Ok(None) => break Ok(()),
                Err(broken) => break Err(broken),
            };
            let (bytes, behind) = rest.split_at(reply.bytes);
            rest = behind;
            connection.heard_at = now;
            if answered.writes_next && reply.outcome != Outcome::Error {
                self.requests.write_read(connection, answered);
                continue;
            }
            self.requests.settle(&answered);
            succeeded |= reply.outcome != Outcome::Error;
            self.tally.record(connection.target, answered.place, reply.outcome, answered.times, now);
            if reply.outcome == Outcome::Error && self.tally.first_error.is_none() {
                self.tally.first_error = Some((connection.target, connection.dialect.describe(bytes)));
            }
        };
        if succeeded {
            served.note(now);
        }
        let over = outstanding - connection.outstanding;
        self.outstanding -= over;
        self.tally.reads += u64::from(over > 0);
        parsed?;
        connection.keep(rest, &self.buffer)
    }

    /// Sends what is encoded for a connection, and in a closed loop what it is its turn to send by plan.
    fn send(&mut self, number: usize) -> Result<(), Broken> {
        let Some(connection) = &mut self.connections[number] else { return Ok(()) };
        if self.schedule.is_none() {
            let encoded = self.requests.fill(connection);
            self.outstanding += encoded;
        }
        if connection.output.is_empty() { Ok(()) } else { connection.flush() }
    }

    /// Sends what is due, whatever has become of what was sent before.
    fn send_due(&mut self, now: Instant) -> Result<(), Failed> {
        let Some(schedule) = &mut self.schedule else { return Ok(()) };
        while schedule.due() <= now && self.touched.len() < DUE_PER_TURN_MAX && self.live > 0 {
            let number = self.next_connection % self.connections.len();
            let Some(connection) = &mut self.connections[number] else {
                self.next_connection = number + 1;
                continue;
            };
            // What stays is late: what a target does not take is not held without bound.
            if connection.outstanding >= self.manners.outstanding_max || !self.requests.take() {
                break;
            }
            let times = Times { due: schedule.due(), sent: now };
            self.requests.draw(connection, times);
            self.outstanding += 1;
            let late = now - times.due;
            self.tally.sent(late, late > LATE);
            schedule.advance();
            self.touched.push(number);
            self.next_connection = number + 1;
        }
        // Each connection's requests in one write.
        for touch in 0..self.touched.len() {
            let number = self.touched[touch];
            let sent = self.send(number);
            self.tend(number, sent)?;
        }
        self.touched.clear();
        Ok(())
    }
}
