//! What a cluster does, shown and verified: three nodes in processes of their own, writes, reads, a crash, a recovery,
//! an election, metrics, a clean stop.
//!
//! Invariant: a step that is told was verified; the first one that is not ends the demonstration with its name.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Failure;
use super::clock::{self, time_of_day};
use super::output::write;
use crate::client::{Client, Operations, Options};
use crate::local::{Nodes, Place, Plan, ask, free_addresses, workers_each};
use crate::message::OperationStats;
use crate::message::description::{Cluster, Node};
use crate::types::Level;

const NODES: usize = 3;

/// What is written, and through which node.
const PEOPLE: [(&str, &str, usize); 5] = [
    ("user:1001", "John Doe", 0),
    ("user:1002", "Jane Smith", 1),
    ("user:1003", "Bob Johnson", 2),
    ("user:1004", "Alice Brown", 0),
    ("user:1005", "Charlie Davis", 1),
];

/// What is written while a node is down.
const LATECOMER: (&str, &str) = ("user:1006", "Eve Wilson");

/// How long anything that is waited for may take.
const WITHIN: Duration = Duration::from_secs(15);

/// A demonstration.
#[derive(Args, Debug)]
pub struct Demo {
    /// Tell each line as JSON.
    #[arg(long)]
    json: bool,
}

/// Why a step is not verified.
type Unverified = String;

