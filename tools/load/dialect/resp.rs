//! Redis' protocol, version 2: `GET` and `SET` as arrays of bulk strings.
//!
//! Invariant: a reply is taken only when its last byte is there. It reads the replies that GET and SET can have
//! (status, error, integer, bulk, null) and no nested ones.

use super::{Dialect, Malformed, Outcome, Reply, decimal_line, line_bytes, push_decimal};

/// The dialect; it keeps no state.
#[derive(Clone)]
pub(crate) struct Resp;

impl Dialect for Resp {
    // `$64\r\n` and a line end.
    const REPLY_OVERHEAD_BYTES: usize = 7;

    fn encode_get(&mut self, key: &[u8], output: &mut Vec<u8>) {
        output.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
        push_bulk(output, key);
    }

    fn encode_set(&mut self, key: &[u8], value: &[u8], output: &mut Vec<u8>) {
        output.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
        push_bulk(output, key);
        push_bulk(output, value);
    }

    fn reply(&mut self, bytes: &[u8]) -> Result<Option<Reply>, Malformed> {
        let Some((&kind, rest)) = bytes.split_first() else { return Ok(None) };
        let outcome = match kind {
            b'$' if rest.first() != Some(&b'-') => return bulk(rest),
            b'$' | b'_' => Outcome::Miss,
            b'+' | b':' => Outcome::Stored,
            b'-' => Outcome::Error,
            _ => return Err(Malformed),
        };
        Ok(line_bytes(bytes).map(|bytes| Reply { bytes, outcome }))
    }
}

/// The reply whose `$` was read.
fn bulk(rest: &[u8]) -> Result<Option<Reply>, Malformed> {
    let Some((value_bytes, line_bytes)) = decimal_line(rest)? else { return Ok(None) };
    let reply = Reply { bytes: 1 + line_bytes + value_bytes + 2, outcome: Outcome::Hit };
    Ok((reply.bytes <= 1 + rest.len()).then_some(reply))
}

fn push_bulk(output: &mut Vec<u8>, bytes: &[u8]) {
    output.push(b'$');
    push_decimal(output, bytes.len());
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(bytes);
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::tests::outcomes_split_at;
    use super::*;

    #[test]
    fn requests_to_the_byte() {
        let mut output = Vec::new();
        Resp.encode_get(b"key:1", &mut output);
        Resp.encode_set(b"key:1", b"0123456789", &mut output);
        assert_eq!(
            output,
            b"*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$10\r\n0123456789\r\n"
        );
    }

    #[test]
    fn replies_split_at_every_byte() {
        let stream = b"$3\r\nabc\r\n+OK\r\n$-1\r\n-ERR no\r\n$0\r\n\r\n_\r\n$4\r\n\r\n\r\n\r\n:1\r\n";
        let expected = [
            Outcome::Hit,
            Outcome::Stored,
            Outcome::Miss,
            Outcome::Error,
            Outcome::Hit,
            Outcome::Miss,
            Outcome::Hit,
            Outcome::Stored,
        ];
        for split in 0..=stream.len() {
            assert_eq!(outcomes_split_at(Resp, stream, split), expected);
        }
    }

    #[test]
    fn other_bytes_are_malformed() {
        assert_eq!(Resp.reply(b"ERROR\r\n"), Err(Malformed));
        assert_eq!(Resp.reply(b"$x\r\n"), Err(Malformed));
        assert_eq!(Resp.reply(b"*1\r\n"), Err(Malformed));
    }

    #[test]
    fn an_error_is_described_by_its_line() {
        assert_eq!(Resp.describe(b"-OOM no room\r\n"), "-OOM no room");
    }
}
