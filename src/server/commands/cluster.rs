//! CLUSTER: the cluster as its clients and its operators ask for it.

use std::collections::BTreeSet;

use crate::cluster::membership::Liveness;
use crate::message::description::Cluster;
use crate::message::topology::Command;
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::objects::help;
use crate::server::commands::{CommandError, Context, slots};
use crate::server::control;
use crate::server::description::describe;
use crate::types::NodeNumber;

const HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> ...]. Subcommands are:",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>. Any node takes any key: slots only spread clients over nodes.",
    "MYID",
    "    Return the id of this node.",
    "NODES",
    "    Return the nodes, with their addresses, health and slots.",
    "RECOVER ACCEPT-LOSS",
    "    Give up what only dead nodes have, so that those that lost their data need not wait for them. What was lost",
    "    is counted in losses of INFO; a dead node that returns gets back what the others have.",
    "SHARDS",
    "    Return the slots and the nodes that clients are to ask for them.",
    "SLOTS",
    "    Return the same in another form.",
    "HELP",
    "    Prints this help.",
];

fn refused(text: &str) -> CommandError {
    CommandError::Other(text.into())
}

pub(super) fn cluster(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let name = arguments[1].to_ascii_uppercase();
    let words: usize = match name.as_slice() {
        b"INFO" | b"MYID" | b"NODES" | b"SHARDS" | b"SLOTS" | b"HELP" => 2,
        b"KEYSLOT" => 3,
        b"RECOVER" => return recover(context, arguments),
        _ => return Err(CommandError::subcommand("CLUSTER", &arguments[1])),
    };
    if arguments.len() != words {
        return Err(CommandError::subcommand_arity("cluster", &arguments[1]));
    }
    if name == b"HELP" {
        help(context, HELP);
        return Ok(());
    }
    let described = describe(context.engine);
    let described = described.ok_or_else(|| refused("ERR This instance has cluster support disabled"))?;
    let version = context.session.resp;
    let out = context.out.bytes();
    match name.as_slice() {
        b"INFO" => reply::verbatim(out, version, &slots::info(&described)),
        b"NODES" => reply::verbatim(out, version, &slots::nodes(&described)),
        b"SLOTS" => slots::slots(&described, out),
        b"SHARDS" => slots::shards(&described, version, out),
        b"KEYSLOT" => reply::integer(out, i64::from(slots::slot_of(&arguments[2]))),
        _ => reply::bulk(out, own_id(&described).as_bytes()),
    }
    Ok(())
}

fn own_id(cluster: &Cluster) -> String {
    let own = cluster.nodes.iter().find(|node| node.name == cluster.told_by);
    own.map(|node| slots::id(cluster, node)).unwrap_or_default()
}

/// Gives up what only dead nodes have.
fn recover(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let accepts = arguments.get(2).is_some_and(|word| word.eq_ignore_ascii_case(b"accept-loss"));
    if !accepts || arguments.len() != 3 {
        return Err(refused("ERR say CLUSTER RECOVER ACCEPT-LOSS: what only dead nodes have is given up"));
    }
    let Some(roster) = &context.engine.shared.roster else {
        return Err(refused("ERR This instance has cluster support disabled"));
    };
    let dead = |(&node, liveness): (&NodeNumber, &Liveness)| (*liveness == Liveness::Dead).then_some(node);
    let nodes: BTreeSet<NodeNumber> = roster.known().doubted.iter().filter_map(dead).collect();
    if nodes.is_empty() {
        return Err(refused("ERR no node is dead, as far as this one knows: nothing is given up"));
    }
    if roster.control.send(control::Message::Ask(Command::Revoke { nodes })).is_err() {
        return Err(refused("OVERLOADED this node has too much to do: try again"));
    }
    reply::ok(context.out.bytes());
    Ok(())
}
