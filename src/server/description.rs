//! The cluster, described for clients and operators.

use crate::cluster::membership::Liveness;
use crate::message::description::{Cluster, Movement, Node, Settings};
use crate::server::engine::Engine;
use crate::types::NodeNumber;

/// What this node knows of its cluster; `None` if it is alone.
pub(crate) fn describe(engine: &Engine) -> Option<Cluster> {
    let roster = engine.shared.roster.as_ref()?;
    let known = roster.known();
    let topology = &known.topology;
    let name = |number: NodeNumber| topology.nodes.get(&number).map(|node| node.name.text().to_owned());
    let nodes = topology.nodes.iter().map(|(&number, node)| Node {
        name: node.name.text().to_owned(),
        number: number.0,
        seat: node.seat.0,
        zone: topology.zones.get(usize::from(node.zone.0)).map(ToString::to_string).unwrap_or_default(),
        virtual_nodes: node.virtual_nodes,
        state: node.state.to_string(),
        liveness: liveness(known.doubted.get(&number).copied()),
        votes: known.electorate.voters.contains(&number),
        incarnation: node.incarnation.0,
        peers: node.peer_address,
        clients: node.client_address,
        // Each worker has a link of its own to every other node.
        links: if number == roster.own.node { 0 } else { roster.links(number) },
    });
    let movement = topology.movement.as_ref().map(|movement| Movement {
        since: movement.since.0,
        copies: movement.copies,
        awaited: movement.awaited.iter().filter_map(|&number| name(number)).collect(),
    });
    let told = &topology.settings;
    Some(Cluster {
        id: format!("{:016x}", topology.cluster.0),
        hash_seed: topology.hash_seed.to_string(),
        told_by: roster.name.to_string(),
        leader: known.leadership.leader.and_then(name),
        term: known.leadership.term,
        leader_known_for_ms: engine.now.nanos_since(known.leadership.since) / 1_000_000,
        epoch: topology.epoch.0,
        open: topology.open,
        voters_changing: !known.electorate.voters_outgoing.is_empty(),
        losses: topology.losses,
        copies: topology.copies,
        settings: Settings {
            replication_factor: told.replication_factor,
            drift_max_ms: told.drift_max_ms,
            operation_timeout_ms: told.operation_timeout_ms,
        },
        movement,
        nodes: nodes.collect(),
    })
}

fn liveness(doubted: Option<Liveness>) -> String {
    let word = match doubted {
        None | Some(Liveness::Alive) => "alive",
        Some(Liveness::Suspected) => "suspected",
        Some(Liveness::Dead) => "dead",
    };
    word.to_owned()
}

/// The same as JSON.
pub(crate) fn as_json(engine: &Engine) -> Option<String> {
    let described = describe(engine)?;
    Some(serde_json::to_string(&described).expect("it is made of texts and numbers"))
}
