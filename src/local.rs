//! Nodes on this machine, each in a process of its own.
//!
//! Invariant: no process outlives this value, nor this process if that is killed; no directory that it made for itself
//! outlives this value. What other processes have come to can only be asked for, again and again.
#![expect(
    clippy::disallowed_methods,
    reason = "other processes are waited for: there is nothing to simulate"
)]

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, Operations, Options};
use crate::message::description::Cluster;

/// How long a cluster may take to open.
const OPENS_WITHIN: Duration = Duration::from_secs(30);

/// How long nodes may take to stop before they are killed.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// Lines of a node's log that are shown when it has ended.
const LOG_LINES_SHOWN: usize = 8;

/// How long to pause before asking again.
const PAUSE: Duration = Duration::from_millis(20);

/// Where a node is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Where it listens for clients.
    pub clients: SocketAddr,
    /// Where it listens for other nodes.
    pub peers: SocketAddr,
    /// Where other nodes are told to reach it.
    pub advertised: SocketAddr,
}

/// What the nodes have in common.
#[derive(Debug)]
pub struct Plan {
    /// The binary that runs a node.
    pub program: PathBuf,
    /// Where each is reached.
    pub places: Vec<Place>,
    /// What they are called, but for the number.
    pub prefix: &'static str,
    /// Replicas of each key.
    pub replication_factor: u8,
    /// Event loops of each.
    pub workers: usize,
    /// Where metadata and logs are; `None`: in a directory that ends with the nodes.
    pub directory: Option<PathBuf>,
}

/// Something could not be done with nodes on this machine.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The directory cannot be used.
    #[error("cannot use {0}: {1}")]
    Directory(PathBuf, io::Error),
    /// A process could not be started or ended.
    #[error("cannot start or end a node: {0}")]
    Process(#[from] io::Error),
    /// A node has ended by itself.
    #[error("{0}")]
    Ended(String),
    /// The cluster is not there in time.
    #[error("the cluster is not whole in time: see the logs in {0}")]
    Late(PathBuf),
}

/// Nodes on this machine.
#[derive(Debug)]
pub struct Nodes {
    plan: Plan,
    directory: PathBuf,
    children: Vec<Option<Child>>,
}

impl Nodes {
    /// Makes the directory; starts nothing.
    pub fn new(plan: Plan) -> Result<Self, LocalError> {
        let own = || std::env::temp_dir().join(format!("annulus-local-{}", std::process::id()));
        let directory = plan.directory.clone().unwrap_or_else(own);
        fs::create_dir_all(&directory).map_err(|error| LocalError::Directory(directory.clone(), error))?;
        let children = plan.places.iter().map(|_| None).collect();
        Ok(Self { plan, directory, children })
    }

