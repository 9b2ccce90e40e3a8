//! The cluster as clients of Redis Cluster expect it: 16,384 slots, shared out among nodes.
//!
//! Invariant: every slot is somebody's as long as a node is active and alive, and nobody is ever sent elsewhere: any
//! node takes any key. Slots spread the load of clients that route by them; where a key is kept, the ring says.
//!
//! Source: Redis Cluster Specification, "Key distribution model" and "CLUSTER NODES output".

use std::fmt::Write;
use std::ops::RangeInclusive;

use crate::message::description::{Cluster, Node};
use crate::protocol::resp::{RespVersion, reply};

/// How many there are.
const SLOTS: u32 = 16_384;

/// The slot of a key: of what stands between the first brace and the next, if something does.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|&byte| byte == b'}').map(|close| &rest[..close])
    });
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key)) % SLOTS as u16
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(
            crc ^ u16::from(byte) << 8,
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 },
        )
    })
}

/// The nodes that have slots, each with its own: those that count and are alive.
fn shares(cluster: &Cluster) -> Vec<(&Node, RangeInclusive<u32>)> {
    let serving: Vec<&Node> =
        cluster.nodes.iter().filter(|node| node.state == "active" && node.is_alive()).collect();
    let bound = |index: usize| (SLOTS as usize * index / serving.len().max(1)) as u32;
    serving.iter().enumerate().map(|(index, node)| (*node, bound(index)..=bound(index + 1) - 1)).collect()
}

/// What a node is called in forty hexadecimal digits.
pub(super) fn id(cluster: &Cluster, node: &Node) -> String {
    format!("{}{:024x}", cluster.id, node.number)
}

pub(super) fn info(cluster: &Cluster) -> String {
    let shares = shares(cluster);
    let with = |liveness: &str| cluster.nodes.iter().filter(|node| node.liveness == liveness).count();
    let (assigned, dead, suspected) =
        (if shares.is_empty() { 0 } else { SLOTS }, with("dead"), with("suspected"));
    let state = if cluster.open && assigned > 0 { "ok" } else { "fail" };
    format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{assigned}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\n\
         cluster_current_epoch:{}\r\ncluster_my_epoch:{}\r\ncluster_nodes_suspected:{suspected}\r\n\
         cluster_nodes_dead:{dead}\r\n",
        cluster.nodes.len(),
        shares.len(),
        cluster.epoch,
        cluster.epoch
    )
}

pub(super) fn nodes(cluster: &Cluster) -> String {
    let shares = shares(cluster);
    let mut text = String::new();
    for node in &cluster.nodes {
        let own = if node.name == cluster.told_by { "myself," } else { "" };
        let health = match node.liveness.as_str() {
            "dead" => ",fail",
            "suspected" => ",fail?",
            _ => "",
        };
        let link = if node.name == cluster.told_by || node.links > 0 { "connected" } else { "disconnected" };
        let (id, clients, port) = (id(cluster, node), node.clients, node.peers.port());
        // Writing to a string cannot fail.
        let _ = write!(text, "{id} {clients}@{port} {own}master{health} - 0 0 {} {link}", cluster.epoch);
        for (_, slots) in shares.iter().filter(|(owner, _)| owner.number == node.number) {
            let _ = write!(text, " {}-{}", slots.start(), slots.end());
        }
        text.push('\n');
    }
    text
}

pub(super) fn slots(cluster: &Cluster, out: &mut Vec<u8>) {
    let shares = shares(cluster);
    reply::array_head(out, shares.len());
    for (node, slots) in shares {
        reply::array_head(out, 3);
        reply::integer(out, i64::from(*slots.start()));
        reply::integer(out, i64::from(*slots.end()));
        reply::array_head(out, 4);
        reply::bulk(out, node.clients.ip().to_string().as_bytes());
        reply::integer(out, i64::from(node.clients.port()));
        reply::bulk(out, id(cluster, node).as_bytes());
        reply::array_head(out, 0);
    }
}

pub(super) fn shards(cluster: &Cluster, version: RespVersion, out: &mut Vec<u8>) {
    let shares = shares(cluster);
    reply::array_head(out, shares.len());
    for (node, slots) in shares {
        reply::map_head(out, version, 2);
        reply::bulk(out, b"slots");
        reply::array_head(out, 2);
        reply::integer(out, i64::from(*slots.start()));
        reply::integer(out, i64::from(*slots.end()));
        reply::bulk(out, b"nodes");
        reply::array_head(out, 1);
        reply::map_head(out, version, 7);
        let ip = node.clients.ip().to_string();
        let texts = [("id", id(cluster, node)), ("ip", ip.clone()), ("endpoint", ip)];
        let texts = texts.into_iter().chain([("role", "master".into()), ("health", "online".into())]);
        for (name, text) in texts {
            reply::bulk(out, name.as_bytes());
            reply::bulk(out, text.as_bytes());
        }
        for (name, number) in [("port", i64::from(node.clients.port())), ("replication-offset", 0)] {
            reply::bulk(out, name.as_bytes());
            reply::integer(out, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        for (key, slot) in
            [("123456789", 12_739), ("foo", 12_182), ("", 0), ("{foo}bar", 12_182), ("a{foo}{x}", 12_182)]
        {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        assert_eq!(slot_of(b"{}foo"), crc16(b"{}foo") % SLOTS as u16, "nothing between braces is no tag");
    }
}
