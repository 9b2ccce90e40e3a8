//! Commands that took long, one log a worker.
//!
//! Invariant: a log is bounded in entries, arguments and bytes, so that logging a large command costs little. What is
//! timed is the execution of one command on its worker: neither waiting for its turn nor for the socket.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::protocol::resp::reply;
use crate::protocol::resp::request::Arguments;
use crate::types::WallTime;

/// Arguments of an entry; what follows is told as a number.
const ARGUMENTS_MAX: usize = 32;
/// Bytes of an argument of an entry; what follows is told as a number.
const ARGUMENT_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Clone, Debug)]
pub(crate) struct SlowEntry {
    /// Rises with time, in the whole node.
    pub(crate) id: u64,
    pub(crate) at: WallTime,
    pub(crate) duration_us: u64,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) client_name: Box<[u8]>,
}

/// The slow commands of one worker, the newest last.
#[derive(Default)]
pub(crate) struct SlowLog(VecDeque<SlowEntry>);

impl SlowLog {
    /// Adds an entry, and drops the oldest beyond `entries_max`.
    pub(crate) fn add(&mut self, entry: SlowEntry, entries_max: usize) {
        self.0.push_back(entry);
        while self.0.len() > entries_max {
            self.0.pop_front();
        }
    }

    pub(crate) fn entries(&self) -> Vec<SlowEntry> {
        self.0.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The arguments of a command as an entry keeps them.
pub(crate) fn excerpt(arguments: &Arguments<'_>) -> Vec<Vec<u8>> {
    let shown = if arguments.len() > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { arguments.len() };
    let mut kept: Vec<Vec<u8>> = (0..shown).map(|index| cut(&arguments[index])).collect();
    if shown < arguments.len() {
        kept.push(format!("... ({} more arguments)", arguments.len() - shown).into_bytes());
    }
    kept
}

fn cut(argument: &[u8]) -> Vec<u8> {
    if argument.len() <= ARGUMENT_BYTES_MAX {
        return argument.to_vec();
    }
    let rest = argument.len() - ARGUMENT_BYTES_MAX;
    [&argument[..ARGUMENT_BYTES_MAX], format!("... ({rest} more bytes)").as_bytes()].concat()
}

/// Answers SLOWLOG GET with the first `count` of `entries`.
pub(super) fn answer(entries: &[SlowEntry], count: usize, out: &mut Vec<u8>) {
    let entries = &entries[..count.min(entries.len())];
    reply::array_head(out, entries.len());
    for entry in entries {
        reply::array_head(out, 6);
        reply::integer(out, entry.id as i64);
        reply::integer(out, (entry.at.0 / 1000) as i64);
        reply::integer(out, entry.duration_us as i64);
        reply::array_head(out, entry.arguments.len());
        entry.arguments.iter().for_each(|argument| reply::bulk(out, argument));
        reply::bulk(out, entry.peer.map_or(String::new(), |peer| peer.to_string()).as_bytes());
        reply::bulk(out, &entry.client_name);
    }
}
