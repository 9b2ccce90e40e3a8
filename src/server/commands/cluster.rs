//! CLUSTER: what an operator asks of the whole cluster.

use std::collections::BTreeSet;

use crate::cluster::membership::Liveness;
use crate::message::topology::Command;
use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::server::commands::objects::help;
use crate::server::commands::{CommandError, Context};
use crate::server::control;
use crate::types::NodeNumber;

const HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> ...]. Subcommands are:",
    "RECOVER ACCEPT-LOSS",
    "    Give up what only dead nodes have, so that those that lost their data need not wait for them. What was lost",
    "    is counted in losses of INFO; a dead node that returns gets back what the others have.",
    "HELP",
    "    Prints this help.",
];

pub(super) fn cluster(context: &mut Context<'_>, arguments: &Arguments<'_>) -> Result<(), CommandError> {
    let refused = |text: &str| CommandError::Other(text.into());
    match (arguments[1].to_ascii_uppercase().as_slice(), arguments.len()) {
        (b"RECOVER", 3) if arguments[2].eq_ignore_ascii_case(b"accept-loss") => {
            let Some(roster) = &context.engine.shared.roster else {
                return Err(refused("ERR This instance has cluster support disabled"));
            };
            let dead =
                |(&node, liveness): (&NodeNumber, &Liveness)| (*liveness == Liveness::Dead).then_some(node);
            let nodes: BTreeSet<NodeNumber> = roster.known().doubted.iter().filter_map(dead).collect();
            if nodes.is_empty() {
                return Err(refused("ERR no node is dead, as far as this one knows: nothing is given up"));
            }
            let command = Command::Revoke { nodes };
            if roster.control.send(control::Message::Ask(command)).is_err() {
                return Err(refused("OVERLOADED this node has too much to do: try again"));
            }
            reply::ok(context.out.bytes());
        }
        (b"RECOVER", _) => {
            return Err(refused(
                "ERR say CLUSTER RECOVER ACCEPT-LOSS: what only dead nodes have is given up",
            ));
        }
        (b"HELP", 2) => help(context, HELP),
        (b"HELP", _) => return Err(CommandError::subcommand_arity("cluster", &arguments[1])),
        _ => return Err(CommandError::subcommand("CLUSTER", &arguments[1])),
    }
    Ok(())
}
