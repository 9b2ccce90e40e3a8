//! Steps over requests by fixed offsets and appends the canned replies.
//!
//! A request is `*2\r\n$3\r\nGET\r\n$<n>\r\n<key>\r\n` or `*3\r\n$3\r\nSET\r\n$<n>\r\n<key>\r\n$<m>\r\n<value>\r\n`:
//! one byte tells which, one or two lengths tell how far it reaches. Invariant: no byte outside the slice is looked
//! at, and no length that it declares is allocated. It does not look at the command's name, the key or the value.

/// Offset of the digit that tells GET (`2`) from SET (`3`).
const KIND_AT: usize = 1;
/// Offset of the `$` before the key's length: behind `*2\r\n$3\r\nGET\r\n`.
const KEY_LENGTH_AT: usize = 13;
/// Digits of a declared length at most: a request beyond it has not the shape.
const LENGTH_DIGITS_MAX: usize = 8;
/// Bytes of output after which a turn writes before it goes on.
pub(crate) const OUTPUT_HIGH_WATER_BYTES: usize = 256 * 1024;

/// The bytes that arrived are not requests of the shape.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotTheShape;

/// The canned replies.
pub(crate) struct Canned {
    hit: Vec<u8>,
}

impl Canned {
    /// Replies whose value has `value_bytes` bytes.
    pub(crate) fn new(value_bytes: usize) -> Self {
        let mut hit = format!("${value_bytes}\r\n").into_bytes();
        hit.resize(hit.len() + value_bytes, b'x');
        hit.extend_from_slice(b"\r\n");
        Self { hit }
    }

    /// Appends a reply for each whole request at the start of `input` and returns the bytes they took.
    ///
    /// Stops early once `output` is above [`OUTPUT_HIGH_WATER_BYTES`].
    pub(crate) fn answer(&self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, NotTheShape> {
        let mut taken = 0;
        while output.len() < OUTPUT_HIGH_WATER_BYTES {
            let rest = &input[taken..];
            let Some(&kind) = rest.get(KIND_AT) else { break };
            let Some(mut end) = step(rest, KEY_LENGTH_AT)? else { break };
            let reply: &[u8] = match kind {
                b'2' => &self.hit,
                b'3' => {
                    let Some(end_of_value) = step(rest, end)? else { break };
                    end = end_of_value;
                    b"+OK\r\n"
                }
                _ => return Err(NotTheShape),
            };
            if end > rest.len() {
                break;
            }
            output.extend_from_slice(reply);
            taken += end;
        }
        Ok(taken)
    }
}

/// Where the bulk string that starts at `at` ends, which may be beyond `input`; `None` if its header is not whole.
#[inline]
fn step(input: &[u8], at: usize) -> Result<Option<usize>, NotTheShape> {
    let Some(header) = input.get(at..) else { return Ok(None) };
    let Some((&b'$', digits)) = header.split_first() else {
        return if header.is_empty() { Ok(None) } else { Err(NotTheShape) };
    };
    let mut length = 0;
    for (count, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' if count < LENGTH_DIGITS_MAX => length = length * 10 + usize::from(byte - b'0'),
            b'\r' if count > 0 => return Ok(Some(at + 1 + count + 2 + length + 2)),
            _ => return Err(NotTheShape),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n";
    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$12\r\nhello, world\r\n$3\r\nabc\r\n";

    #[test]
    fn every_split_of_a_pipeline_gives_the_same_replies() {
        let canned = Canned::new(4);
        let requests = [GET, SET, GET].concat();
        let replies = b"$4\r\nxxxx\r\n+OK\r\n$4\r\nxxxx\r\n";
        for split in 0..=requests.len() {
            let mut output = Vec::new();
            let taken = canned.answer(&requests[..split], &mut output).unwrap();
            assert!(taken <= split);
            let rest = canned.answer(&requests[taken..], &mut output).unwrap();
            assert_eq!(taken + rest, requests.len());
            assert_eq!(output, replies);
        }
    }

    #[test]
    fn what_has_not_the_shape_is_refused() {
        for bytes in [
            &b"*1\r\n$4\r\nPING\r\n"[..],
            b"*4\r\n$3\r\nSET\r\n$1\r\na\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"*2\r\n$3\r\nGET\r\n$999999999\r\n",
            b"*2\r\n$3\r\nGET\r\n$\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\na\r\nx",
        ] {
            assert_eq!(Canned::new(1).answer(bytes, &mut Vec::new()), Err(NotTheShape), "{bytes:?}");
        }
    }

    #[test]
    fn output_stops_at_the_high_water_mark() {
        let canned = Canned::new(OUTPUT_HIGH_WATER_BYTES);
        let mut output = Vec::new();
        assert_eq!(canned.answer(&[GET, GET].concat(), &mut output), Ok(GET.len()));
    }
}
