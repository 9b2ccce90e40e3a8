//! Which processor core serves and which one loads.
//!
//! Invariant: the two differ wherever the process may use more than one core; where it may not, the note says so.
//! Pinning itself is `taskset`'s work: it executes the program in its own place, so the process id stays the child's.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use crate::server::on_path;

/// Where processes are pinned; `None` leaves them to the scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) server: Option<usize>,
    pub(crate) load: Option<usize>,
}

impl Cores {
    /// The first core that we may use for the server and the second for the load, unless chosen otherwise.
    pub(crate) fn choose(server: Option<usize>, load: Option<usize>, notes: &mut Vec<String>) -> Self {
        if on_path("taskset").is_none() {
            notes.push("taskset is not on PATH: nothing is pinned".to_owned());
            return Self { server: None, load: None };
        }
        let allowed = allowed();
        let server = server.or(allowed.first().copied());
        let load = load.or(allowed.get(1).copied()).or(server);
        if server == load {
            notes.push("server and load share one core: figures are not comparable with others".to_owned());
        }
        Self { server, load }
    }
}

/// A command that runs `program` on `core`.
pub(crate) fn pinned(program: impl AsRef<OsStr>, core: Option<usize>) -> Command {
    match core {
        None => Command::new(program),
        Some(core) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(program);
            command
        }
    }
}

/// The cores that this process may run on.
fn allowed() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.map(|list| core_list(list.trim())).unwrap_or_default()
}

/// A list as the kernel writes it: `0-3,8`.
fn core_list(list: &str) -> Vec<usize> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cores.extend(first..=last);
        }
    }
    cores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists() {
        assert_eq!(core_list("0-1"), [0, 1]);
        assert_eq!(core_list("3"), [3]);
        assert_eq!(core_list("0-2,8,10-11"), [0, 1, 2, 8, 10, 11]);
        assert!(core_list("").is_empty());
    }
}
