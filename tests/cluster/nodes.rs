//! A cluster under test.
//!
//! Invariant: a cluster is handed out when every worker of every node is linked to every other node, and its processes
//! end with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use annulus::client::{Client as NativeClient, Options};
use annulus::types::Level;

use crate::harness::{Client, Process, Reply, wait_until};

/// Workers of each node.
const WORKERS: u64 = 2;

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Process>,
    pub(crate) peers: Vec<SocketAddr>,
}

impl Cluster {
    /// Starts so many nodes, with three replicas of each key.
    pub(crate) fn start(count: usize) -> Self {
        Self::start_with_workers(count, WORKERS)
    }

    /// Starts so many nodes of so many workers each.
    pub(crate) fn start_with_workers(count: usize, workers: u64) -> Self {
        let peers = peer_addresses(count);
        let nodes = (0..count).map(|node| start_node(&peers, node, workers)).collect();
        let cluster = Self { nodes, peers };
        for node in 0..count {
            wait_until("all are linked", || cluster.links(node) == (count as u64 - 1) * workers);
        }
        cluster
    }

    /// Starts a node in place of one that has ended.
    pub(crate) fn restart(&mut self, node: usize) {
        self.nodes[node] = start_node(&self.peers, node, WORKERS);
    }

    /// Links from a node to others that are up.
    pub(crate) fn links(&self, node: usize) -> u64 {
        let mut client = self.resp(node);
        let others = (0..self.peers.len()).filter(|other| *other != node);
        others.map(|other| client.info(&format!("node{other}_links"))).sum()
    }

    pub(crate) fn resp(&self, node: usize) -> Client {
        Client::connect(self.nodes[node].address)
    }

    pub(crate) fn native(&self, node: usize, level: Level) -> NativeClient {
        let options = Options { level: Some(level), ..Options::default() };
        NativeClient::connect_with(self.nodes[node].address, options).unwrap()
    }

    /// Writes through a node until it succeeds; returns how long that took.
    pub(crate) fn serves_again(&self, node: usize) -> Duration {
        let started = Instant::now();
        let mut client = self.resp(node);
        wait_until("it serves", || client.call(&["SET", "probe", "1"]) == Reply::ok());
        started.elapsed()
    }
}

/// Addresses for so many nodes on a loopback address of their own: every node must know all of them beforehand, and a
/// port of the kernel's choice might be given to somebody else meanwhile.
fn peer_addresses(count: usize) -> Vec<SocketAddr> {
    static CLUSTERS: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, high | 1, low, CLUSTERS.fetch_add(1, Ordering::Relaxed));
    (0..count as u16).map(|node| SocketAddr::from((address, 7500 + node))).collect()
}

fn start_node(peers: &[SocketAddr], node: usize, workers: u64) -> Process {
    let list: Vec<String> = peers.iter().map(ToString::to_string).collect();
    let workers = workers.to_string();
    Process::start(&["--workers", &workers, "--peers", &list.join(","), "--peer-listen", &list[node]])
}
