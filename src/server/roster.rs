//! What all threads of a node know of its cluster.
//!
//! Invariant: the control thread alone changes what is known; workers read it when a link is made or somebody wants to
//! see it, never for a request. What requests depend on is handed to each worker as an [`Outlook`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::cluster::membership::Liveness;
use crate::cluster::replica::Standing;
use crate::cluster::ring::Ring;
use crate::cluster::topology::Leadership;
use crate::message::consensus::Electorate;
use crate::message::topology::{Name, NodeState, Topology};
use crate::protocol::handshake::{Handshake, LinkRefusal, Purpose};
use crate::server::control::Message;
use crate::server::happened::{Happened, Happening};
use crate::server::mailbox::Mailbox;
use crate::types::{Epoch, Incarnation, NodeNumber, WallTime};

/// What a worker goes by until it is handed the next.
pub(crate) struct Outlook {
    /// The state of ownership.
    pub(crate) epoch: Epoch,
    /// Who holds what; nobody anything before the cluster is open and has this node's present life.
    pub(crate) ring: Arc<Ring>,
    /// Who is to hold what, while keys move.
    pub(crate) next_ring: Option<Arc<Ring>>,
    /// The movement that this node lacks something of.
    pub(crate) filling: Option<Epoch>,
    /// This node's present life, once the log has it.
    pub(crate) incarnation: Option<Incarnation>,
    /// How this node's replica takes part.
    pub(crate) standing: Standing,
    /// Where the other nodes are reached.
    pub(crate) addresses: BTreeMap<NodeNumber, SocketAddr>,
    /// Those who are thought dead.
    pub(crate) dead: Vec<NodeNumber>,
    /// Those who own keys and do not count, because they came back without them.
    pub(crate) recovering: Vec<NodeNumber>,
    /// Those who hold what others handed over to them, and up to when that may be so.
    pub(crate) hearsay: Vec<(NodeNumber, WallTime)>,
    /// Up to when versions may have been promised in the life before, if what it promised is lost.
    pub(crate) fence: Option<WallTime>,
    /// How far ahead of this node's clock a new version may be.
    pub(crate) drift_max: Duration,
    /// How long an operation may take.
    pub(crate) operation_timeout: Duration,
}

/// What is known of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) topology: Topology,
    pub(crate) leadership: Leadership,
    pub(crate) electorate: Electorate,
    /// What nodes are that are not alive.
    pub(crate) doubted: BTreeMap<NodeNumber, Liveness>,
    /// The log has this node's present life.
    pub(crate) entered: bool,
}

/// What all threads share.
pub(crate) struct Roster {
    /// How this node introduces itself.
    pub(crate) own: Handshake,
    pub(crate) name: Name,
    known: RwLock<Arc<Known>>,
    /// How many links to each node are up, of all workers.
    links: Mutex<BTreeMap<NodeNumber, u64>>,
    /// What has happened so far.
    pub(crate) happened: Happened,
    /// The control thread's.
    pub(crate) control: Mailbox<Message>,
    /// No version beyond this time may be issued or stored, in milliseconds: it is on disk.
    ceiling_ms: AtomicU64,
    /// The epoch under which each worker has finished a turn.
    adopted: Box<[AtomicU64]>,
    /// The latest time that a version was wanted for, in milliseconds.
    wanted_ms: AtomicU64,
}

impl Roster {
    pub(crate) fn new(
        own: Handshake,
        name: Name,
        known: Known,
        control: Mailbox<Message>,
        workers: usize,
    ) -> Self {
        Self {
            own,
            name,
            known: RwLock::new(Arc::new(known)),
            links: Mutex::default(),
            happened: Happened::default(),
            control,
            ceiling_ms: AtomicU64::new(0),
            adopted: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            wanted_ms: AtomicU64::new(0),
        }
    }

    /// What is known now.
    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_known(&self, known: Known) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// Judges who has introduced itself for requests.
    pub(crate) fn accept(&self, theirs: &Handshake) -> Result<(), LinkRefusal> {
        self.accept_control(theirs)?;
        let known = self.known();
        match known.topology.nodes.get(&theirs.node) {
            None => Err(LinkRefusal::Node),
            Some(node) if node.run != theirs.run => Err(LinkRefusal::Life),
            Some(_) => Ok(()),
        }
    }

    /// Judges who wants to speak of the cluster itself: whoever is of it, in whatever life, or wants to be.
    pub(crate) fn accept_control(&self, theirs: &Handshake) -> Result<(), LinkRefusal> {
        if theirs.purpose == Purpose::Join {
            return Ok(());
        }
        if theirs.cluster != self.own.cluster {
            return Err(LinkRefusal::Cluster);
        }
        if theirs.node == self.own.node || theirs.node.0 == 0 { Err(LinkRefusal::Node) } else { Ok(()) }
    }

    pub(crate) fn note_link(&self, node: NodeNumber, up: bool) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let count = links.entry(node).or_default();
        *count = if up { *count + 1 } else { count.saturating_sub(1) };
        if !up {
            self.happened.note(Happening::LinkLost);
        }
    }

    /// How many links to a node are up, of all workers.
    pub(crate) fn links(&self, node: NodeNumber) -> u64 {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.get(&node).copied().unwrap_or(0)
    }

    /// Up to when versions may be issued and stored.
    pub(crate) fn ceiling(&self) -> WallTime {
        WallTime(self.ceiling_ms.load(Ordering::Acquire))
    }

    pub(crate) fn set_ceiling(&self, ceiling: WallTime) {
        self.ceiling_ms.store(ceiling.0, Ordering::Release);
    }

    /// Notes that a worker has finished a turn under an epoch.
    pub(crate) fn note_adopted(&self, worker: usize, epoch: Epoch) {
        if self.adopted[worker].load(Ordering::Relaxed) != epoch.0 {
            self.adopted[worker].store(epoch.0, Ordering::Release);
        }
    }

    /// The latest epoch under which all workers have finished a turn.
    pub(crate) fn adopted(&self) -> Epoch {
        Epoch(self.adopted.iter().map(|epoch| epoch.load(Ordering::Acquire)).min().unwrap_or(0))
    }

    /// Notes that versions of this time are wanted.
    pub(crate) fn want(&self, time: WallTime) {
        if time.0 > self.wanted_ms.load(Ordering::Relaxed) {
            self.wanted_ms.fetch_max(time.0, Ordering::Relaxed);
        }
    }

    pub(crate) fn wanted(&self) -> WallTime {
        WallTime(self.wanted_ms.load(Ordering::Relaxed))
    }

    /// What this node is doing, in a word.
    pub(crate) fn state(&self) -> &'static str {
        let known = self.known();
        match known.topology.nodes.get(&self.own.node) {
            Some(_) if !known.entered => "starting",
            Some(node) => match node.state {
                NodeState::Joined => "joined",
                NodeState::Joining => "joining",
                NodeState::Active => "active",
                NodeState::Recovering => "recovering",
            },
            None => "removed",
        }
    }
}
