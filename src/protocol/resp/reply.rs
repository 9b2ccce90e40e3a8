//! RESP replies, written straight into an output buffer.
//!
//! Invariant: what is written is well-formed whatever the values are; a text that could break the framing (an error
//! that quotes a client's bytes) has its line breaks replaced. It allocates only by growing the buffer.

use crate::protocol::resp::RespVersion;

/// `+text`: `text` must not hold a line break.
#[inline]
pub fn simple(out: &mut Vec<u8>, text: &str) {
    out.push(b'+');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `+OK`.
#[inline]
pub fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK\r\n");
}

/// `-text`, where `text` begins with the code, as in `ERR no such thing`; it may quote a client's bytes.
pub fn error(out: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let text = text.as_ref();
    let end = text.iter().rposition(|byte| !is_break(byte)).map_or(0, |last| last + 1);
    out.push(b'-');
    out.extend(text[..end].iter().map(|byte| if is_break(byte) { b' ' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

/// `:number`.
#[inline]
pub fn integer(out: &mut Vec<u8>, number: i64) {
    line(out, b':', number);
}

/// The head of a bulk string of `length` bytes; the bytes and [`END`] must follow.
#[inline]
pub fn bulk_head(out: &mut Vec<u8>, length: usize) {
    line(out, b'$', length as i64);
}

/// What ends a bulk string.
pub const END: &[u8] = b"\r\n";

/// A bulk string.
#[inline]
pub fn bulk(out: &mut Vec<u8>, value: &[u8]) {
    out.reserve(value.len() + 32);
    bulk_head(out, value.len());
    out.extend_from_slice(value);
    out.extend_from_slice(END);
}

/// Nothing: a null bulk string, or RESP3's null.
#[inline]
pub fn null(out: &mut Vec<u8>, version: RespVersion) {
    out.extend_from_slice(match version {
        RespVersion::Two => b"$-1\r\n",
        RespVersion::Three => b"_\r\n",
    });
}

/// The head of an array of `length` replies.
#[inline]
pub fn array_head(out: &mut Vec<u8>, length: usize) {
    line(out, b'*', length as i64);
}

/// The head of a map of `pairs` pairs; in RESP2 an array twice as long.
pub fn map_head(out: &mut Vec<u8>, version: RespVersion, pairs: usize) {
    match version {
        RespVersion::Two => line(out, b'*', 2 * pairs as i64),
        RespVersion::Three => line(out, b'%', pairs as i64),
    }
}

/// The head of a set of `length` replies; in RESP2 an array.
pub fn set_head(out: &mut Vec<u8>, version: RespVersion, length: usize) {
    match version {
        RespVersion::Two => line(out, b'*', length as i64),
        RespVersion::Three => line(out, b'~', length as i64),
    }
}

/// A text for people to read; in RESP2 a bulk string.
pub fn verbatim(out: &mut Vec<u8>, version: RespVersion, text: &str) {
    if version == RespVersion::Two {
        return bulk(out, text.as_bytes());
    }
    line(out, b'=', text.len() as i64 + 4);
    out.extend_from_slice(b"txt:");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(END);
}

#[inline]
fn line(out: &mut Vec<u8>, marker: u8, number: i64) {
    let digit = |value: i64| b'0' + value as u8;
    // Nearly all lengths and counts have one digit or two.
    match number {
        0..10 => out.extend_from_slice(&[marker, digit(number), b'\r', b'\n']),
        10..100 => out.extend_from_slice(&[marker, digit(number / 10), digit(number % 10), b'\r', b'\n']),
        _ => {
            out.push(marker);
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            out.extend_from_slice(END);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_in_both_versions() {
        let mut out = Vec::new();
        simple(&mut out, "PONG");
        error(&mut out, "ERR bad 'a\r\nb'");
        for number in [-7, 0, 9, 10, 99, 100, i64::MIN] {
            integer(&mut out, number);
        }
        bulk(&mut out, b"\r\n");
        for version in [RespVersion::Two, RespVersion::Three] {
            null(&mut out, version);
            map_head(&mut out, version, 3);
            set_head(&mut out, version, 3);
            verbatim(&mut out, version, "hi");
        }
        let expected: &[u8] = b"+PONG\r\n-ERR bad 'a  b'\r\n:-7\r\n:0\r\n:9\r\n:10\r\n:99\r\n:100\r\n\
            :-9223372036854775808\r\n$2\r\n\r\n\r\n\
            $-1\r\n*6\r\n*3\r\n$2\r\nhi\r\n_\r\n%3\r\n~3\r\n=6\r\ntxt:hi\r\n";
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}
