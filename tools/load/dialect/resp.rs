//! Redis' protocol, version 2: commands as arrays of bulk strings.
//!
//! Invariant: a reply is taken only when its last byte is there. It reads the replies that its commands can
//! have (status, error, integer, bulk, null) and no nested ones.

use super::{Dialect, Malformed, Outcome, Reply, Request, decimal_line, line_bytes, push_decimal};

/// The dialect; it keeps no state.
#[derive(Clone)]
pub(crate) struct Resp;

impl Dialect for Resp {
    // `$64\r\n` and a line end.
    const REPLY_OVERHEAD_BYTES: usize = 7;

    fn greet(&mut self, password: Option<&[u8]>, output: &mut Vec<u8>) -> usize {
        let Some(password) = password else { return 0 };
        output.extend_from_slice(b"*2\r\n$4\r\nAUTH\r\n");
        push_bulk(output, password);
        1
    }

    fn encode(&mut self, request: Request<'_>, output: &mut Vec<u8>) {
        let (command, key): (&[u8], _) = match request {
            Request::Get { key } => (b"*2\r\n$3\r\nGET\r\n", key),
            Request::Set { key, .. } => (b"*3\r\n$3\r\nSET\r\n", key),
            Request::Delete { key } => (b"*2\r\n$3\r\nDEL\r\n", key),
            Request::Increment { key } => (b"*2\r\n$4\r\nINCR\r\n", key),
        };
        output.extend_from_slice(command);
        push_bulk(output, key);
        if let Request::Set { value, .. } = request {
            push_bulk(output, value);
        }
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
        Ok(line_bytes(bytes).map(|bytes| Reply { bytes, outcome, answers: None }))
    }
}

/// The reply whose `$` was read.
fn bulk(rest: &[u8]) -> Result<Option<Reply>, Malformed> {
    let Some((value_bytes, line_bytes)) = decimal_line(rest)? else { return Ok(None) };
    let reply = Reply { bytes: 1 + line_bytes + value_bytes + 2, outcome: Outcome::Hit, answers: None };
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
        let key = b"key:1";
        assert_eq!(Resp.greet(None, &mut output), 0);
        assert_eq!(Resp.greet(Some(b"secret"), &mut output), 1);
        Resp.encode(Request::Get { key }, &mut output);
        Resp.encode(Request::Set { key, value: b"0123456789" }, &mut output);
        Resp.encode(Request::Delete { key }, &mut output);
        Resp.encode(Request::Increment { key }, &mut output);
        let expected = [
            &b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"[..],
            b"*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n",
            b"*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$10\r\n0123456789\r\n",
            b"*2\r\n$3\r\nDEL\r\n$5\r\nkey:1\r\n",
            b"*2\r\n$4\r\nINCR\r\n$5\r\nkey:1\r\n",
        ];
        assert_eq!(output, expected.concat());
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