/// A part of the demonstration, by name.
type Step = (&'static str, fn(&mut Play) -> Result<(), Unverified>);

struct Play {
    json: bool,
    nodes: Nodes,
}

impl Demo {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let addresses = free_addresses(2 * NODES)?;
        let place = |pair: &[_]| Place { clients: pair[0], peers: pair[1], advertised: pair[1] };
        let plan = Plan {
            program: std::env::current_exe()?,
            places: addresses.chunks_exact(2).map(place).collect(),
            prefix: "node",
            replication_factor: NODES as u8,
            workers: workers_each(NODES),
            directory: None,
        };
        let mut play = Play { json: self.json, nodes: Nodes::new(plan)? };
        let steps: [Step; 9] = [
            ("start", Play::start),
            ("write", Play::write),
            ("read", Play::read),
            ("crash", Play::crash),
            ("serve with a node down", Play::serve_without),
            ("recover", Play::recover),
            ("elect", Play::elect),
            ("metrics", Play::metrics),
            ("stop", Play::stop),
        ];
        for (name, step) in steps {
            if let Err(why) = step(&mut play) {
                let logs = play.nodes.logs();
                return Err(Failure::NotDone(format!("step {name:?} is not verified: {why}\n{logs}")));
            }
        }
        play.say("each step was verified")?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Play {
    fn say(&self, text: &str) -> Result<(), Failure> {
        let line = if self.json {
            json!({ "time": time_of_day(), "text": text }).to_string()
        } else {
            format!("[{}] {text}", time_of_day())
        };
        Ok(write(format!("{line}\n").as_bytes())?)
    }

    fn tell(&self, text: &str) -> Result<(), Unverified> {
        self.say(text).map_err(|failure| failure.to_string())
    }

    /// A client of one node.
    fn client(&self, node: usize) -> Result<Client, Unverified> {
        let options = Options { read_timeout: Some(WITHIN), ..Options::default() };
        let client = Client::connect_with(self.nodes.address(node), options);
        client.map_err(|error| format!("{}: {error}", self.nodes.name(node)))
    }

    fn start(&mut self) -> Result<(), Unverified> {
        self.tell(&format!(
            "creating a cluster of {NODES} nodes, each a process, {NODES} replicas of each key"
        ))?;
        for node in 0..NODES {
            let (name, address) = (self.nodes.name(node), self.nodes.address(node));
            self.nodes.start(node).map_err(|failure| failure.to_string())?;
            let joins = if node == 0 { "makes the cluster" } else { "joins through node1" };
            self.tell(&format!("started {name} ({address}), which {joins}"))?;
        }
        let cluster = self.nodes.wait_until_whole().map_err(|failure| failure.to_string())?;
        let leader = cluster.leader.ok_or("there is no leader")?;
        let known: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
        expect("nodes", &NODES, &known.len())?;
        self.tell(&format!(
            "the cluster is open: all nodes know each other; {leader} leads in term {}",
            cluster.term
        ))
    }

    fn write(&mut self) -> Result<(), Unverified> {
        for (key, value, node) in PEOPLE {
            let name = self.nodes.name(node);
            let version = self.client(node)?.with_level(Level::Quorum).put(key.as_bytes(), value.as_bytes());
            let version = version.map_err(|error| format!("{key} through {name}: {error}"))?;
            self.tell(&format!("wrote {key} = {value} through {name} at quorum, version {version}"))?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Unverified> {
        for (key, value, _) in &PEOPLE[..3] {
            for node in 0..NODES {
                self.read_from(node, key, value)?;
            }
        }
        Ok(())
    }

    /// Reads a key through a node and compares.
    fn read_from(&self, node: usize, key: &str, value: &str) -> Result<(), Unverified> {
        let name = self.nodes.name(node);
        let entry = self.client(node)?.with_level(Level::Quorum).get(key.as_bytes());
        let entry = entry.map_err(|error| format!("{key} from {name}: {error}"))?;
        let found = entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
        let found = found.ok_or_else(|| format!("{name} does not have {key}"))?;
        expect(&format!("{key} from {name}"), value, found.as_str())?;
        self.tell(&format!("read {key} from {name} at quorum: {found}"))
    }

    fn crash(&mut self) -> Result<(), Unverified> {
        self.nodes.kill(1).map_err(|failure| failure.to_string())?;
        self.tell("killed node2 (SIGKILL)")?;
        for node in [0, 2] {
            let dead =
                |cluster: &Cluster| described(cluster, "node2").is_some_and(|node| node.liveness == "dead");
            let (_, took) = self.wait_for(node, "node2 is found dead", dead)?;
            let name = self.nodes.name(node);
            self.tell(&format!("{name} has found node2 dead, {} ms later", took.as_millis()))?;
        }
        Ok(())
    }

    fn serve_without(&mut self) -> Result<(), Unverified> {
        for (place, (key, value, _)) in PEOPLE.iter().enumerate() {
            self.read_from([0, 2][place % 2], key, value)?;
        }
        let (key, value) = LATECOMER;
        let version = self.client(2)?.with_level(Level::Quorum).put(key.as_bytes(), value.as_bytes());
        let version = version.map_err(|error| format!("{key} through node3: {error}"))?;
        self.tell(&format!(
            "wrote {key} = {value} through node3 at quorum, version {version}: two replicas of three"
        ))?;
        self.read_from(0, key, value)
    }

    fn recover(&mut self) -> Result<(), Unverified> {
        self.nodes.start(1).map_err(|failure| failure.to_string())?;
        self.tell(
            "started node2 again: values are in memory, so it comes back empty, and counts for nothing yet",
        )?;
        let whole = |cluster: &Cluster| {
            described(cluster, "node2").is_some_and(|node| node.is_alive() && node.state == "active")
        };
        for node in 0..NODES {
            self.wait_for(node, "node2 is whole", whole)?;
        }
        let mut client = self.client(1)?;
        let stats = client.stats().map_err(|error| error.to_string())?;
        let keys = stats.counters.iter().find(|counter| counter.name == "keys").map(|counter| counter.value);
        expect("keys on node2", &Some(PEOPLE.len() as u64 + 1), &keys)?;
        let keys = keys.unwrap_or_default();
        self.tell(&format!("node2 is whole again: {keys} keys streamed from the other replicas"))?;
        let (key, value) = LATECOMER;
        self.read_from(1, key, value)
    }

    fn elect(&mut self) -> Result<(), Unverified> {
        let before = self.nodes.describe(0).ok_or("node1 does not answer")?;
        let leader = before.leader.ok_or("there is no leader")?;
        let place =
            (0..NODES).find(|&node| self.nodes.name(node) == leader).ok_or("an unknown node leads")?;
        self.nodes.kill(place).map_err(|failure| failure.to_string())?;
        let killed = clock::now();
        self.tell(&format!("killed the leader, {leader} (SIGKILL)"))?;
        let other = |cluster: &Cluster| {
            cluster.term > before.term && cluster.leader.as_ref().is_some_and(|now| *now != leader)
        };
        for node in (0..NODES).filter(|&node| node != place) {
            let (cluster, _) = self.wait_for(node, "another node leads", other)?;
            let (name, now) = (self.nodes.name(node), cluster.leader.unwrap_or_default());
            let took = killed.elapsed().as_millis();
            self.tell(&format!("{name}: {now} leads in term {}, {took} ms later", cluster.term))?;
        }
        let next = (place + 1) % NODES;
        let (key, value, _) = PEOPLE[0];
        self.read_from(next, key, value)
    }

    fn metrics(&mut self) -> Result<(), Unverified> {
        self.tell("latencies by operation, of the nodes that run, from their HDR histograms:")?;
        let mut told = 0;
        for node in 0..NODES {
            if !self.nodes.runs(node) {
                continue;
            }
            let mut client = self.client(node)?;
            let stats = client.stats().map_err(|error| error.to_string())?;
            // Those with a level are the stages of others.
            let shown =
                |operation: &&OperationStats<'_>| operation.count > 0 && !operation.name.contains('@');
            for operation in stats.operations.iter().filter(shown) {
                let us = |ns: u64| ns as f64 / 1000.0;
                let (p50, p99, max) = (us(operation.p50_ns), us(operation.p99_ns), us(operation.max_ns));
                let (name, count) = (operation.name, operation.count);
                let from = self.nodes.name(node);
                self.tell(&format!(
                    "  {from} {name}: {count} operations, p50 {p50:.0} us, p99 {p99:.0} us, longest {max:.0} us"
                ))?;
                told += u64::from(name == "native:get" || name == "native:put");
            }
        }
        if told == 0 { Err("no node has counted a get or a put".into()) } else { Ok(()) }
    }

    fn stop(&mut self) -> Result<(), Unverified> {
        self.tell("stopping all nodes")?;
        let killed = self.nodes.stop();
        if killed.is_empty() { self.tell("all have stopped cleanly") } else { Err(killed.join(", ")) }
    }

    /// Waits until a node describes the cluster so; returns that and how long it took.
    fn wait_for(
        &self,
        node: usize,
        what: &str,
        mut so: impl FnMut(&Cluster) -> bool,
    ) -> Result<(Cluster, Duration), Unverified> {
        let started = clock::now();
        let found = ask(WITHIN, || self.nodes.describe(node).filter(|cluster| so(cluster)));
        let late = || format!("{what}: not within {} s, says {}", WITHIN.as_secs(), self.nodes.name(node));
        found.map(|cluster| (cluster, started.elapsed())).ok_or_else(late)
    }
}

fn described<'c>(cluster: &'c Cluster, name: &str) -> Option<&'c Node> {
    cluster.nodes.iter().find(|node| node.name == name)
}

fn expect<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    wanted: &T,
    found: &T,
) -> Result<(), Unverified> {
    if wanted == found { Ok(()) } else { Err(format!("{what}: {found:?} instead of {wanted:?}")) }
}
