//! What an operator asks of a cluster that runs, through any of its nodes.
//!
//! Invariant: what is told is what one node knows at one moment; its name is told with it.

mod explain;
mod ring;
mod tell;
mod watch;

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::output::{NO, print};
use super::{Failure, Target};
use crate::client::{Operations, Placement};
use crate::message::description::Cluster;

/// What can be asked of a cluster, or told to it.
#[derive(Subcommand, Debug)]
pub enum ClusterCommand {
    /// Shows the nodes, who leads, and what is under way.
    Status {
        /// Whom to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Shows how much of the ring is whose.
    Ring {
        /// Whom to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Shows which nodes hold a key, and why.
    Explain {
        /// The key.
        key: OsString,
        /// Whom to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Shows who leads.
    Leader {
        /// Whom to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Shows what all nodes are told to do alike, or changes it.
    Settings {
        /// What to change: replication-factor, drift-max-ms or operation-timeout-ms.
        #[arg(requires = "value")]
        setting: Option<String>,
        /// To what.
        value: Option<String>,
        /// Whom to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Lets nodes that have lost their data go on without what only dead nodes have.
    ///
    /// Nodes that were restarted wait for every other replica of their keys that may still have them. If those are gone
    /// for good, this gives up what only they had; it is counted as a loss, and a dead node that returns begins empty.
    Recover {
        /// Says that you know that acknowledged writes may be lost.
        #[arg(long, required = true)]
        accept_loss: bool,
        /// Whom to ask.
        #[command(flatten)]
        target: Target,
    },
    /// Tells what changes, until it is interrupted.
    Watch {
        /// Whom to ask.
        #[command(flatten)]
        target: Target,
    },
}

impl ClusterCommand {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Status { target } => {
                let cluster = describe(target)?;
                print(target.json, &cluster, || status(&cluster))
            }
            Self::Ring { target } => ring::ring(target),
            Self::Explain { key, target } => explain::explain(key.as_bytes(), target),
            Self::Leader { target } => {
                let cluster = describe(target)?;
                let value = json!({ "leader": cluster.leader, "term": cluster.term });
                let known = cluster.leader.is_some();
                let words = || cluster.leader.unwrap_or_else(|| "no leader is known".into());
                print(target.json, &value, words)?;
                Ok(if known { ExitCode::SUCCESS } else { NO.into() })
            }
            Self::Settings { setting: Some(setting), value: Some(value), target } => {
                tell::setting(target, setting, value)
            }
            Self::Settings { target, .. } => {
                let settings = describe(target)?.settings;
                print(target.json, &settings, || {
                    format!(
                        "replication-factor {}\ndrift-max-ms {}\noperation-timeout-ms {}",
                        settings.replication_factor, settings.drift_max_ms, settings.operation_timeout_ms
                    )
                })
            }
            Self::Recover { target, .. } => tell::accept_loss(target),
            Self::Watch { target } => watch::watch(target),
        }
    }
}

/// The cluster as a node describes it.
fn describe(target: &Target) -> Result<Cluster, Failure> {
    let alone = || Failure::NotDone("that node is alone: it was started without --id".into());
    target.connect()?.cluster()?.ok_or_else(alone)
}

/// A table of the nodes, and what is to be known beside.
pub(super) fn status(cluster: &Cluster) -> String {
    let mut text = String::new();
    let leader = cluster.leader.as_deref().unwrap_or("nobody");
    let state = if cluster.open { "open" } else { "waiting for more nodes" };
    let _ = writeln!(
        text,
        "cluster {}: {state}, epoch {}, led by {leader} in term {} (as {} knows it)\n",
        cluster.id, cluster.epoch, cluster.term, cluster.told_by
    );
    let heads = ["NODE", "STATE", "LIVENESS", "VOTES", "ZONE", "CLIENTS", "PEERS"].map(String::from);
    let mut rows = vec![heads];
    rows.extend(cluster.nodes.iter().map(|node| {
        let votes = if node.votes { "yes" } else { "no" };
        [
            node.name.clone(),
            node.state.clone(),
            node.liveness.clone(),
            votes.into(),
            node.zone.clone(),
            node.clients.to_string(),
            node.peers.to_string(),
        ]
    }));
    text.push_str(&table(&rows));
    if let Some(movement) = &cluster.movement {
        let _ = writeln!(
            text,
            "\nkeys move since epoch {}: {} yet to come",
            movement.since,
            movement.awaited.join(", ")
        );
    }
    if cluster.losses > 0 {
        let _ = writeln!(
            text,
            "\nlosses: {} times a node counted again without all that was acknowledged",
            cluster.losses
        );
    }
    text
}

/// Columns as wide as what is in them.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut text = String::new();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn placement(cluster: &Cluster) -> Result<Placement, Failure> {
    Placement::of(cluster)
        .ok_or_else(|| Failure::NotDone("no node owns anything yet: the cluster is not open".into()))
}
