//! Redis' protocol, version 2: commands as arrays of bulk strings.
//!
//! Invariant: a reply is taken only when its last byte is there. It reads the replies that its commands can
//! have (status, error, integer, bulk, null) and no nested ones.

use annulus::types::Level;

use super::{Dialect, Malformed, Outcome, Reply, Request, decimal_line, line_bytes, push_decimal};

/// The dialect: at which level, how many replicas are waited for behind each write, and how it is greeted.
#[derive(Clone, Default)]
pub(crate) struct Resp {
    level: Option<Level>,
    wait: Option<u8>,
    /// Replies of the greeting that have yet to come.
    greetings: usize,
}

impl Resp {
    pub(crate) fn new(level: Option<Level>, wait: Option<u8>) -> Self {
        Self { level, wait, greetings: 0 }
    }

    /// The reply to a write and to the WAIT behind it, of which the first is so long.
    fn waited(&self, bytes: &[u8], first_bytes: usize, outcome: Outcome) -> Result<Option<Reply>, Malformed> {
        let rest = &bytes[first_bytes..];
        let Some(replicas_bytes) = line_bytes(rest) else { return Ok(None) };
        let number = rest[..replicas_bytes].strip_prefix(b":").ok_or(Malformed)?;
        let number = number.trim_ascii_end().iter().try_fold(0_u64, |sum, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        });
        let enough = number.ok_or(Malformed)? >= u64::from(self.wait.unwrap_or(0));
        let outcome = if enough { outcome } else { Outcome::Error };
        Ok(Some(Reply { bytes: first_bytes + replicas_bytes, outcome, answers: None }))
    }
}

impl Dialect for Resp {
    // `$64\r\n` and a line end.
    const REPLY_OVERHEAD_BYTES: usize = 7;

    fn greet(&mut self, password: Option<&[u8]>, output: &mut Vec<u8>) -> usize {
        if let Some(password) = password {
            output.extend_from_slice(b"*2\r\n$4\r\nAUTH\r\n");
            push_bulk(output, password);
        }
        if let Some(level) = self.level {
            output.extend_from_slice(b"*2\r\n$11\r\nCONSISTENCY\r\n");
            push_bulk(output, level.name().as_bytes());
        }
        self.greetings = usize::from(password.is_some()) + usize::from(self.level.is_some());
        self.greetings
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
        if let Some(replicas) = self.wait.filter(|_| !matches!(request, Request::Get { .. })) {
            output.extend_from_slice(b"*3\r\n$4\r\nWAIT\r\n");
            let mut digits = Vec::new();
            push_decimal(&mut digits, replicas.into());
            push_bulk(output, &digits);
            // For ever.
            output.extend_from_slice(b"$1\r\n0\r\n");
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
        let Some(first_bytes) = line_bytes(bytes) else { return Ok(None) };
        if self.greetings > 0 {
            self.greetings -= 1;
        } else if self.wait.is_some() && matches!(kind, b'+' | b':' | b'-') {
            return self.waited(bytes, first_bytes, outcome);
        }
        Ok(Some(Reply { bytes: first_bytes, outcome, answers: None }))
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
        let mut resp = Resp::default();
        let key = b"key:1";
        assert_eq!(resp.greet(None, &mut output), 0);
        assert_eq!(resp.greet(Some(b"secret"), &mut output), 1);
        resp.encode(Request::Get { key }, &mut output);
        resp.encode(Request::Set { key, value: b"0123456789" }, &mut output);
        resp.encode(Request::Delete { key }, &mut output);
        resp.encode(Request::Increment { key }, &mut output);
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
            assert_eq!(outcomes_split_at(Resp::default(), stream, split), expected);
        }
    }

    #[test]
    fn other_bytes_are_malformed() {
        assert_eq!(Resp::default().reply(b"ERROR\r\n"), Err(Malformed));
        assert_eq!(Resp::default().reply(b"$x\r\n"), Err(Malformed));
        assert_eq!(Resp::default().reply(b"*1\r\n"), Err(Malformed));
    }

    #[test]
    fn an_error_is_described_by_its_line() {
        assert_eq!(Resp::default().describe(b"-OOM no room\r\n"), "-OOM no room");
    }

    #[test]
    fn a_write_and_its_wait_are_one() {
        let mut resp = Resp::new(Some(Level::One), Some(2));
        let mut output = Vec::new();
        assert_eq!(resp.greet(None, &mut output), 1);
        resp.encode(Request::Set { key: b"k", value: b"v" }, &mut output);
        resp.encode(Request::Get { key: b"k" }, &mut output);
        let expected = [
            &b"*2\r\n$11\r\nCONSISTENCY\r\n$3\r\none\r\n"[..],
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*3\r\n$4\r\nWAIT\r\n$1\r\n2\r\n$1\r\n0\r\n",
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        ];
        assert_eq!(output, expected.concat());
        let stream = b"+OK\r\n+OK\r\n:2\r\n$1\r\nv\r\n+OK\r\n:1\r\n-ERR no\r\n:2\r\n";
        let expected = [Outcome::Stored, Outcome::Stored, Outcome::Hit, Outcome::Error, Outcome::Error];
        for split in 0..=stream.len() {
            let mut resp = Resp::new(Some(Level::One), Some(2));
            resp.greet(None, &mut Vec::new());
            assert_eq!(outcomes_split_at(resp, stream, split), expected);
        }
    }
}
