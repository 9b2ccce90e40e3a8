//! How long nobody is served when a node dies or stands still, and how long the cluster is without a leader then.
//!
//! Invariant: every other node that is lost is the leader; the next one is lost when the cluster is whole again. A gap
//! is the longest time in which none of the clients, who are spread over all nodes, had a quorum operation done.

use std::error::Error;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use annulus::local::{Nodes, ask};
use annulus::message::description::Cluster;
use annulus::types::Level;
use rustix::process::Signal;
use serde::Serialize;
use serde_json::json;

use crate::faults::{scratch, start};
use crate::judge::{Judgement, judge};
use crate::load::{Load, Told};
use crate::options::{FailoverOptions, LoadOptions};
use crate::proxy::Passages;
use crate::trouble::WHOLE_WITHIN;

/// How long clients work before a node is lost.
const BEFORE: Duration = Duration::from_millis(700);

/// How long a node stands still: longer than a link may be silent and a node unheard.
const STANDS_STILL: Duration = Duration::from_secs(4);

/// What the loss of one node came to.
struct Loss {
    was_leader: bool,
    gap: Duration,
    /// Until the others agreed on another leader, if it was the leader.
    leaderless: Option<Duration>,
    told: Told,
    failures: Failures,
}

/// Operations that were refused or unknown.
#[derive(Clone, Copy, Default, Serialize)]
struct Failures {
    /// On connections to the node that was lost.
    there: usize,
    /// At quorum, on connections to the others.
    elsewhere_at_quorum: usize,
    /// At linearizable, on connections to the others: of a change that the lost node had to propose nobody can tell.
    elsewhere_at_linearizable: usize,
}

impl Failures {
    fn of(told: &Told, victim: usize) -> Self {
        let count = |wanted: fn(&Level) -> bool| {
            told.failures.iter().filter(|(target, level)| *target != victim && wanted(level)).count()
        };
        Self {
            there: told.failures.iter().filter(|(target, _)| *target == victim).count(),
            elsewhere_at_quorum: count(|level| *level == Level::Quorum),
            elsewhere_at_linearizable: count(|level| *level == Level::Linearizable),
        }
    }
}

pub(crate) fn check(options: &FailoverOptions) -> Result<Judgement, Box<dyn Error>> {
    let directory = scratch(None, 0);
    let passages = std::sync::Arc::new(Passages::new(3));
    let (mut nodes, proxies) =
        start(options.program.as_deref(), 3, options.workers.into(), &directory, &passages)?;
    let mut judgement = Judgement::Kept;
    let (mut gaps, mut leaderless, mut failures) = (Vec::new(), Vec::new(), Failures::default());
    for round in 0..options.losses {
        let loss = lose(&mut nodes, options, round)?;
        let judged = judge(&loss.told.history);
        judgement = judgement.max(judged.judgement);
        let (gap_ms, leaderless_ms) = (loss.gap.as_millis(), loss.leaderless.map(|time| time.as_millis()));
        println!(
            "{}",
            json!({
                "round": round, "was_leader": loss.was_leader, "gap_ms": gap_ms, "leaderless_ms": leaderless_ms,
                "done": loss.told.done, "refused": loss.told.refused, "unknown": loss.told.unknown,
                "failures": loss.failures,
                "judgement": judged.judgement, "violations": judged.violations,
            })
        );
        failures.there += loss.failures.there;
        failures.elsewhere_at_quorum += loss.failures.elsewhere_at_quorum;
        failures.elsewhere_at_linearizable += loss.failures.elsewhere_at_linearizable;
        gaps.push(gap_ms);
        leaderless.extend(leaderless_ms);
    }
    nodes.stop();
    drop(proxies);
    std::fs::remove_dir_all(&directory)?;
    println!("longest time without an operation done: {}", spread(&mut gaps));
    println!("time without a leader: {}", spread(&mut leaderless));
    println!(
        "not done: {} on connections to the lost node; on others {} at quorum, {} at linearizable",
        failures.there, failures.elsewhere_at_quorum, failures.elsewhere_at_linearizable
    );
    Ok(judgement)
}

fn spread(values_ms: &mut [u128]) -> String {
    values_ms.sort_unstable();
    let at = |share: usize| values_ms.get(values_ms.len() * share / 100).or(values_ms.last()).copied();
    let shown = |value: Option<u128>| value.map_or("none".to_owned(), |ms| format!("{ms} ms"));
    format!("median {}, worst {} of {}", shown(at(50)), shown(values_ms.last().copied()), values_ms.len())
}

/// Loses a node under load, and waits until all is as before.
fn lose(nodes: &mut Nodes, options: &FailoverOptions, round: u64) -> Result<Loss, Box<dyn Error>> {
    let before =
        nodes.whole().or_else(|| ask(WHOLE_WITHIN, || nodes.whole())).ok_or("the cluster is not whole")?;
    let leader = before.leader.clone().ok_or("nobody leads")?;
    let is_leader = |node: &usize| nodes.name(*node) == leader;
    let was_leader = round.is_multiple_of(2);
    let others: Vec<usize> = (0..nodes.count()).filter(|node| is_leader(node) == was_leader).collect();
    let victim = others[round as usize / 2 % others.len()];
    let load = Load {
        targets: (0..nodes.count()).map(|node| nodes.address(node)).collect(),
        password: None,
        prefix: format!("failover:{round}:"),
        options: LoadOptions { seconds: 3600, clients: options.clients, rate: options.rate, keys: 8 },
    };
    let stop = AtomicBool::new(false);
    let (told, leaderless) = thread::scope(|scope| {
        let told = scope.spawn(|| load.run(&stop));
        thread::sleep(BEFORE); // The load is under way.
        let result = lose_one(nodes, options.stop, victim, was_leader.then_some(&before));
        thread::sleep(BEFORE); // What follows is looked at as well.
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (told.join().expect("clients do not panic"), result)
    });
    if options.stop {
        nodes.signal(victim, Signal::CONT)?;
    } else {
        nodes.start(victim)?;
    }
    ask(WHOLE_WITHIN, || nodes.whole()).ok_or("the cluster is not whole again")?;
    let failures = Failures::of(&told, victim);
    Ok(Loss { was_leader, gap: told.longest_gap, leaderless: leaderless?, told, failures })
}

fn lose_one(
    nodes: &mut Nodes,
    stands_still: bool,
    victim: usize,
    led_before: Option<&Cluster>,
) -> Result<Option<Duration>, Box<dyn Error>> {
    let lost = Instant::now();
    if stands_still {
        nodes.signal(victim, Signal::STOP)?;
    } else {
        nodes.kill(victim)?;
    }
    let mut leaderless = None;
    if let Some(before) = led_before {
        let another =
            |cluster: Cluster| (cluster.term > before.term && cluster.leader.is_some()).then_some(());
        let rest: Vec<usize> = (0..nodes.count()).filter(|node| *node != victim).collect();
        let all_say =
            || rest.iter().all(|&node| nodes.describe(node).and_then(another).is_some()).then_some(());
        ask(WHOLE_WITHIN, all_say).ok_or("nobody was elected")?;
        leaderless = Some(lost.elapsed());
    }
    if stands_still {
        thread::sleep(STANDS_STILL.saturating_sub(lost.elapsed())); // It stands still on purpose.
    }
    Ok(leaderless)
}
