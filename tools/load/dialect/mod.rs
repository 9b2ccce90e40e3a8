//! What a protocol is to the generator: how requests are written, and how far the next reply reaches.
//!
//! A dialect is one file with one implementation of [`Dialect`], one variant of `Protocol` and one arm where the run
//! is started. Invariant: encoding appends and never allocates beyond the buffer's growth; parsing looks only at the
//! slice it is given and answers `None` until the reply is whole. A dialect does not touch sockets and does not
//! count: each connection has its own, so it may number its requests.

mod memcached;
mod native;
mod resp;

pub(crate) use memcached::Memcached;
pub(crate) use native::Native;
pub(crate) use resp::Resp;

use thiserror::Error;

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request<'a> {
    /// Reads `key`.
    Get { key: &'a [u8] },
    /// Writes `key`.
    Set { key: &'a [u8], value: &'a [u8] },
    /// Removes `key`.
    Delete { key: &'a [u8] },
    /// Adds 1 to the number at `key`.
    Increment { key: &'a [u8] },
}

/// What a reply says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// A get found a value.
    Hit,
    /// A get found none, or there was nothing to change where the protocol says so.
    Miss,
    /// A write was accepted.
    Stored,
    /// The server refused or failed.
    Error,
}

/// The whole reply at the start of the bytes that were looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    /// Bytes it takes.
    pub(crate) bytes: usize,
    /// What it says.
    pub(crate) outcome: Outcome,
    /// The number of the request that it answers, counted from 0 over the connection behind its greeting; `None` where
    /// replies come in the order of their requests.
    pub(crate) answers: Option<u32>,
}

/// The bytes are no reply of the dialect. The server's fault, or the wrong `--protocol`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the target's answer is not a reply of this protocol")]
pub(crate) struct Malformed;

/// How one connection speaks.
pub(crate) trait Dialect: Clone + Send {
    /// Bytes of a hit that are not its value, about; so that a read can be bounded to so many replies.
    const REPLY_OVERHEAD_BYTES: usize;

    /// Appends what a new connection sends first, with the password if there is one, and returns how many replies
    /// answer that. A greeting that is refused has a reply that is an error.
    fn greet(&mut self, password: Option<&[u8]>, output: &mut Vec<u8>) -> usize;

    /// Appends a request.
    fn encode(&mut self, request: Request<'_>, output: &mut Vec<u8>);

    /// The reply at the start of `bytes`; `None` while it is not whole.
    fn reply(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Malformed>;

    /// What an error reply says, for people: its first line.
    fn describe(&self, reply: &[u8]) -> String {
        let line = reply.split(|&byte| byte == b'\r').next().unwrap_or(reply);
        String::from_utf8_lossy(line).into_owned()
    }
}

/// Appends `number` in decimal.
fn push_decimal(output: &mut Vec<u8>, number: usize) {
    output.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Reads `digits\r\n` at the start of `bytes`: the number, and the bytes it took with its line end.
fn decimal_line(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    /// Digits at most: no reply that is waited for is longer than ten billion bytes.
    const DIGITS_MAX: usize = 10;
    let mut number = 0;
    for (count, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' if count < DIGITS_MAX => number = number * 10 + usize::from(byte - b'0'),
            b'\r' if count > 0 => return Ok(bytes.get(count + 1).map(|_| (number, count + 2))),
            _ => return Err(Malformed),
        }
    }
    Ok(None)
}

/// The bytes of the line at the start of `bytes` with its `\r\n`; `None` while its end has not arrived.
fn line_bytes(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n').map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a stream that arrives in two reads, split at `split`, keeping what the first read left over.
    pub(super) fn outcomes_split_at<D: Dialect>(mut dialect: D, stream: &[u8], split: usize) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut taken = 0;
        for end in [split, stream.len()] {
            while let Some(reply) = dialect.reply(&stream[taken..end]).unwrap() {
                outcomes.push(reply.outcome);
                taken += reply.bytes;
                assert!(taken <= end, "a reply reaches beyond what arrived");
            }
        }
        assert_eq!(taken, stream.len(), "split at {split}");
        outcomes
    }

    #[test]
    fn decimal_lines() {
        assert_eq!(decimal_line(b"64\r\nrest"), Ok(Some((64, 4))));
        assert_eq!(decimal_line(b"6"), Ok(None));
        assert_eq!(decimal_line(b"64\r"), Ok(None));
        assert_eq!(decimal_line(b"\r\n"), Err(Malformed));
        assert_eq!(decimal_line(b"x"), Err(Malformed));
        assert_eq!(decimal_line(b"12345678901\r\n"), Err(Malformed));
    }
}
