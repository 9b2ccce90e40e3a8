//! The configuration file: the options of a node, as TOML.
//!
//! Invariant: a key or a value that would not do on the command line is refused, with the line it stands in.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use clap::{Args, Command};
use toml::Table;

use super::options::Options;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(String, io::Error),
    /// It says something that no option is.
    #[error("{path}: {error}try `annulus config default`, which prints every key that there is")]
    Wrong {
        /// The file.
        path: String,
        /// What is wrong, and where.
        error: toml::de::Error,
    },
}

/// The options in a file.
pub(super) fn read(path: &Path) -> Result<Options, FileError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| FileError::Unreadable(name.clone(), error))?;
    toml::from_str(&text).map_err(|error| FileError::Wrong { path: name, error })
}

/// What `first` says, and where it says nothing, what `second` does.
pub(super) fn overlay(first: &Options, second: &Options) -> Options {
    let table = |options| Table::try_from(options).expect("options are a table of plain values");
    let mut both = table(second);
    both.extend(table(first));
    both.try_into().expect("both were options")
}

/// Every option with what it means, as a file in which each is commented out.
pub(super) fn default_text() -> String {
    let example = Table::try_from(Options::example()).expect("options are a table of plain values");
    let command = Options::augment_args(Command::new("annulus"));
    let mut text =
        String::from("# The options of an Annulus node. What the command line says goes before this.\n");
    for argument in command.get_arguments() {
        let Some(name) = argument.get_long() else { continue };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let Some(value) = example.get(name) else { continue };
        let _ = write!(text, "\n# {help}\n#{name} = {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("annulus-{name}-{}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn every_option_can_be_in_a_file_and_is_explained_there() {
        let text = default_text();
        let command = Options::augment_args(Command::new("annulus"));
        for argument in command.get_arguments() {
            let name = argument.get_long().unwrap();
            assert!(text.contains(&format!("\n#{name} = ")), "{name}");
        }
        let keys: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('#')).collect();
        let keys: Vec<&str> = keys.into_iter().filter(|line| !line.starts_with(' ')).collect();
        let path = written("default", &keys.join("\n"));
        let options = read(&path).unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(Table::try_from(&options).unwrap(), Table::try_from(Options::example()).unwrap());
    }

    #[test]
    fn the_help_tells_the_true_defaults() {
        let example = Table::try_from(Options::example()).unwrap();
        let command = Options::augment_args(Command::new("annulus"));
        let mut told = 0;
        for argument in command.get_arguments() {
            let help = argument.get_help().unwrap().to_string();
            let Some((_, default)) = help.split_once("[default: ") else { continue };
            let default = default.split(']').next().unwrap();
            let value = example[argument.get_long().unwrap()].to_string();
            if !default.contains(' ') && !default.contains('/') {
                assert_eq!(value.trim_matches('"'), default, "{help}");
                told += 1;
            }
        }
        assert!(told >= 12, "only {told} defaults were found");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let cases = [
            ("listen = \"127.0.0.1:1\"\nlisten-on = 3\n", "line 2", "listen-on"),
            ("\n\nworkers = 0\n", "line 3", "from 1 to 1024"),
            ("memory-max = \"lots\"\n", "line 1", "512MiB"),
            ("shards = 1000\n", "line 1", "power of two"),
            ("replication-factor = \"three\"\n", "line 1", "replication-factor"),
            ("zone = \"a b\"\n", "line 1", "letters"),
            ("listen = \n", "line 1", "listen"),
        ];
        for (text, line, word) in cases {
            let path = written("wrong", text);
            let error = read(&path).unwrap_err().to_string();
            fs::remove_file(path).unwrap();
            assert!(error.contains(line) && error.contains(word), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let path = written("both", "workers = 3\nvalue-max = \"1MiB\"\nhuge-pages = true\n");
        let file = read(&path).unwrap();
        fs::remove_file(path).unwrap();
        let line: Options = toml::from_str("workers = 2").unwrap();
        let config = overlay(&line, &file).config().unwrap();
        assert_eq!((config.workers.get(), config.limits.value_bytes_max), (2, 1 << 20));
        assert!(overlay(&line, &file).huge_pages());
    }
}
