//! A node: its listeners, its workers, and what they share. The only part that does I/O.
//!
//! Invariant: whoever starts a node can stop it, and stopping answers what was read. A worker that fails ends the
//! node rather than leave it half alive. What requests mean is in `commands` and `native`; what may be decided
//! without a socket is outside this folder.
//!
//! ```text
//! clients --> worker 0..N-1   a mio loop each, on one port (SO_REUSEPORT); a request never changes thread
//!                |  mailboxes: lock-free queues with one coalesced wake-up
//!                +-- connections handed over, questions that all must answer
//! ```

mod accept;
mod batch;
mod clock;
mod commands;
mod connection;
mod control;
mod description;
mod engine;
mod execute;
mod gathering;
mod happened;
mod housekeeping;
mod link;
mod listener;
mod mailbox;
mod native;
mod output;
mod parting;
mod password;
mod peers;
mod replication;
mod roster;
mod session;
mod settings;
mod slow_log;
mod stats;
mod sync;
mod worker;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use mio::net::TcpListener;
use mio::{Poll, Waker};

use crate::cluster::topology::Leadership;
use crate::config::{self, ClusterConfig, Config, Limits, StoreConfig, turn};
use crate::hybrid_clock::HybridClock;
use crate::message::consensus::Electorate;
use crate::metrics::Recorder;
use crate::protocol::handshake::{Handshake, Purpose};
use crate::store::Store;
use crate::types::{Timestamp, WriterId};
use clock::Clock;
pub use control::BeginError;
use control::{Beginning, Control};
use engine::{Engine, OPERATIONS, Shared};
use mailbox::Mailbox;
use replication::Replication;
use roster::{Known, Roster};
use settings::Settings;
use slow_log::SlowLog;
use worker::{Message, WAKER, Worker};

/// The incarnation of a node that is alone: it has one.
const INCARNATION: u32 = 1;

