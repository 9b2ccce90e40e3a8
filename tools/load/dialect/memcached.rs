//! memcached's text protocol: `get`, `set`, `delete` and `incr`, one key each.
//!
//! Invariant: a reply is taken only when its last byte is there; a hit ends behind its `END`. It sends neither
//! flags nor expiry nor a password, and reads none of the replies to other commands.

use super::{Dialect, Malformed, Outcome, Reply, Request, decimal_line, line_bytes, push_decimal};

/// What follows the value of a hit.
const END_OF_HIT: &[u8] = b"\r\nEND\r\n";

/// The dialect; it keeps no state.
#[derive(Clone)]
pub(crate) struct Memcached;

impl Dialect for Memcached {
    // `VALUE key 0 64\r\n` with a key of 16 bytes, and the end.
    const REPLY_OVERHEAD_BYTES: usize = 36;

    fn greet(&mut self, _password: Option<&[u8]>, _output: &mut Vec<u8>) -> usize {
        0
    }

    fn encode(&mut self, request: Request<'_>, output: &mut Vec<u8>) {
        let (command, key): (&[u8], _) = match request {
            Request::Get { key } => (b"get ", key),
            Request::Set { key, .. } => (b"set ", key),
            Request::Delete { key } => (b"delete ", key),
            Request::Increment { key } => (b"incr ", key),
        };
        output.extend_from_slice(command);
        output.extend_from_slice(key);
        match request {
            Request::Get { .. } | Request::Delete { .. } => {}
            Request::Increment { .. } => output.extend_from_slice(b" 1"),
            Request::Set { value, .. } => {
                output.extend_from_slice(b" 0 0 ");
                push_decimal(output, value.len());
                output.extend_from_slice(b"\r\n");
                output.extend_from_slice(value);
            }
        }
        output.extend_from_slice(b"\r\n");
    }

    fn reply(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
        let Some(line_bytes) = line_bytes(bytes) else { return Ok(None) };
        let line = &bytes[..line_bytes];
        if line.starts_with(b"VALUE ") {
            return hit(line, bytes);
        }
        let outcome = match line {
            b"END\r\n" | b"NOT_FOUND\r\n" => Outcome::Miss,
            b"STORED\r\n" | b"DELETED\r\n" => Outcome::Stored,
            // The number that a counter has come to.
            [b'0'..=b'9', ..] => Outcome::Stored,
            b"ERROR\r\n" | b"NOT_STORED\r\n" => Outcome::Error,
            _ if line.starts_with(b"CLIENT_ERROR ") || line.starts_with(b"SERVER_ERROR ") => Outcome::Error,
            _ => return Err(Malformed),
        };
        Ok(Some(Reply { bytes: line_bytes, outcome, answers: None }))
    }
}

/// A hit: `VALUE key flags bytes\r\n`, the value, and its end.
fn hit(line: &[u8], bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
    let length_at = line.iter().rposition(|&byte| byte == b' ').map_or(0, |at| at + 1);
    let Some((value_bytes, _)) = decimal_line(&line[length_at..])? else { return Err(Malformed) };
    let value_end = line.len() + value_bytes;
    let reply = Reply { bytes: value_end + END_OF_HIT.len(), outcome: Outcome::Hit, answers: None };
    match bytes.get(value_end..reply.bytes) {
        None => Ok(None),
        Some(end) if end == END_OF_HIT => Ok(Some(reply)),
        Some(_) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::outcomes_split_at;
    use super::*;

    #[test]
    fn requests_to_the_byte() {
        let mut output = Vec::new();
        let key = b"key:1";
        Memcached.encode(Request::Get { key }, &mut output);
        Memcached.encode(Request::Set { key, value: b"0123456789" }, &mut output);
        Memcached.encode(Request::Delete { key }, &mut output);
        Memcached.encode(Request::Increment { key }, &mut output);
        let expected = b"get key:1\r\nset key:1 0 0 10\r\n0123456789\r\ndelete key:1\r\nincr key:1 1\r\n";
        assert_eq!(output, expected);
    }

    #[test]
    fn replies_split_at_every_byte() {
        let stream =
            b"VALUE key:1 0 5\r\nEND\r\n\r\nEND\r\nEND\r\nSTORED\r\nSERVER_ERROR out of memory\r\nERROR\r\n\
            DELETED\r\nNOT_FOUND\r\n42\r\n";
        let expected = [
            Outcome::Hit,
            Outcome::Miss,
            Outcome::Stored,
            Outcome::Error,
            Outcome::Error,
            Outcome::Stored,
            Outcome::Miss,
            Outcome::Stored,
        ];
        for split in 0..=stream.len() {
            assert_eq!(outcomes_split_at(Memcached, stream, split), expected);
        }
    }

    #[test]
    fn other_bytes_are_malformed() {
        for bytes in [&b"+OK\r\n"[..], b"VALUE key 0 x\r\n", b"VALUE key 0 1\r\naEND\r\nrest", b"VALUE \r\n"]
        {
            assert_eq!(Memcached.reply(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
