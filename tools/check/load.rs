//! Clients at work, and what they were told.
//!
//! Invariant: every value is written once; an operation whose outcome its client does not know is recorded so. Keys are
//! contended for two seconds, then others are: a judge needs many short histories rather than a few long ones. All of
//! them are read once more at the end, so that what was lost later is missed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annulus::client::{Client, Conditional, Error, Operations, Options};
use annulus::history::{Answer, Ask, ClientId, History, Key, Rank};
use annulus::message::{Condition, ExpiryChange, Reply, Request};
use annulus::types::{Level, Version};

use crate::options::LoadOptions;

/// How long the same keys are contended for.
const KEYS_LAST: Duration = Duration::from_secs(2);

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a client that cannot connect waits before it tries another node.
const PAUSE: Duration = Duration::from_millis(10);

/// Who is asked, and for what.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) targets: Vec<SocketAddr>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) prefix: String,
    pub(crate) options: LoadOptions,
}

/// What clients were told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) history: History,
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    /// Those that were refused or unknown: through which target, and at which level.
    pub(crate) failures: Vec<(usize, Level)>,
    /// The longest time in which no client had an operation done.
    pub(crate) longest_gap: Duration,
}

/// What a key is for: its operations are all of one kind, because a judge needs that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Written and read at quorum.
    Plain,
    /// Written, compared, removed and read at linearizable.
    Agreed,
    /// Added to, at linearizable.
    Counter,
}

const KINDS: [Kind; 3] = [Kind::Plain, Kind::Agreed, Kind::Counter];

fn kind(key: Key) -> Kind {
    KINDS[(key.0 % KINDS.len() as u64) as usize]
}

impl Load {
    /// Lets clients work for the time that is set, or until `stop`.
    pub(crate) fn run(&self, stop: &AtomicBool) -> Told {
        let started = Instant::now();
        let gap = Gap { started, last_ns: AtomicU64::new(0), longest_ns: AtomicU64::new(0) };
        let histories: Vec<Worker<'_>> = thread::scope(|scope| {
            let work = |number| {
                let mut worker = Worker::new(self, number, started, &gap);
                scope.spawn(move || {
                    worker.work(stop);
                    worker
                })
            };
            let workers: Vec<_> = (0..self.options.clients).map(work).collect();
            workers.into_iter().map(|worker| worker.join().expect("a client does not panic")).collect()
        });
        let mut told = Told {
            history: History::new(),
            done: 0,
            refused: 0,
            unknown: 0,
            failures: Vec::new(),
            longest_gap: Duration::from_nanos(gap.longest_ns.load(Ordering::Relaxed)),
        };
        for worker in histories {
            told.history.absorb(&worker.history);
            told.done += worker.done;
            told.refused += worker.refused;
            told.unknown += worker.unknown;
            told.failures.extend(worker.failures);
        }
        told
    }

    /// Reads every key once more, when the cluster has been let alone.
    pub(crate) fn read_all(&self, told: &mut Told, started_before: Duration) {
        let gap = Gap { started: Instant::now(), last_ns: AtomicU64::new(0), longest_ns: AtomicU64::new(0) };
        let mut worker = Worker::new(self, self.options.clients, gap.started, &gap);
        // What is read now begins after everything before has ended.
        worker.ahead_ns = started_before.as_nanos() as u64;
        let keys: Vec<Key> = told.history.keys().map(|key| key.key).collect();
        for key in keys {
            let deadline = Instant::now() + PATIENCE;
            while !worker.read(key) && Instant::now() < deadline {}
        }
        told.history.absorb(&worker.history);
        told.done += worker.done;
    }

    /// Removes every key; returns how many were not.
    pub(crate) fn clean(&self, history: &History) -> usize {
        let gap = Gap { started: Instant::now(), last_ns: AtomicU64::new(0), longest_ns: AtomicU64::new(0) };
        let mut worker = Worker::new(self, self.options.clients, gap.started, &gap);
        let left = history.keys().filter(|key| {
            let name = self.name(key.key);
            let removed = worker.connection().map(|client| client.remove(name.as_bytes()));
            if !matches!(removed, Some(Ok(_))) {
                worker.connection = None;
                return true;
            }
            false
        });
        left.count()
    }

    fn name(&self, key: Key) -> String {
        format!("{}{:?}:{}", self.prefix, kind(key), key.0).to_lowercase()
    }
}