/// Why a node did not start. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; is another process using it? choose another with --listen"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// The address for other nodes cannot be listened on.
    #[error(
        "cannot listen on {address} for other nodes: {source}; is another process using it? choose another with \
         --peer-listen"
    )]
    PeerListen {
        /// The address.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// It cannot be a node of its cluster.
    #[error(transparent)]
    Cluster(#[from] BeginError),
    /// An event loop or a thread cannot be made.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

/// A running node.
pub struct Node {
    shared: Arc<Shared>,
    /// The workers, and in a cluster the control thread.
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Node {
    /// Starts a node.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let count = config.workers.get();
        let bound = listener::bind(config.listen, count);
        let (listeners, address) =
            bound.map_err(|source| StartError::Listen { address: config.listen, source })?;
        let (membership, mut peer_listeners) = meet(config.cluster.as_ref(), count, address)?;
        let roster = membership.as_ref().map(|(roster, _)| Arc::clone(roster));
        let hash_seed = roster.as_ref().map(|roster| roster.known().topology.hash_seed);
        let polls = (0..count).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let mailbox = |poll: &Poll| {
            Waker::new(poll.registry(), WAKER).map(|waker| Mailbox::new(turn::MAILBOX_MESSAGES, waker))
        };
        let mailboxes = polls.iter().map(mailbox).collect::<io::Result<Box<[_]>>>()?;
        let shared = Arc::new(Shared {
            store: Store::new(&StoreConfig {
                hash_seed: hash_seed.unwrap_or(config.store.hash_seed),
                ..config.store.clone()
            }),
            limits: Limits {
                // Told for the node, held by each worker for its share.
                buffered_bytes_max: config.limits.buffered_bytes_max / count,
                ..config.limits.clone()
            },
            settings: Settings::new(&config.limits),
            address,
            password: config.password.clone(),
            roster,
            mailboxes,
            loads: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            stopping: AtomicBool::new(false),
            next_connection: AtomicU64::new(1),
            next_slow_entry: AtomicU64::new(0),
        });
        let mut node = Self { shared, threads: Vec::with_capacity(count + 1) };
        let time = Clock::start();
        for (index, (poll, listener)) in polls.into_iter().zip(listeners).enumerate() {
            // In a cluster, the coordinator's clock issues all versions.
            let writer = WriterId::new(INCARNATION, index as u32).expect("config.rs bounds the workers");
            let replication =
                peer_listeners.pop().map(|listener| node.replication(config, listener, index as u32));
            let engine = Engine {
                index,
                shared: Arc::clone(&node.shared),
                clock: HybridClock::new(writer),
                recorder: Recorder::new(OPERATIONS),
                now: Timestamp::default(),
                batch_at: Timestamp::default(),
                ends_turn: false,
                peer: None,
                time,
                times_all: false,
                slow_log: SlowLog::default(),
                replication: replication.flatten(),
            };
            let worker = Worker::new(index, poll, listener, engine, time);
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            let last = StopOnDrop(node.stopper());
            node.threads.push(thread.spawn(move || {
                let _last = last;
                worker.run()
            })?);
        }
        if let Some((roster, beginning)) = membership {
            let control = Control::new(beginning, roster, Arc::clone(&node.shared), time);
            let last = StopOnDrop(node.stopper());
            let thread = std::thread::Builder::new().name("control".into());
            node.threads.push(thread.spawn(move || {
                let _last = last;
                control.run()
            })?);
        }
        Ok(node)
    }

    /// A worker's part in the cluster.
    fn replication(&self, config: &Config, listener: TcpListener, index: u32) -> Option<Box<Replication>> {
        let (cluster, roster) = (config.cluster.as_ref()?, self.shared.roster.clone()?);
        let (limits, seed) = (&config.limits, fastrand::u64(..));
        Some(Box::new(Replication::new(&cluster.coordinator, roster, listener, index, limits, seed)))
    }

    /// The address that clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// A handle that can stop the node from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    /// Waits until the node has stopped.
    ///
    /// # Errors
    /// The kernel's, if a worker could not go on.
    pub fn wait(mut self) -> io::Result<()> {
        self.join()
    }

    /// Stops the node and waits until what was read has been answered.
    ///
    /// # Errors
    /// As [`Node::wait`].
    pub fn stop(mut self) -> io::Result<()> {
        self.stopper().stop();
        self.join()
    }

    fn join(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for worker in self.threads.drain(..) {
            let ended = worker.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")));
            if ended.is_err() {
                result = ended;
            }
        }
        result
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.stopper().stop();
            // Whoever wants to know how it ended calls `stop` or `wait`.
            let _ = self.join();
        }
    }
}

/// What a node of a cluster begins with.
type Membership = (Arc<Roster>, Beginning);

/// Listens for other nodes and finds out what the node is in its cluster, if it is to be in one.
fn meet(
    cluster: Option<&ClusterConfig>,
    workers: usize,
    clients: SocketAddr,
) -> Result<(Option<Membership>, Vec<TcpListener>), StartError> {
    let Some(cluster) = cluster else { return Ok((None, Vec::new())) };
    let address = cluster.peer_listen;
    let bound = listener::bind(address, workers);
    let (listeners, address) = bound.map_err(|source| StartError::PeerListen { address, source })?;
    tracing::info!("other nodes reach this one at {address}");
    let run = replication::new_run(fastrand::u64(..));
    let beginning = control::begin(cluster, run, address, clients)?;
    let waker = Waker::new(beginning.poll.registry(), control::WAKER)?;
    let mailbox = Mailbox::new(config::control::MAILBOX_MESSAGES, waker);
    let topology = beginning.topology().clone();
    let (node, id) = (beginning.metadata.number, topology.cluster);
    let own = Handshake { purpose: Purpose::Hello, cluster: id, node, run };
    let known = Known {
        leadership: Leadership { leader: None, term: 0, since: Timestamp::default() },
        electorate: Electorate::default(),
        doubted: BTreeMap::new(),
        entered: false,
        topology,
    };
    let roster = Roster::new(own, cluster.name.clone(), known, mailbox, workers);
    Ok((Some((Arc::new(roster), beginning)), listeners))
}

/// Ends the whole node when one worker ends, however it does.
struct StopOnDrop(Stopper);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Stops a node.
#[derive(Clone)]
pub struct Stopper(Arc<Shared>);

impl Stopper {
    /// Tells all workers to stop; returns at once.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
        for mailbox in &self.0.mailboxes {
            // A full mailbox has woken its worker already, which looks at the flag.
            let _ = mailbox.send(Message::Stop);
        }
        if let Some(roster) = &self.0.roster {
            let _ = roster.control.send(control::Message::Stop);
        }
    }
}
