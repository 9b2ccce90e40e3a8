//! Why a key lies where it lies.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use serde_json::json;

use super::super::output::print;
use super::{Failure, Target, describe, placement};
use crate::cluster::ring::{Reason, Step};
use crate::types::NodeNumber;

pub(super) fn explain(key: &[u8], target: &Target) -> Result<ExitCode, Failure> {
    let cluster = describe(target)?;
    let placement = placement(&cluster)?;
    let explanation = placement.ring.explain(placement.token(key));
    let names: BTreeMap<u16, &str> =
        cluster.nodes.iter().map(|node| (node.number, node.name.as_str())).collect();
    let zones: BTreeMap<u16, &str> =
        cluster.nodes.iter().map(|node| (node.number, node.zone.as_str())).collect();
    let name = |node: NodeNumber| names.get(&node.0).copied().unwrap_or("?");
    let zone = |node: NodeNumber| zones.get(&node.0).copied().unwrap_or("?");
    let holders: Vec<&str> = explanation.preference_list.iter().map(|&node| name(node)).collect();
    let step = |step: &Step| {
        json!({
            "token": format!("{:016x}", step.token.0),
            "node": name(step.node),
            "zone": zone(step.node),
            "reason": word(step.reason),
        })
    };
    let value = json!({
        "token": format!("{:016x}", explanation.token.0),
        "replicas": holders,
        "steps": explanation.steps.iter().map(step).collect::<Vec<_>>(),
    });
    print(target.json, &value, || {
        let mut text = format!("token {:016x}\nheld by {}\n\n", explanation.token.0, holders.join(", "));
        text.push_str("clockwise from there:\n");
        for step in &explanation.steps {
            let (node, zone) = (name(step.node), zone(step.node));
            let _ = writeln!(text, "  {:016x}  {node} (zone {zone}): {}", step.token.0, word(step.reason));
        }
        text
    })
}

const fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::NewZone => "the first of its zone",
        Reason::SameZone => "of a zone that has it already",
        Reason::SameNode => "met before",
    }
}
