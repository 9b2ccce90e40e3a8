//! Clients that write and read a few keys through all nodes, and record what they were told.
//!
//! Invariant: every value is written once; what a client does not know the outcome of is recorded so, and the client
//! connects anew.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annulus::client::{Client, Error, Operations, Options};
use annulus::history::linearizability::{self, Budget};
use annulus::history::{Answer, Ask, ClientId, History, Key, Rank, Verdict, regularity};
use annulus::types::{Level, Version};

use crate::nodes::Cluster;

/// Clients, and keys that they contend for.
const CLIENTS: u32 = 8;
const KEYS: u64 = 4;

/// Keys from here on are counters.
const COUNTERS_FROM: u64 = 3;

/// What clients did, and how well they were served.
pub(crate) struct Served {
    pub(crate) history: History,
    /// Operations that were done.
    pub(crate) done: u64,
    /// The longest time in which no client of the nodes that stayed up had an operation done.
    pub(crate) longest_gap: Duration,
}

/// Lets clients work at quorum through all nodes while `trouble` happens; nodes in `stays_up` are those whose service
/// is looked at.
pub(crate) fn work_beside(cluster: &Cluster, stays_up: &[usize], trouble: impl FnOnce()) -> Served {
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let (done, last_done_ns, longest_ns) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.address).collect();
    let history = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let node = client as usize % addresses.len();
                let (address, looked_at) = (addresses[node], stays_up.contains(&node));
                let (stop, done, last_done_ns, longest_ns) = (&stop, &done, &last_done_ns, &longest_ns);
                scope.spawn(move || {
                    let note_done = || {
                        done.fetch_add(1, Ordering::Relaxed);
                        if looked_at {
                            let now_ns = started.elapsed().as_nanos() as u64;
                            let before_ns = last_done_ns.swap(now_ns, Ordering::Relaxed);
                            longest_ns.fetch_max(now_ns.saturating_sub(before_ns), Ordering::Relaxed);
                        }
                    };
                    work(client, address, started, stop, note_done)
                })
            })
            .collect();
        trouble();
        stop.store(true, Ordering::Relaxed);
        let mut history = History::new();
        for client in clients {
            history.absorb(&client.join().expect("a client does not panic"));
        }
        history
    });
    let longest_gap = Duration::from_nanos(longest_ns.into_inner());
    Served { history, done: done.into_inner(), longest_gap }
}

fn work(
    client: u32,
    address: std::net::SocketAddr,
    started: Instant,
    stop: &AtomicBool,
    note_done: impl Fn(),
) -> History {
    let mut history = History::new();
    let mut random = fastrand::Rng::with_seed(u64::from(client));
    let options = Options {
        level: Some(Level::Quorum),
        read_timeout: Some(Duration::from_secs(2)),
        ..Options::default()
    };
    let mut connection: Option<Client> = None;
    let mut next_value = u64::from(client) << 32;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = &mut connection else {
            connection = Client::connect_with(address, options.clone()).ok();
            if connection.is_none() {
                // A node that is down is asked again, not all the time.
                std::thread::sleep(Duration::from_millis(20));
            }
            continue;
        };
        let key = Key(random.u64(..KEYS));
        let name = format!("contended:{}", key.0);
        let now = || started.elapsed().as_nanos() as u64;
        let rank = |version: Version| Some(Rank::of(version, false));
        let counts = key.0 >= COUNTERS_FROM;
        let failed = if random.bool() && counts {
            let asked = history.invoke(ClientId(client), key, Level::Linearizable, Ask::Increment(1), now());
            let result = open.increment(name.as_bytes(), 1);
            match &result {
                Ok(number) => {
                    let value = history.number(*number as u64);
                    history.done(asked, Answer::Holds(value), None, now());
                }
                Err(Error::Refused { .. }) => history.refused(asked, now()),
                Err(_) => history.unknown(asked, now()),
            }
            result.err()
        } else if random.bool() && !counts {
            next_value += 1;
            let asked = history.invoke(ClientId(client), key, Level::Quorum, Ask::write(next_value), now());
            let result = open.put(name.as_bytes(), next_value.to_string().as_bytes());
            match &result {
                Ok(version) => history.done(asked, Answer::Applied, rank(*version), now()),
                Err(Error::Refused { .. }) => history.refused(asked, now()),
                Err(_) => history.unknown(asked, now()),
            }
            result.err()
        } else {
            let asked = history.invoke(ClientId(client), key, Level::Quorum, Ask::Read, now());
            let result = open.get(name.as_bytes());
            match &result {
                Ok(Some(entry)) => {
                    let number = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                    let value = history.number(number);
                    history.done(asked, Answer::Holds(value), rank(entry.version), now());
                }
                Ok(None) => {
                    let nothing = history.list(&[]);
                    history.done(asked, Answer::Holds(nothing), None, now());
                }
                Err(_) => history.refused(asked, now()),
            }
            result.err()
        };
        match failed {
            None => note_done(),
            Some(Error::Refused { .. } | Error::Unknown { .. }) => {}
            Some(_) => connection = None,
        }
    }
    history
}

/// Judges what was recorded by everything that quorums promise, and what was agreed on by order.
pub(crate) fn judge(history: &History) {
    for key in history.keys() {
        if key.key.0 >= COUNTERS_FROM {
            let verdict = linearizability::check(&key, &Budget::default());
            assert_eq!(verdict, Verdict::Holds, "{:?}", verdict.violation());
            continue;
        }
        let verdict = regularity::check(&key);
        assert_eq!(verdict, Verdict::Holds, "{:?}", verdict.violation());
        let coverage = regularity::Coverage::of(&key);
        assert!(coverage.by_version * 2 > coverage.reads, "too little could be judged: {coverage:?}");
    }
}
