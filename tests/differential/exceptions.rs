//! Where replies may differ, and why. Whatever is not listed here must be the same to the byte.

use crate::servers::bulks;

/// Judges two replies, redis-server's first.
type Agree = fn(&[u8], &[u8]) -> Result<(), String>;

pub(crate) struct Exception {
    /// The command, and its subcommand if that decides.
    name: &'static [&'static str],
    #[expect(dead_code, reason = "it is for the reader of the table")]
    reason: &'static str,
    agree: Agree,
}

/// How far apart moments may be that two servers computed from their own clocks.
const MOMENT_TOLERANCE_MS: i64 = 5_000;

const EXCEPTIONS: &[Exception] = &[
    Exception { name: &["ttl"], reason: "what is left depends on when it is asked", agree: seconds_apart },
    Exception { name: &["expiretime"], reason: "computed from the server's clock", agree: seconds_apart },
    Exception { name: &["pttl"], reason: "what is left depends on when it is asked", agree: moments_apart },
    Exception { name: &["pexpiretime"], reason: "computed from the server's clock", agree: moments_apart },
    Exception {
        name: &["keys"],
        reason: "the order of keys is nobody's promise; and of the patterns that match all, only `*` itself \
                 matches the empty key there",
        agree: same_set,
    },
    Exception {
        name: &["scan", "0"],
        reason: "keys come in the order of the ring here; a whole walk finds the same",
        agree: same_page,
    },
    Exception {
        name: &["scan"],
        reason: "another cursor than 0 is a place on the ring here, and a bucket there; one that no server gives, \
                 empty or negative, is refused here",
        agree: same_kind_or_no_cursor,
    },
    Exception {
        name: &["dbsize"],
        reason: "a key that was set to expire in the past is counted there until somebody looks, and removed here",
        agree: no_more,
    },
    Exception { name: &["randomkey"], reason: "it is random", agree: same_kind },
    Exception {
        name: &["memory", "usage"],
        reason: "the layouts differ, and so do the bytes; a key that has expired is still measured there",
        agree: both_measured,
    },
    Exception { name: &["object", "help"], reason: "it tells what this server does", agree: same_kind },
    Exception { name: &["memory", "help"], reason: "it tells what this server does", agree: same_kind },
    Exception {
        name: &["object", "encoding"],
        reason: "told from the value: what APPEND or SETRANGE left is not remembered as raw",
        agree: same_kind,
    },
    Exception {
        name: &["object", "refcount"],
        reason: "small numbers are not shared here, so that the answer is always 1",
        agree: same_kind,
    },
    Exception {
        name: &["object", "idletime"],
        reason: "counted from the last write, because reads leave no trace here",
        agree: same_kind,
    },
];

/// The exception that applies to a command, if one does.
pub(crate) fn of(command: &[Vec<u8>]) -> Option<&'static Exception> {
    EXCEPTIONS.iter().find(|exception| {
        let words = exception.name.iter().zip(command);
        command.len() >= exception.name.len() && words.into_iter().all(|(name, word)| is(word, name))
    })
}

/// Whether two replies to a command agree, redis-server's first; if not, how they differ.
pub(crate) fn judge(command: &[Vec<u8>], expected: &[u8], actual: &[u8]) -> Result<(), String> {
    match of(command) {
        Some(exception) => (exception.agree)(expected, actual),
        None if expected == actual => Ok(()),
        None => Err(differ(expected, actual)),
    }
}

fn is(word: &[u8], name: &str) -> bool {
    word.eq_ignore_ascii_case(name.as_bytes())
}

fn differ(expected: &[u8], actual: &[u8]) -> String {
    format!("  redis-server: {}\n  Annulus:      {}", expected.escape_ascii(), actual.escape_ascii())
}

fn integer(reply: &[u8]) -> Option<i64> {
    std::str::from_utf8(reply.strip_prefix(b":")?).ok()?.trim_end().parse().ok()
}

fn apart(expected: &[u8], actual: &[u8], tolerance: i64) -> Result<(), String> {
    let near = match (integer(expected), integer(actual)) {
        // What is no moment must be the same: -1, -2.
        (Some(expected), Some(actual)) if expected >= 0 && actual >= 0 => {
            expected.abs_diff(actual) <= tolerance as u64
        }
        _ => expected == actual,
    };
    if near { Ok(()) } else { Err(differ(expected, actual)) }
}

fn seconds_apart(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    apart(expected, actual, MOMENT_TOLERANCE_MS / 1000)
}

fn moments_apart(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    apart(expected, actual, MOMENT_TOLERANCE_MS)
}

fn no_more(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    let fewer = integer(expected)
        .zip(integer(actual))
        .is_some_and(|(there, here)| here <= there && there - here < 10);
    if fewer || expected == actual { Ok(()) } else { Err(differ(expected, actual)) }
}

fn same_set(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    if !expected.starts_with(b"*") {
        return if expected == actual { Ok(()) } else { Err(differ(expected, actual)) };
    }
    let sorted = |reply: &[u8]| {
        let mut keys = bulks(reply);
        keys.retain(|key| !key.is_empty());
        keys.sort_unstable();
        keys
    };
    if sorted(expected) == sorted(actual) { Ok(()) } else { Err(differ(expected, actual)) }
}

/// Pages that hold all keys are the same set; of others only the kind is.
fn same_page(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    let all = |reply: &[u8]| bulks(reply).first().is_some_and(|cursor| cursor == b"0");
    if all(expected) && all(actual) { same_set(expected, actual) } else { same_kind(expected, actual) }
}

fn same_kind_or_no_cursor(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    if actual == b"-ERR invalid cursor\r\n" { Ok(()) } else { same_kind(expected, actual) }
}

fn both_measured(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    if integer(expected).is_some() && nothing(actual) { Ok(()) } else { same_kind(expected, actual) }
}

fn nothing(reply: &[u8]) -> bool {
    reply == b"$-1\r\n" || reply == b"_\r\n"
}

/// Both an error and the same one, both nothing, both a number, or both something else.
fn same_kind(expected: &[u8], actual: &[u8]) -> Result<(), String> {
    let same = match expected[0] {
        b'-' => expected == actual,
        _ => expected[0] == actual[0] && nothing(expected) == nothing(actual),
    };
    if same { Ok(()) } else { Err(differ(expected, actual)) }
}
