//! A cluster on a machine whose cores all have something else to do as well.
//!
//! Invariant: nothing is done to the nodes, so whoever is thought dead, and every leader after the first, is a mistake;
//! so is a promise that is not kept. The nodes count these themselves, so none is missed.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use annulus::client::{Client, Operations, Options};
use annulus::local::Nodes;

use crate::faults::{scratch, start};
use crate::judge::{Judgement, judge};
use crate::load::Load;
use crate::options::{LoadOptions, SaturatedOptions};
use crate::proxy::Passages;

/// What a node counts that is to stay as it was.
const MISTAKES: [&str; 4] = ["nodes_dead", "renewals", "leaders_elected", "leaders_lost"];

/// What is told beside.
const SIGNS: [&str; 3] = ["nodes_suspected", "links_lost", "hurried"];

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn check(options: &SaturatedOptions) -> Result<Judgement, Box<dyn Error>> {
    let directory = scratch(None, 0);
    let passages = Arc::new(Passages::new(3));
    let (mut nodes, proxies) =
        start(options.program.as_deref(), 3, options.workers.into(), &directory, &passages)?;
    let load = Load {
        targets: (0..nodes.count()).map(|node| nodes.address(node)).collect(),
        password: None,
        prefix: "saturated:".into(),
        options: LoadOptions {
            seconds: options.seconds,
            clients: options.clients,
            rate: options.rate,
            keys: 8,
        },
    };
    let before = counted(&nodes)?;
    let cores = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let spinners = options.spinners.unwrap_or(cores + 1);
    let stop = AtomicBool::new(false);
    let told = thread::scope(|scope| {
        for _ in 0..spinners {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        let told = load.run(&stop);
        stop.store(true, Ordering::Relaxed);
        told
    });
    let ended = nodes.ended();
    let judged = judge(&told.history);
    let after = counted(&nodes);
    let stopped = nodes.stop();
    drop(proxies);
    std::fs::remove_dir_all(&directory)?;
    let gap_ms = told.longest_gap.as_millis();
    println!(
        "{} s beside {spinners} threads that spin on {cores} cores: {} operations done, {} refused, {} of unknown \
         outcome; longest time without one done {gap_ms} ms",
        options.seconds, told.done, told.refused, told.unknown
    );
    let mut mistaken = false;
    let after = after.unwrap_or_else(|error| {
        println!("a node does not tell what it has counted: {error}");
        mistaken = true;
        BTreeMap::new()
    });
    for (name, count) in &after {
        let since = count - before.get(name).copied().unwrap_or(0);
        mistaken |= MISTAKES.contains(&name.as_str()) && since > 0;
        println!("{name} {since}");
    }
    judged.violations.iter().chain(&ended).for_each(|finding| println!("{finding}"));
    stopped.iter().for_each(|name| println!("{name} did not stop"));
    let broken = mistaken || ended.is_some();
    Ok(if broken { Judgement::Broken } else { judged.judgement })
}

/// The sums of what all nodes count.
fn counted(nodes: &Nodes) -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
    let mut sums = BTreeMap::new();
    for node in 0..nodes.count() {
        let options =
            Options { connect_timeout: PATIENCE, read_timeout: Some(PATIENCE), ..Options::default() };
        let mut client = Client::connect_with(nodes.address(node), options)?;
        let stats = client.stats()?;
        let wanted = |name: &str| MISTAKES.contains(&name) || SIGNS.contains(&name);
        for counter in stats.counters.iter().filter(|counter| wanted(counter.name)) {
            *sums.entry(counter.name.to_owned()).or_default() += counter.value;
        }
    }
    Ok(sums)
}
