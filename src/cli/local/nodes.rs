//! Nodes on this machine, each in a process of its own.
//!
//! Invariant: no process outlives this value, and no directory that it made for itself.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::super::{Failure, clock};
use crate::client::{Client, Operations, Options};
use crate::message::description::Cluster;

/// How long a cluster may take to open.
const OPENS_WITHIN: Duration = Duration::from_secs(30);

/// How long nodes may take to stop before they are killed.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// Lines of a node's log that are shown when it has ended.
const LOG_LINES_SHOWN: usize = 8;

/// What the nodes have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where each listens for clients and for other nodes.
    pub(crate) addresses: Vec<(SocketAddr, SocketAddr)>,
    /// What they are called, but for the number.
    pub(crate) prefix: &'static str,
    /// Replicas of each key.
    pub(crate) replication_factor: u8,
    /// Event loops of each.
    pub(crate) workers: usize,
    /// Where metadata and logs are; `None`: in a directory that ends with the nodes.
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct Nodes {
    plan: Plan,
    directory: PathBuf,
    children: Vec<Option<Child>>,
}

impl Nodes {
    /// Makes the directory; starts nothing.
    pub(crate) fn new(plan: Plan) -> Result<Self, Failure> {
        let own = || std::env::temp_dir().join(format!("annulus-local-{}", std::process::id()));
        let directory = plan.directory.clone().unwrap_or_else(own);
        let unusable = |error| Failure::NotDone(format!("cannot use {}: {error}", directory.display()));
        fs::create_dir_all(&directory).map_err(unusable)?;
        let children = plan.addresses.iter().map(|_| None).collect();
        Ok(Self { plan, directory, children })
    }

    pub(crate) fn count(&self) -> usize {
        self.children.len()
    }

    pub(crate) fn name(&self, node: usize) -> String {
        format!("{}{}", self.plan.prefix, node + 1)
    }

    /// Where clients reach a node.
    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        self.plan.addresses[node].0
    }

    /// Whether a node was started and not ended.
    pub(crate) fn runs(&self, node: usize) -> bool {
        self.children[node].is_some()
    }

    /// The ends of all logs.
    pub(crate) fn logs(&self) -> String {
        let logs = (0..self.count())
            .map(|node| format!("the end of the log of {}:\n{}", self.name(node), self.log_end(node)));
        logs.collect::<Vec<_>>().join("\n")
    }

    fn log_end(&self, node: usize) -> String {
        let log = fs::read_to_string(self.log(node)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn log(&self, node: usize) -> PathBuf {
        self.directory.join(format!("{}.log", self.name(node)))
    }

    /// Starts a node: the first makes the cluster, others join through it, and who was there before finds its place.
    pub(crate) fn start(&mut self, node: usize) -> Result<(), Failure> {
        let (listen, peers) = self.plan.addresses[node];
        let name = self.name(node);
        let factor = self.plan.replication_factor;
        let opens_with = self.count().min(usize::from(factor));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", "--id", &name, "--listen", &listen.to_string()]);
        command.args(["--peer-listen", &peers.to_string(), "--workers", &self.plan.workers.to_string()]);
        command.args(["--replication-factor", &factor.to_string()]);
        command.args(["--bootstrap-expect", &opens_with.to_string()]);
        command.arg("--data-dir").arg(self.directory.join(&name));
        if node > 0 {
            command.args(["--join", &self.plan.addresses[0].1.to_string()]);
        }
        let log = File::options().create(true).append(true).open(self.log(node))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.children[node] = Some(command.spawn()?);
        Ok(())
    }

    /// Ends a node at once, as a crash does.
    pub(crate) fn kill(&mut self, node: usize) -> Result<(), Failure> {
        if let Some(mut child) = self.children[node].take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// A node that has ended though nobody ended it, with the end of its log.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let ended = |child: &mut Option<Child>| {
            child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
        };
        let node = self.children.iter_mut().position(ended)?;
        self.children[node] = None;
        let (name, log, end) = (self.name(node), self.log(node), self.log_end(node));
        Some(format!("{name} has ended; the end of {}:\n{end}", log.display()))
    }

    /// What a node says of the cluster, if it answers.
    pub(crate) fn describe(&self, node: usize) -> Option<Cluster> {
        let timeout = Duration::from_millis(500);
        let options = Options { connect_timeout: timeout, read_timeout: Some(timeout), ..Options::default() };
        Client::connect_with(self.address(node), options).ok()?.cluster().ok()?
    }

    /// Waits until every node that was started says that the cluster is open and all of these are whole.
    pub(crate) fn wait_until_whole(&mut self) -> Result<Cluster, Failure> {
        let opened = clock::ask(OPENS_WITHIN, || match self.ended() {
            Some(ended) => Some(Err(Failure::NotDone(ended))),
            None => self.whole().map(Ok),
        });
        let directory = self.directory.display();
        let late = || Failure::NotDone(format!("the cluster did not open: see the logs in {directory}"));
        opened.unwrap_or_else(|| Err(late()))
    }

    /// What the nodes that were started say, if all say that they are whole.
    fn whole(&self) -> Option<Cluster> {
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
    pub(crate) fn stop(&mut self) -> Vec<String> {
        for child in self.children.iter().flatten() {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            // One that is gone already has stopped.
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
        let mut killed = Vec::new();
        for node in 0..self.count() {
            let Some(mut child) = self.children[node].take() else { continue };
            let clean = clock::ask(STOPS_WITHIN, || child.try_wait().ok().flatten())
                .is_some_and(|status| status.success());
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
