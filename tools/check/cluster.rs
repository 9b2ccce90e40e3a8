//! A check of a cluster that somebody else runs.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::judge::{Judgement, judge};
use crate::load::Load;
use crate::options::ClusterOptions;

pub(crate) fn check(options: &ClusterOptions) -> Result<Judgement, Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let password = options.password_file.as_ref().map(std::fs::read).transpose()?;
    let password = password.map(|bytes| bytes.trim_ascii_end().to_vec());
    let run = format!("{:08x}:", fastrand::u32(..));
    let load = Load {
        targets: options.target.clone(),
        password,
        prefix: format!("{}{run}", options.prefix),
        options: options.load.clone(),
    };
    let mut told = load.run(&stop);
    if told.done == 0 {
        return Err("no operation was done: are the nodes running, and is the cluster open?".into());
    }
    load.read_all(&mut told, Duration::from_secs(options.load.seconds + 3600));
    let left = load.clean(&told.history);
    let judged = judge(&told.history);
    let gap_ms = told.longest_gap.as_millis() as u64;
    if options.json {
        let value = json!({
            "judged": judged, "done": told.done, "refused": told.refused, "unknown": told.unknown,
            "longest_gap_ms": gap_ms, "keys_left": left,
        });
        println!("{}", serde_json::to_string_pretty(&value)?);
    } else {
        println!(
            "{} operations done, {} refused, {} of unknown outcome; longest time without one done: {gap_ms} ms",
            told.done, told.refused, told.unknown
        );
        println!(
            "{} keys judged by order, {} by what quorums promise, {} not decided",
            judged.linearizable_keys, judged.quorum_keys, judged.undecided_keys
        );
        for violation in &judged.violations {
            println!("\n{violation}");
        }
        match judged.judgement {
            Judgement::Kept => println!("every promise was kept"),
            Judgement::Undecided => println!("every promise that could be judged was kept"),
            Judgement::Broken => println!("\nBROKEN: {} keys", judged.violations.len()),
        }
        if left > 0 {
            println!("{left} keys below {} could not be removed", load.prefix);
        }
    }
    Ok(judged.judgement)
}
