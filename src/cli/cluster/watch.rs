//! What changes in a cluster, as it changes.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::super::output::write;
use super::{Failure, Target, status};
use crate::cli::clock::{pause, time_of_day};
use crate::client::Operations;
use crate::message::description::Cluster;

/// How often the cluster is asked.
const PERIOD: Duration = Duration::from_millis(200);

pub(super) fn watch(target: &Target) -> Result<ExitCode, Failure> {
    let mut client = target.connect()?;
    let mut before: Option<BTreeMap<String, String>> = None;
    loop {
        let cluster = client.cluster()?;
        let cluster = cluster
            .ok_or_else(|| Failure::NotDone("that node is alone: it was started without --id".into()))?;
        let now = facts(&cluster);
        match &before {
            None if !target.json => write(format!("{}\n", status(&cluster)).as_bytes())?,
            None => {}
            Some(before) => {
                for (name, value) in &now {
                    let was = before.get(name).map_or("", String::as_str);
                    if was != value {
                        tell(target.json, name, was, value)?;
                    }
                }
                for (name, was) in before.iter().filter(|(name, _)| !now.contains_key(*name)) {
                    tell(target.json, name, was, "")?;
                }
            }
        }
        before = Some(now);
        pause(PERIOD);
    }
}

/// What is told of when it changes.
fn facts(cluster: &Cluster) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    facts.insert("leader".into(), cluster.leader.clone().unwrap_or_default());
    facts.insert("term".into(), cluster.term.to_string());
    facts.insert("epoch".into(), cluster.epoch.to_string());
    facts.insert("losses".into(), cluster.losses.to_string());
    let awaited = cluster.movement.as_ref().map(|movement| movement.awaited.join(" "));
    facts.insert("movement awaits".into(), awaited.unwrap_or_default());
    for node in &cluster.nodes {
        facts.insert(format!("node {} state", node.name), node.state.clone());
        facts.insert(format!("node {} liveness", node.name), node.liveness.clone());
        facts.insert(format!("node {} incarnation", node.name), node.incarnation.to_string());
    }
    facts
}

fn tell(as_json: bool, name: &str, was: &str, is: &str) -> Result<(), Failure> {
    let shown = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let line = if as_json {
        json!({ "time": time_of_day(), "what": name, "was": was, "is": is }).to_string()
    } else {
        format!("[{}] {name}: {} -> {}", time_of_day(), shown(was), shown(is))
    };
    Ok(write(format!("{line}\n").as_bytes())?)
}
