//! How much of the ring is whose.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::super::output::print;
use super::{Failure, Target, describe, placement, table};
use crate::message::description::Node;

/// A node's part of the ring: of 1 in all.
#[derive(Serialize)]
struct Share<'c> {
    name: &'c str,
    zone: &'c str,
    virtual_nodes: u16,
    /// Of which it is the preferred node.
    preferred: f64,
    /// Of which it holds a copy.
    held: f64,
}

pub(super) fn ring(target: &Target) -> Result<ExitCode, Failure> {
    let cluster = describe(target)?;
    let ring = placement(&cluster)?.ring;
    let share = |node| share(node, &ring);
    let shares: Vec<Share<'_>> = cluster.nodes.iter().map(share).collect();
    print(target.json, &json!({ "copies": ring.replicas(), "nodes": shares }), || {
        let mut rows = vec![["NODE", "ZONE", "VIRTUAL NODES", "PREFERRED", "HOLDS"].map(String::from)];
        let percent = |share: f64| format!("{:.1}%", share * 100.0);
        rows.extend(shares.iter().map(|share| {
            let places = share.virtual_nodes.to_string();
            [share.name.into(), share.zone.into(), places, percent(share.preferred), percent(share.held)]
        }));
        format!("{} copies of each key\n\n{}", ring.replicas(), table(&rows))
    })
}

fn share<'c>(node: &'c Node, ring: &crate::cluster::ring::Ring) -> Share<'c> {
    let (mut preferred, mut held) = (0.0, 0.0);
    for (arc, list) in ring.arcs() {
        let part = ((arc.end() - arc.start()) as f64 + 1.0) / 2f64.powi(64);
        match list.iter().position(|holder| holder.0 == node.number) {
            Some(0) => (preferred, held) = (preferred + part, held + part),
            Some(_) => held += part,
            None => {}
        }
    }
    Share { name: &node.name, zone: &node.zone, virtual_nodes: node.virtual_nodes, preferred, held }
}
