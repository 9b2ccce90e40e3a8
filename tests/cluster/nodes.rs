//! A cluster under test.
//!
//! Invariant: a cluster is handed out when it is open, every worker of every node is linked to every other node, as
//! many vote as should, and those before have no say any more; its processes end with it, and their metadata with them.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use annulus::client::{Client as NativeClient, Options};
use annulus::types::Level;

use crate::harness::{Client, Process, Reply, wait_until};

/// Workers of each node.
pub(crate) const WORKERS: u64 = 2;

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Process>,
    /// Where the nodes' metadata are.
    pub(crate) directory: PathBuf,
    /// A loopback address that no other cluster has.
    address: Ipv4Addr,
    /// What each node is started with beside its name and place.
    options: Vec<String>,
}

/// What a node says of another, or of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Described(String);

impl Described {
    /// What stands behind `name=`.
    pub(crate) fn get(&self, name: &str) -> &str {
        let field = self.0.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        field.unwrap_or_else(|| panic!("{name} is not in {}", self.0))
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.get(name).parse().expect("a number")
    }
}

impl Cluster {
    /// Starts so many nodes, with three replicas of each key.
    pub(crate) fn start(count: usize) -> Self {
        Self::start_with_workers(count, WORKERS)
    }

    /// Starts so many nodes of so many workers each.
    pub(crate) fn start_with_workers(count: usize, workers: u64) -> Self {
        let (workers_told, expected) = (workers.to_string(), count.to_string());
        let factor = count.min(3).to_string();
        let options =
            ["--workers", &workers_told, "--bootstrap-expect", &expected, "--replication-factor", &factor];
        let mut cluster = Self {
            nodes: Vec::new(),
            directory: new_directory(),
            address: new_address(),
            options: options.map(String::from).to_vec(),
        };
        for node in 0..count {
            cluster.add(node, &[]);
        }
        let voters = [1, 1, 1, 3, 3, 5][count.min(5)];
        for node in 0..count {
            wait_until("all are linked", || cluster.links(node) == (count as u64 - 1) * workers);
            wait_until("it is open", || cluster.state(node) == "active");
            wait_until("the right number votes", || {
                let votes = |other: &usize| cluster.described(node, *other).get("votes") == "1";
                (0..count).filter(votes).count() == voters && cluster.resp(node).info("voters_changing") == 0
            });
        }
        cluster
    }

    /// Starts one node, which serves alone; there are to be three replicas of each key when others have come.
    pub(crate) fn found() -> Self {
        let options = ["--workers", "2", "--bootstrap-expect", "1", "--replication-factor", "3"];
        let mut cluster = Self {
            nodes: Vec::new(),
            directory: new_directory(),
            address: new_address(),
            options: options.map(String::from).to_vec(),
        };
        cluster.add(0, &[]);
        wait_until("it is open", || cluster.state(0) == "active");
        cluster
    }

    /// Starts a node that is not there yet: the first makes the cluster, others join through it.
    pub(crate) fn add(&mut self, node: usize, more: &[&str]) {
        let seed = if node == 0 { None } else { Some(self.peer(0).to_string()) };
        let join = seed.as_ref().map_or(vec![], |seed| vec!["--join", seed]);
        let started = self.start_node(node, 0, &[&join, more].concat());
        self.nodes.push(started);
    }

    /// Starts a node anew that has ended: it finds its metadata.
    pub(crate) fn restart(&mut self, node: usize) {
        self.nodes[node] = self.start_node(node, 0, &[]);
    }

    /// The same, where its clients expect it.
    pub(crate) fn restart_at(&mut self, node: usize, clients: SocketAddr) {
        self.nodes[node] = self.start_node(node, 0, &["--listen", &clients.to_string()]);
    }

    /// The same, where other nodes do not expect it.
    pub(crate) fn restart_elsewhere(&mut self, node: usize) {
        self.nodes[node] = self.start_node(node, 100, &[]);
    }

    pub(crate) fn start_node(&self, node: usize, ports_on: u16, more: &[&str]) -> Process {
        let (name, directory) = (name(node), self.directory.join(name(node)));
        let peers = SocketAddr::from((self.address, 7500 + node as u16 + ports_on)).to_string();
        let place = ["--id", &name, "--data-dir", directory.to_str().unwrap(), "--peer-listen", &peers];
        let options = self.options.iter().map(String::as_str);
        let arguments = [&place, options.collect::<Vec<_>>().as_slice(), more].concat();
        std::fs::create_dir_all(&self.directory).expect("there is room");
        let log = File::options().create(true).append(true).open(self.log_path(node)).expect("there is room");
        Process::start_logging(&arguments, log.into())
    }

    fn log_path(&self, node: usize) -> PathBuf {
        self.directory.join(format!("{}.log", name(node)))
    }

    /// Waits until a line of a node's log has all of `words`.
    #[track_caller]
    pub(crate) fn logs(&self, node: usize, words: &[&str]) {
        wait_until(&format!("{words:?} is logged"), || {
            let log = std::fs::read_to_string(self.log_path(node)).expect("it is there");
            log.lines().any(|line| words.iter().all(|word| line.contains(word)))
        });
    }

    /// What a node says of another.
    pub(crate) fn described(&self, node: usize, other: usize) -> Described {
        let described = self.resp(node).info_text(&format!("node_{}", name(other)));
        described
            .map_or_else(|| Described("links=0,votes=0,liveness=unknown,state=unknown".into()), Described)
    }

    /// What a node says that it is doing.
    pub(crate) fn state(&self, node: usize) -> String {
        self.resp(node).info_text("node_state").unwrap_or_default()
    }

    /// Whom a node takes for the leader.
    pub(crate) fn leader(&self, node: usize) -> Option<usize> {
        let leader = self.resp(node).info_text("leader")?;
        (0..self.nodes.len()).find(|&node| name(node) == leader)
    }

    /// Where other nodes reach a node.
    pub(crate) fn peer(&self, node: usize) -> SocketAddr {
        self.described(node, node).get("peers").parse().expect("an address")
    }

    /// Links from a node to others that are up.
    pub(crate) fn links(&self, node: usize) -> u64 {
        let others = (0..self.nodes.len()).filter(|other| *other != node);
        others.map(|other| self.described(node, other).number("links")).sum()
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

impl Drop for Cluster {
    fn drop(&mut self) {
        // The processes end when they are dropped, and then nobody looks at it any more.
        self.nodes.clear();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// What the node of a place is called.
pub(crate) fn name(node: usize) -> String {
    format!("n{}", node + 1)
}

/// A node that was killed must find its port free when it is started anew, so the kernel does not choose it.
fn new_address() -> Ipv4Addr {
    static CLUSTERS: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 1, low, CLUSTERS.fetch_add(1, Ordering::Relaxed))
}

fn new_directory() -> PathBuf {
    static CLUSTERS: AtomicU32 = AtomicU32::new(1);
    let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("annulus-cluster-{}-{number}", std::process::id()));
    assert!(!Path::exists(&directory), "{} is left of something else", directory.display());
    directory
}
