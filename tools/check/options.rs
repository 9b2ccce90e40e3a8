//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Loads a cluster, records what its clients are told, and judges whether every promise was kept.
#[derive(Parser, Debug)]
#[command(name = "annulus-check", version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Checks a cluster that runs, while you do to it what you like. Touches no key outside of the prefix.
    Cluster(ClusterOptions),
    /// Checks clusters of its own, on this machine, with faults of every kind between and in their nodes.
    Faults(FaultsOptions),
    /// Measures how long nobody is served when a node dies, and how long there is no leader, in a cluster of its own.
    Failover(FailoverOptions),
    /// Keeps all cores busy beside a cluster of its own, and looks whether anybody is thought dead who is not.
    Saturated(SaturatedOptions),
}

/// What clients do.
#[derive(Args, Debug, Clone)]
pub(crate) struct LoadOptions {
    /// How long clients work, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) seconds: u64,

    /// Clients, each with a connection of its own.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) clients: u32,

    /// Operations a second, of all clients; answers that take longer make it fewer.
    #[arg(long, value_name = "COUNT", default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,

    /// Keys of each kind that clients contend for at a time; every two seconds there are others.
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) keys: u64,
}

#[derive(Args, Debug)]
pub(crate) struct ClusterOptions {
    /// Addresses for clients of the nodes that are to be asked.
    #[arg(long, value_name = "ADDRESS:PORT,…", value_delimiter = ',', required = true)]
    pub(crate) target: Vec<SocketAddr>,

    /// File with the password that clients must give.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,

    /// What the names of all keys begin with. They are removed at the end.
    #[arg(long, default_value = "annulus-check:")]
    pub(crate) prefix: String,

    #[command(flatten)]
    pub(crate) load: LoadOptions,

    /// Answer with JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct FailoverOptions {
    /// How often a node is lost; every other time it is the leader.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) losses: u64,

    /// Stop nodes with SIGSTOP for four seconds, instead of killing them.
    #[arg(long)]
    pub(crate) stop: bool,

    /// Event loops of each node.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) workers: u8,

    /// Clients, each with a connection of its own.
    #[arg(long, value_name = "COUNT", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) clients: u32,

    /// Operations a second, of all clients.
    #[arg(long, value_name = "COUNT", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,

    /// The binary that runs a node [default: `annulus` beside this one].
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct SaturatedOptions {
    /// How long, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) seconds: u64,

    /// Threads that do nothing but spin [default: one more than there are cores].
    #[arg(long, value_name = "COUNT")]
    pub(crate) spinners: Option<usize>,

    /// Event loops of each node.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) workers: u8,

    /// Clients, each with a connection of its own.
    #[arg(long, value_name = "COUNT", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) clients: u32,

    /// Operations a second, of all clients.
    #[arg(long, value_name = "COUNT", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,

    /// The binary that runs a node [default: `annulus` beside this one].
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct FaultsOptions {
    /// How many runs there are to be in the file of results; those that it has are not made again.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub(crate) runs: u64,

    /// File that the result of each run is appended to, as a line of JSON [default: none].
    #[arg(long, value_name = "FILE")]
    pub(crate) results: Option<PathBuf>,

    /// Nodes of each cluster.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=7))]
    pub(crate) nodes: u8,

    /// Event loops of each node.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) workers: u8,

    /// What decides on the faults of the first run; each run after it has the next number.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// The binary that runs a node [default: `annulus` beside this one].
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,

    /// Where the logs of a run that was not clean are kept [default: the temporary directory].
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) keep: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) load: LoadOptions,
}