/// The longest time without anything done.
struct Gap {
    started: Instant,
    last_ns: AtomicU64,
    longest_ns: AtomicU64,
}

impl Gap {
    fn note_done(&self) {
        let now_ns = self.started.elapsed().as_nanos() as u64;
        let before_ns = self.last_ns.fetch_max(now_ns, Ordering::Relaxed);
        self.longest_ns.fetch_max(now_ns.saturating_sub(before_ns), Ordering::Relaxed);
    }
}

/// One client.
struct Worker<'l> {
    load: &'l Load,
    number: u32,
    started: Instant,
    /// How much later than `started` its times count.
    ahead_ns: u64,
    gap: &'l Gap,
    history: History,
    random: fastrand::Rng,
    connection: Option<Client>,
    /// The next target to connect to: each connection goes to the next node.
    tried: usize,
    next_value: u64,
    /// The version that this client last saw, by key.
    seen: Option<(Key, Version)>,
    done: u64,
    refused: u64,
    unknown: u64,
    failures: Vec<(usize, Level)>,
}

impl<'l> Worker<'l> {
    fn new(load: &'l Load, number: u32, started: Instant, gap: &'l Gap) -> Self {
        Self {
            load,
            number,
            started,
            ahead_ns: 0,
            gap,
            history: History::new(),
            random: fastrand::Rng::with_seed(u64::from(number)),
            connection: None,
            tried: number as usize,
            next_value: u64::from(number) << 32,
            seen: None,
            done: 0,
            refused: 0,
            unknown: 0,
            failures: Vec::new(),
        }
    }