    /// How many there are, running or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.children.len()
    }

    /// What a node is called.
    #[must_use]
    pub fn name(&self, node: usize) -> String {
        format!("{}{}", self.plan.prefix, node + 1)
    }

    /// Where clients reach a node.
    pub fn address(&self, node: usize) -> SocketAddr {
        self.plan.places[node].clients
    }

    /// Sends a signal to a node that runs.
    ///
    /// # Errors
    /// The system refuses.
    pub fn signal(&self, node: usize, signal: Signal) -> Result<(), LocalError> {
        let Some(child) = &self.children[node] else { return Ok(()) };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok(pid.map_or(Ok(()), |pid| kill_process(pid, signal)).map_err(io::Error::from)?)
    }

    /// The process of a node that runs.
    #[must_use]
    pub fn process(&self, node: usize) -> Option<u32> {
        self.children[node].as_ref().map(Child::id)
    }

    /// Whether a node was started and not ended.
    pub fn runs(&self, node: usize) -> bool {
        self.children[node].is_some()
    }

    /// The ends of all logs.
    pub fn logs(&self) -> String {
        let logs = (0..self.count())
            .map(|node| format!("the end of the log of {}:\n{}", self.name(node), self.log_end(node)));
        logs.collect::<Vec<_>>().join("\n")
    }

    fn log_end(&self, node: usize) -> String {
        let log = fs::read_to_string(self.log(node)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Where metadata and logs are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn log(&self, node: usize) -> PathBuf {
        self.directory.join(format!("{}.log", self.name(node)))
    }

    /// Starts a node: the first makes the cluster, others join through it, and who was there before finds its place.
    pub fn start(&mut self, node: usize) -> Result<(), LocalError> {
        let Place { clients, peers, advertised } = self.plan.places[node];
        let name = self.name(node);
        let factor = self.plan.replication_factor;
        let opens_with = self.count().min(usize::from(factor));
        let mut command = Command::new(&self.plan.program);
        command.args(["node", "--id", &name, "--listen", &clients.to_string()]);
        command.args(["--peer-listen", &peers.to_string(), "--workers", &self.plan.workers.to_string()]);
        if advertised != peers {
            command.args(["--peer-advertise", &advertised.to_string()]);
        }
        command.args(["--replication-factor", &factor.to_string()]);
        command.args(["--bootstrap-expect", &opens_with.to_string()]);
        command.arg("--data-dir").arg(self.directory.join(&name));
        if node > 0 {
            command.args(["--join", &self.plan.places[0].advertised.to_string()]);
        }
        let log = File::options().create(true).append(true).open(self.log(node))?;
        // Its standard input ends with this process, however that ends.
        command.arg("--stop-at-eof").stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        // What a terminal interrupts is this process, which sees to the nodes.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.children[node] = Some(command.spawn()?);
        Ok(())
    }

    /// Ends a node at once, as a crash does.
    pub fn kill(&mut self, node: usize) -> Result<(), LocalError> {
        if let Some(mut child) = self.children[node].take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Stops a node as its operator would; it is killed if it does not.
    ///
    /// # Errors
    /// The system refuses.
    pub fn terminate(&mut self, node: usize) -> Result<(), LocalError> {
        self.signal(node, Signal::TERM)?;
        if let Some(child) = &mut self.children[node] {
            ask(STOPS_WITHIN, || child.try_wait().ok().flatten());
        }
        self.kill(node)
    }

    /// A node that has ended though nobody ended it, with the end of its log.
    pub fn ended(&mut self) -> Option<String> {
        let ended = |child: &mut Option<Child>| {
            child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
        };
        let node = self.children.iter_mut().position(ended)?;
        self.children[node] = None;
        let (name, log, end) = (self.name(node), self.log(node), self.log_end(node));
        Some(format!("{name} has ended; the end of {}:\n{end}", log.display()))
    }

    /// What a node says of the cluster, if it answers.
    pub fn describe(&self, node: usize) -> Option<Cluster> {
        let timeout = Duration::from_millis(500);
        let options = Options { connect_timeout: timeout, read_timeout: Some(timeout), ..Options::default() };
        Client::connect_with(self.address(node), options).ok()?.cluster().ok()?
    }

    /// Waits until every node that was started says that the cluster is open and all of these are whole.
    pub fn wait_until_whole(&mut self) -> Result<Cluster, LocalError> {
        let opened = ask(OPENS_WITHIN, || match self.ended() {
            Some(ended) => Some(Err(LocalError::Ended(ended))),
            None => self.whole().map(Ok),
        });
        opened.unwrap_or_else(|| Err(LocalError::Late(self.directory.clone())))
    }

    /// What the nodes that were started say, if all say that they are whole.
    pub fn whole(&self) -> Option<Cluster> {
        let running: Vec<usize> = (0..self.count()).filter(|&node| self.runs(node)).collect();
        let names: Vec<String> = running.iter().map(|&node| self.name(node)).collect();
        let told = running.iter().map(|&node| self.describe(node)).collect::<Option<Vec<Cluster>>>()?;
        let counts = |cluster: &Cluster, name: &String| {
            cluster.nodes.iter().any(|node| node.name == *name && node.is_alive() && node.state == "active")
        };
        let whole = |cluster: &Cluster| {
            let settled = cluster.open && cluster.movement.is_none() && cluster.leader.is_some();
            settled && names.iter().all(|name| counts(cluster, name))
        };
        told.iter().all(whole).then(|| told.into_iter().next()).flatten()
    }

    /// Stops all nodes; returns the names of those that did not stop by themselves.
    pub fn stop(&mut self) -> Vec<String> {
        for child in self.children.iter().flatten() {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            // One that is gone already has stopped.
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
        let mut killed = Vec::new();
        for node in 0..self.count() {
            let Some(mut child) = self.children[node].take() else { continue };
            let clean =
                ask(STOPS_WITHIN, || child.try_wait().ok().flatten()).is_some_and(|status| status.success());
            if !clean {
                let _ = child.kill();
                let _ = child.wait();
                killed.push(self.name(node));
            }
        }
        killed
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.plan.directory.is_none() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Asks until there is an answer, for so long; at least once.
pub fn ask<T>(within: Duration, mut asked: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let answer = asked();
        if answer.is_some() || Instant::now() >= deadline {
            return answer;
        }
        thread::sleep(PAUSE); // What is waited for happens in other processes.
    }
}

/// How many event loops each of so many nodes on this machine gets: the cores shared out, one at least.
#[must_use]
pub fn workers_each(nodes: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    (cores / nodes.max(1)).max(1)
}

/// Ports that the systems we know give to nobody who does not ask for them, so that no connection takes one meanwhile.
const PORTS: RangeInclusive<u16> = 10_240..=32_000;

/// So many addresses of loopback that nobody listens on.
///
/// # Errors
/// The system has none.
pub fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    // All are held until all are known, so that they differ.
    let mut listeners = Vec::new();
    for _ in 0..PORTS.len() {
        if listeners.len() == count {
            break;
        }
        listeners.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS))));
    }
    if listeners.len() < count {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    listeners.iter().map(TcpListener::local_addr).collect()
}
