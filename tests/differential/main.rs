//! The same long random sequence of commands, good and bad, to redis-server 7 and to Annulus: every reply must be the
//! same, byte for byte, but for the exceptions in [`exceptions`], each with its reason.
//!
//! `DIFFERENTIAL_SEED` chooses the sequence and `DIFFERENTIAL_COMMANDS` its length. Without redis-server the test says
//! so and passes, unless `CI` is set: then it fails.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod commands;
mod exceptions;
mod servers;

use std::collections::VecDeque;

use commands::Generator;
use servers::{Connection, Server};

/// Commands of a run, unless the environment says otherwise.
const COMMANDS: usize = 500_000;
/// Commands sent before their replies are read.
const BATCH: usize = 250;
/// Commands on a key that are told when a reply differs.
const TOLD: usize = 12;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// A command as people read it.
fn readable(command: &[Vec<u8>]) -> String {
    let word = |word: &Vec<u8>| match word.len() {
        0 => "\"\"".to_owned(),
        1..=60 => word.escape_ascii().to_string(),
        length => format!("<{length} bytes>"),
    };
    command.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The last commands and what both answered.
#[derive(Default)]
struct Recent(VecDeque<(Vec<Vec<u8>>, String)>);

impl Recent {
    fn note(&mut self, command: &[Vec<u8>], reply: &[u8]) {
        self.0.push_back((command.to_vec(), reply.escape_ascii().to_string()));
        if self.0.len() > 2000 {
            self.0.pop_front();
        }
    }

    /// Those that name the first key of `command`.
    fn about(&self, command: &[Vec<u8>]) -> String {
        let key = command.get(1);
        let related = self.0.iter().rev().filter(|(other, _)| key.is_none_or(|key| other[1..].contains(key)));
        let mut lines: Vec<String> = related
            .take(TOLD)
            .map(|(command, reply)| format!("  {} -> {:.100}", readable(command), reply))
            .collect();
        lines.reverse();
        lines.join("\n")
    }
}

#[test]
fn every_reply_is_that_of_redis_server() {
    let Some(redis) = Server::redis() else { return };
    let annulus = Server::annulus();
    let seed = setting("DIFFERENTIAL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let count = setting("DIFFERENTIAL_COMMANDS").map_or(COMMANDS, |count| count as usize);
    println!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_COMMANDS={count}");
    let sessions = |server: &Server| [Connection::open(server, 2), Connection::open(server, 3)];
    let (mut reference, mut candidate) = (sessions(&redis), sessions(&annulus));
    let mut generator = Generator::new(seed);
    let mut recent = Recent::default();
    let (mut sent, mut errors, mut excepted) = (0, 0, 0);
    while sent < count {
        let session = generator.session();
        let batch: Vec<_> = (0..BATCH.min(count - sent)).map(|_| generator.command()).collect();
        reference[session].send(&batch);
        candidate[session].send(&batch);
        for command in &batch {
            let (expected, actual) = (reference[session].receive(), candidate[session].receive());
            errors += usize::from(expected.starts_with(b"-"));
            excepted += usize::from(exceptions::of(command).is_some());
            if let Err(why) = exceptions::judge(command, &expected, &actual) {
                panic!(
                    "seed {seed}, command {sent}, RESP{}: {}\n{why}\nbefore it:\n{}",
                    session + 2,
                    readable(command),
                    recent.about(command)
                );
            }
            recent.note(command, &expected);
            sent += 1;
        }
    }
    println!("{sent} commands, {errors} of them errors, {excepted} compared by an exception's rule");
    assert!(errors > sent / 50 && errors < sent / 2, "the sequence is of good and bad commands");
    same_content(&mut reference[0], &mut candidate[0]);
}

/// Compares all that the servers hold, key by key: values, and when they expire.
fn same_content(reference: &mut Connection, candidate: &mut Connection) {
    let scanned = candidate.scan();
    assert_eq!(reference.scan(), scanned, "the same keys");
    for key in scanned {
        for command in ["GET", "PEXPIRETIME"] {
            let command = [command.as_bytes().to_vec(), key.clone()];
            let (expected, actual) = (reference.ask(&command), candidate.ask(&command));
            if let Err(why) = exceptions::judge(&command, &expected, &actual) {
                panic!("in the end: {}: {why}", readable(&command));
            }
        }
    }
}

#[test]
fn what_is_not_offered_says_so() {
    let annulus = Server::annulus();
    let mut connection = Connection::open(&annulus, 2);
    for (command, reason) in [
        ("LPUSH k v", "lists are not offered"),
        ("hset k f v", "hashes are not offered"),
        ("MULTI", "transactions are not offered"),
        ("SUBSCRIBE c", "subscribing are not offered"),
        ("EVAL x 0", "scripts and functions are not offered"),
        ("LCS a b", "the product of both lengths"),
    ] {
        let words: Vec<Vec<u8>> = command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let reply = String::from_utf8(connection.ask(&words)).unwrap();
        assert!(reply.starts_with("-ERR unknown command") && reply.contains(reason), "{reply}");
    }
}

/// Commands that Redis lists for nobody but itself.
const INTERNAL: &[&str] = &["pfdebug", "pfselftest", "restore-asking"];

#[test]
fn every_command_of_redis_server_is_offered_or_refused_with_a_reason() {
    let Some(redis) = Server::redis() else { return };
    let annulus = Server::annulus();
    let words = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    let listed = servers::bulks(&Connection::open(&redis, 2).ask(&words("COMMAND LIST")));
    let names = listed.iter().map(|name| std::str::from_utf8(name).unwrap());
    let (mut offered, mut refused, mut unexplained) = (0, 0, Vec::new());
    for name in names.filter(|name| !name.contains('|') && !INTERNAL.contains(name)) {
        // A connection each, because some commands change or end theirs.
        let reply = Connection::open(&annulus, 2).ask(&words(name));
        match String::from_utf8(reply).unwrap() {
            reply if !reply.starts_with("-ERR unknown command") => offered += 1,
            reply if reply.starts_with(&format!("-ERR unknown command '{name}': ")) => refused += 1,
            _ => unexplained.push(name),
        }
    }
    println!("{offered} offered, {refused} refused with a reason");
    assert!(offered > 50 && refused > 100, "{offered} offered, {refused} refused");
    assert_eq!(unexplained, [""; 0], "give each a reason in commands/absent.rs");
}