    fn work(&mut self, stop: &AtomicBool) {
        let LoadOptions { seconds, clients, rate, keys } = self.load.options;
        let period = Duration::from_secs(1) * clients / rate;
        let mut due = self.started + period * self.number / clients;
        let ends = Duration::from_secs(seconds);
        while self.started.elapsed() < ends && !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now < due {
                thread::sleep(due - now); // Until its turn.
            }
            // Who is late does not catch up: a history of bursts tells no more.
            due = (due + period).max(Instant::now());
            let generation = self.started.elapsed().as_nanos() / KEYS_LAST.as_nanos();
            let kinds = KINDS.len() as u64;
            let key = Key(generation as u64 * keys * kinds + self.random.u64(..keys * kinds));
            match kind(key) {
                Kind::Plain if self.random.u8(..10) < 5 => self.put(key, Condition::Always),
                Kind::Agreed => match self.random.u8(..10) {
                    0..3 => self.put(key, Condition::Always),
                    3..5 => self.compare(key),
                    5 => self.remove(key),
                    _ => _ = self.read(key),
                },
                Kind::Counter if self.random.u8(..10) < 6 => self.increment(key),
                Kind::Plain | Kind::Counter => _ = self.read(key),
            }
        }
    }

    fn now(&self) -> u64 {
        self.ahead_ns + self.started.elapsed().as_nanos() as u64
    }

    /// The connection, made anew to the next node if the last one broke.
    fn connection(&mut self) -> Option<&mut Client> {
        if self.connection.is_none() {
            let address = self.load.targets[self.tried % self.load.targets.len()];
            self.tried += 1;
            let options = Options {
                connect_timeout: PATIENCE,
                read_timeout: Some(PATIENCE),
                password: self.load.password.clone(),
                ..Options::default()
            };
            self.connection = Client::connect_with(address, options).ok();
            if self.connection.is_none() {
                thread::sleep(PAUSE); // A node that is down is not asked all the time.
            }
        }
        self.connection.as_mut()
    }

    /// Asks, and records what is told; returns whether it was done. `answer` tells what is recorded of a reply.
    fn ask<T>(
        &mut self,
        key: Key,
        ask: Ask,
        call: impl FnOnce(&mut Client, &[u8]) -> Result<T, Error>,
        answer: impl FnOnce(&mut History, T) -> (Answer, Option<Rank>),
    ) -> bool {
        let level = if kind(key) == Kind::Plain { Level::Quorum } else { Level::Linearizable };
        let name = self.load.name(key);
        if self.connection().is_none() {
            return false;
        }
        let asked = self.history.invoke(ClientId(self.number), key, level, ask, self.now());
        let Some(client) = &mut self.connection else { return false };
        client.set_level(Some(level));
        let result = call(client, name.as_bytes());
        let now = self.now();
        if result.is_err() {
            self.failures.push(((self.tried - 1) % self.load.targets.len(), level));
        }
        match result {
            Ok(reply) => {
                let (answer, version) = answer(&mut self.history, reply);
                self.history.done(asked, answer, version, now);
                self.done += 1;
                self.gap.note_done();
                return true;
            }
            Err(error) if !error.may_have_applied() || ask == Ask::Read => {
                self.history.refused(asked, now);
                self.refused += 1;
                if !matches!(error, Error::Refused { .. } | Error::Unknown { .. }) {
                    self.connection = None;
                }
            }
            Err(error) => {
                self.history.unknown(asked, now);
                self.unknown += 1;
                if !matches!(error, Error::Unknown { .. }) {
                    self.connection = None;
                }
            }
        }
        false
    }

    fn read(&mut self, key: Key) -> bool {
        let mut seen = None;
        let call = |client: &mut Client, name: &[u8]| client.get(name);
        let done = self.ask(key, Ask::Read, call, |history, entry| match entry {
            Some(entry) => {
                seen = Some((key, entry.version));
                let number = std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse().ok());
                // What nobody wrote is a number that nobody wrote.
                let value = history.number(number.unwrap_or(u64::MAX));
                (Answer::Holds(value), rank(entry.version))
            }
            None => (Answer::Holds(history.list(&[])), None),
        });
        self.seen = seen.or(self.seen);
        done
    }

    fn put(&mut self, key: Key, condition: Condition) {
        self.next_value += 1;
        let value = self.next_value;
        let when = match condition {
            Condition::VersionIs(version) => annulus::history::Condition::VersionIs(Rank::of(version, false)),
            _ => annulus::history::Condition::Always,
        };
        let call = |client: &mut Client, name: &[u8]| {
            client.put_with(name, value.to_string().as_bytes(), condition, ExpiryChange::Clear)
        };
        self.ask(key, Ask::Write { value, when }, call, |_, conditional| match conditional {
            Conditional::Written(version) => (Answer::Applied, rank(version)),
            Conditional::NotWritten { current } => (Answer::NotMet, current.and_then(rank)),
        });
    }

    /// Stores a value if the key holds the version that this client saw last.
    fn compare(&mut self, key: Key) {
        match self.seen {
            Some((seen, version)) if seen == key => self.put(key, Condition::VersionIs(version)),
            _ => _ = self.read(key),
        }
    }

    fn remove(&mut self, key: Key) {
        let call = |client: &mut Client, name: &[u8]| match client
            .call(Request::Remove { key: name, condition: Condition::Always })?
        {
            Reply::Removed { .. } => Ok(()),
            _ => Err(Error::UnexpectedAnswer),
        };
        self.ask(key, Ask::remove(), call, |_, ()| (Answer::Applied, None));
    }

    fn increment(&mut self, key: Key) {
        let call = |client: &mut Client, name: &[u8]| client.increment(name, 1);
        self.ask(key, Ask::Increment(1), call, |history, sum| {
            (Answer::Holds(history.number(sum.cast_unsigned())), None)
        });
    }
}

/// A version as judges know it.
fn rank(version: Version) -> Option<Rank> {
    Some(Rank::of(version, false))
}
