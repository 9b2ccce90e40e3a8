//! The command line: running nodes, and speaking to those that run.
//!
//! Invariant: the exit code says what became of it. 0: done. 1: not done, and surely nothing was changed. 2: the
//! command line or the configuration is wrong. 3: the answer is no (no such key, or the condition does not hold).
//! 4: nobody knows whether it takes effect.

mod clock;
mod cluster;
mod demo;
mod file;
mod keys;
mod local;
mod options;
mod output;
mod target;
mod values;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use cluster::ClusterCommand;
pub use demo::Demo;
pub use file::FileError;
pub use keys::KeyCommand;
pub use local::Local;
pub use options::{LogFormat, Options, OptionsError};
pub use output::Failure;
pub use target::Target;
pub use values::{OutOfBounds, Shards, Size, Whole};

/// Annulus, a distributed key-value store in memory.
#[derive(Parser, Debug)]
#[command(name = "annulus", version, about, long_about)]
pub struct Arguments {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Runs a node. Without options it serves Redis clients and the native protocol on 127.0.0.1:7400, alone.
    Node(NodeArguments),
    /// Runs a cluster on this machine until it is interrupted.
    Local(Local),
    /// Shows what a cluster does: real nodes on this machine, a crash, a recovery, an election. Each step is verified.
    Demo(Demo),
    /// What is about keys.
    #[command(flatten)]
    Key(KeyCommand),
    /// Asks a cluster that runs about itself, or tells it something.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Checks configuration files, or shows what can be in one.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prints a script that completes these commands in a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// How a node is to run.
#[derive(Args, Debug)]
pub struct NodeArguments {
    /// File with options, as `annulus config default` prints one. What is said here goes before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Stop cleanly when standard input ends, as it does when the process that started this node is gone.
    #[arg(long)]
    stop_at_eof: bool,

    #[command(flatten)]
    options: Box<Options>,
}

/// What can be done about configuration files.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Says whether a node would start with a file, and if not, why.
    Check {
        /// The file.
        file: PathBuf,

        /// Answer with JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints a file with every option, its meaning and its default.
    Default {
        /// Answer with JSON: the options as an object.
        #[arg(long)]
        json: bool,
    },
}

impl NodeArguments {
    /// Whether the node stops when its standard input ends.
    #[must_use]
    pub const fn stops_at_eof(&self) -> bool {
        self.stop_at_eof
    }

    /// The options of the file and the command line.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn options(&self) -> Result<Options, FileError> {
        match &self.config {
            Some(path) => Ok(file::overlay(&self.options, &file::read(path)?)),
            None => Ok((*self.options).clone()),
        }
    }
}

impl Command {
    /// Does it; `None` if it is to run a node, which is for the caller to do.
    ///
    /// # Errors
    /// It was not done, or nobody knows.
    pub fn run(&self) -> Option<Result<ExitCode, Failure>> {
        Some(match self {
            Self::Node(_) => return None,
            Self::Local(local) => local.run(),
            Self::Demo(demo) => demo.run(),
            Self::Key(command) => command.run(),
            Self::Cluster(command) => command.run(),
            Self::Config(command) => command.run(),
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut Arguments::command(), "annulus", &mut script);
                output::write(&script).map(|()| ExitCode::SUCCESS).map_err(Failure::from)
            }
        })
    }
}

impl ConfigCommand {
    fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Check { file, json } => {
                let checked = file::read(file).map_err(|error| error.to_string());
                let checked = checked.and_then(|options| options.config().map_err(|error| error.to_string()));
                if let Err(message) = checked {
                    return Err(Failure::Usage(message));
                }
                let words = format!("a node would start with {}", file.display());
                output::print(*json, &serde_json::json!({ "ok": true }), || words)
            }
            Self::Default { json } => output::print(*json, &Options::example(), file::default_text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_sound() {
        Arguments::command().debug_assert();
    }
}
