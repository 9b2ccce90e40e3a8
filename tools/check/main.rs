//! Checks that a cluster keeps its promises: loads it, records what each client was told, and judges that.
//!
//! In reading order: [`options`] say what can be asked for; a [`load`] is clients at work, [`judge`] what their history
//! proves; [`cluster`] does both to a cluster that somebody else runs. [`faults`] runs one of its own, whose nodes
//! reach each other through a [`proxy`], and makes [`trouble`] meanwhile; [`results`] add up in a file. [`failover`]
//! measures how long nobody is served, [`saturated`] whether a busy machine is taken for a dead one.
//!
//! Invariant: a verdict is told of everything that was recorded; what could not be judged is told too. No key is
//! touched but those below the prefix. Exit codes: 0 if every promise was kept, 1 if one was not or nothing could be
//! checked, 2 for a wrong command line, 3 if something could not be judged.

// It measures time and makes trouble at times: it is one of the places that may read the clock.
#![allow(clippy::disallowed_methods)]

mod cluster;
mod failover;
mod faults;
mod judge;
mod load;
mod options;
mod proxy;
mod results;
mod saturated;
mod trouble;

use std::process::ExitCode;

use clap::Parser;

use crate::judge::Judgement;
use crate::options::{Command, Options};

fn main() -> ExitCode {
    let options = Options::parse();
    let checked = match &options.command {
        Command::Cluster(options) => cluster::check(options),
        Command::Faults(options) => faults::check(options),
        Command::Failover(options) => failover::check(options),
        Command::Saturated(options) => saturated::check(options),
    };
    match checked {
        Ok(Judgement::Kept) => ExitCode::SUCCESS,
        Ok(Judgement::Broken) => ExitCode::FAILURE,
        Ok(Judgement::Undecided) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
