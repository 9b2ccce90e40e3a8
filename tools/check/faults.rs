//! Checks of clusters of its own, with faults of every kind.

use std::error::Error;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use annulus::local::{LocalError, Nodes, Place, Plan, ask, free_addresses};
use annulus::message::description::Cluster;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::judge::{Judgement, judge};
use crate::load::Load;
use crate::options::FaultsOptions;
use crate::proxy::{Passages, Proxy};
use crate::results::{RunResult, append, read, summary};
use crate::trouble::{Trouble, WHOLE_WITHIN};

pub(crate) fn check(options: &FaultsOptions) -> Result<Judgement, Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut results = options.results.as_deref().map_or(Ok(Vec::new()), read)?;
    while (results.len() as u64) < options.runs && !stop.load(Ordering::Relaxed) {
        let seed = options.seed + results.len() as u64;
        let result = run(options, seed, &stop)?;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        println!(
            "seed {seed}: {:?}; {} done, {} refused, {} unknown, longest gap {} ms",
            result.judgement(),
            result.done,
            result.refused,
            result.unknown,
            result.longest_gap_ms
        );
        for finding in result.judged.violations.iter().chain(&result.ended) {
            println!("{finding}");
        }
        if let Some(path) = &options.results {
            append(path, &result)?;
        }
        results.push(result);
    }
    println!("\n{}", summary(&results));
    Ok(results.iter().map(RunResult::judgement).max().unwrap_or(Judgement::Kept))
}

/// One cluster, one load, trouble all the while.
fn run(options: &FaultsOptions, seed: u64, stop: &AtomicBool) -> Result<RunResult, Box<dyn Error>> {
    let directory = scratch(options.keep.as_deref(), seed);
    let passages = Arc::new(Passages::new(options.nodes.into()));
    let (count, workers) = (options.nodes.into(), options.workers.into());
    let (mut nodes, proxies) = start(options.program.as_deref(), count, workers, &directory, &passages)?;
    let load = Load {
        targets: (0..nodes.count()).map(|node| nodes.address(node)).collect(),
        password: None,
        prefix: "check:".into(),
        options: options.load.clone(),
    };
    let started = Instant::now();
    let mut trouble = Trouble::new(&mut nodes, &passages, seed);
    let (mut told, made) = thread::scope(|scope| {
        let told = scope.spawn(|| load.run(stop));
        let mut made = Ok(());
        while !told.is_finished() && made.is_ok() {
            made = trouble.make();
        }
        (told.join().expect("clients do not panic"), made)
    });
    let troubles = trouble.made;
    passages.open();
    let mut ended: Vec<String> = made.err().map(|error: LocalError| error.to_string()).into_iter().collect();
    let healed = ask(WHOLE_WITHIN, || nodes.whole());
    if healed.is_none() {
        ended.push(format!("not whole again {} s after the last trouble", WHOLE_WITHIN.as_secs()));
    }
    ended.extend(nodes.ended());
    load.read_all(&mut told, started.elapsed());
    let losses = healed.as_ref().map_or(0, |cluster: &Cluster| u64::from(cluster.losses));
    let stopped = nodes.stop();
    ended.extend(stopped.into_iter().map(|name| format!("{name} did not stop")));
    drop(proxies);
    let result = RunResult {
        seed,
        seconds: options.load.seconds,
        nodes: options.nodes,
        judged: judge(&told.history),
        done: told.done,
        refused: told.refused,
        unknown: told.unknown,
        longest_gap_ms: told.longest_gap.as_millis() as u64,
        troubles,
        losses,
        ended,
    };
    if result.judgement() == Judgement::Kept {
        std::fs::remove_dir_all(&directory)?;
    } else {
        println!("the logs are in {}", directory.display());
    }
    Ok(result)
}

/// A directory of this process for logs and metadata.
pub(crate) fn scratch(keep: Option<&Path>, seed: u64) -> PathBuf {
    let folder = keep.map_or_else(std::env::temp_dir, Path::to_owned);
    folder.join(format!("annulus-check-{}-{seed}", std::process::id()))
}

/// Starts the nodes one after the other, each behind its proxy, and waits until they are a cluster.
pub(crate) fn start(
    program: Option<&Path>,
    count: usize,
    workers: usize,
    directory: &Path,
    passages: &Arc<Passages>,
) -> Result<(Nodes, Vec<Proxy>), Box<dyn Error>> {
    let beside = || Ok::<PathBuf, std::io::Error>(std::env::current_exe()?.with_file_name("annulus"));
    let program = program.map(Path::to_owned).map_or_else(beside, Ok)?;
    let mut proxies = Vec::new();
    let mut places = Vec::new();
    for (node, three) in free_addresses(3 * count)?.chunks_exact(3).enumerate() {
        let listener = TcpListener::bind(three[2])?;
        let place = Place { clients: three[0], peers: three[1], advertised: three[2] };
        proxies.push(Proxy::start(listener, place.peers, node, passages)?);
        places.push(place);
    }
    let plan = Plan {
        program,
        places,
        prefix: "n",
        replication_factor: 3,
        workers,
        directory: Some(directory.to_owned()),
    };
    let mut nodes = Nodes::new(plan)?;
    for node in 0..count {
        nodes.start(node)?;
        // Nodes are numbered as they join.
        let joined = |cluster: Cluster| (cluster.nodes.len() > node).then_some(());
        let within = Duration::from_secs(10);
        ask(within, || nodes.describe(0).and_then(joined)).ok_or("a node did not join")?;
    }
    nodes.wait_until_whole()?;
    Ok((nodes, proxies))
}
