//! A cluster on this machine, with one command.
//!
//! Invariant: it runs until it is interrupted, and then nothing of it is left but the logs that were asked for.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::Failure;
use super::clock::pause;
use super::cluster::status;
use super::output::print;
use crate::local::{Nodes, Place, Plan, workers_each};

/// How often it is looked whether to stop, and whether all nodes are there.
const PAUSE: Duration = Duration::from_millis(100);

/// A cluster on this machine.
#[derive(Args, Debug)]
pub struct Local {
    /// Nodes.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: u16,

    /// Replicas of each key, if there are so many nodes.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    replication_factor: u8,

    /// Port for clients of the first node; the others have those behind it.
    #[arg(long, value_name = "PORT", default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    port: u16,

    /// Port for other nodes of the first node; the others have those behind it.
    #[arg(long, value_name = "PORT", default_value_t = 7500, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    peer_port: u16,

    /// Event loops of each node [default: the cores shared out, one at least].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,

    /// Where logs and metadata are kept [default: a temporary directory, removed at the end].
    #[arg(long)]
    directory: Option<PathBuf>,

    /// Answer with JSON.
    #[arg(long)]
    json: bool,
}

impl Local {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        let at = |port: u16, node: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port + node));
        let place = |node| {
            let peers = at(self.peer_port, node);
            Place { clients: at(self.port, node), peers, advertised: peers }
        };
        let plan = Plan {
            program: std::env::current_exe()?,
            places: (0..self.nodes).map(place).collect(),
            prefix: "n",
            replication_factor: self.replication_factor,
            workers: self.workers.map_or_else(|| workers_each(self.nodes.into()), usize::from),
            directory: self.directory.clone(),
        };
        let mut nodes = Nodes::new(plan)?;
        for node in 0..nodes.count() {
            nodes.start(node)?;
        }
        let cluster = nodes.wait_until_whole()?;
        let logs = nodes.directory().display().to_string();
        print(self.json, &json!({ "cluster": cluster, "directory": logs }), || {
            let clients = nodes.address(0);
            format!(
                "{}\nlogs are in {logs}; try: redis-cli -p {} (any node will do). Ctrl-C stops all.",
                status(&cluster),
                clients.port()
            )
        })?;
        loop {
            // Who has ended by now is not among those that are to stop.
            while let Some(ended) = nodes.ended() {
                eprintln!("{ended}");
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            pause(PAUSE);
        }
        let killed = nodes.stop();
        if killed.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(Failure::NotDone(format!("did not stop by themselves and were killed: {}", killed.join(", "))))
    }
}
