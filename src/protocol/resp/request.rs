//! RESP requests: arrays of bulk strings, and inline commands for people.
//!
//! Invariant: parsing is a function of the bytes alone and keeps no state, so that a request which was not executed
//! can be parsed again. Arguments are ranges into the input, never copies, except those of an inline command, which
//! may be quoted and go to a scratch buffer. An incomplete request says how many bytes it needs at least, so that a
//! long one is not looked at again for every packet.

use std::ops::Range;

/// Arguments of a request at most.
pub const ARGUMENTS_MAX: usize = 1 << 20;

/// Bytes of an inline request at most.
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// The shortest argument on the wire: `$0\r\n\r\n`.
const ARGUMENT_BYTES_MIN: usize = 6;

/// A request that lacks no more arguments than this is looked at whenever a byte came, so that a fault in it is
/// answered at once; one that lacks more waits until they can be there, so that the looks do not add up.
const ARGUMENTS_LOOKED_AT: usize = 32;

/// What was found at the beginning of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A request of so many bytes; its arguments were added to the list. An empty one has none.
    Complete {
        /// Bytes of the input that it takes.
        consumed: usize,
    },
    /// Not yet a request.
    Incomplete {
        /// Bytes that the input has to have at least before another look can help.
        needed: usize,
    },
}

/// The input is no request, and what follows cannot be told apart any more: the client's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The number of arguments is no number or out of bounds.
    #[error("Protocol error: invalid multibulk length")]
    ArgumentCount,
    /// The length of an argument is no number or out of bounds.
    #[error("Protocol error: invalid bulk length")]
    ArgumentLength,
    /// An argument does not begin with `$`.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0).escape_default())]
    ExpectedBulk(u8),
    /// An argument does not end with CR LF.
    #[error("Protocol error: a bulk string does not end with CRLF")]
    UnterminatedBulk,
    /// An inline request does not end.
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    /// A quote in an inline request is not closed.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The whole request is longer than allowed.
    #[error("Protocol error: the request is longer than the limit of {0} bytes")]
    RequestTooLong(usize),
}

/// Where an argument lies: in the input, or in the scratch buffer of inline commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Argument {
    start: u32,
    length: u32,
}

/// Marks an argument that lies in the scratch buffer.
const SCRATCH: u32 = 1 << 31;

/// The longest request that can be parsed, so that offsets fit.
pub const REQUEST_BYTES_BOUND: usize = (1 << 31) - 1;

/// The arguments of one request, the command's name first.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    input: &'a [u8],
    scratch: &'a [u8],
    list: &'a [Argument],
}

impl<'a> Arguments<'a> {
    /// The arguments of `list`, which [`parse`] made of `input` (from the request's first byte on) and `scratch`.
    #[inline]
    #[must_use]
    pub const fn new(input: &'a [u8], scratch: &'a [u8], list: &'a [Argument]) -> Self {
        Self { input, scratch, list }
    }

    /// How many there are, the name included.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the request was empty.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Argument `index`, if there is one; 0 is the command's name.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.list.get(index).map(|argument| {
            let length = argument.length as usize;
            if argument.start & SCRATCH == 0 {
                &self.input[argument.start as usize..][..length]
            } else {
                &self.scratch[(argument.start & !SCRATCH) as usize..][..length]
            }
        })
    }

    /// The same request without its first `count` arguments.
    #[must_use]
    pub fn behind(&self, count: usize) -> Self {
        Self { list: &self.list[count.min(self.list.len())..], ..*self }
    }

    /// The arguments from `first` on, `step` apart.
    pub fn iter_from(&self, first: usize, step: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let whole = *self;
        (first..whole.len()).step_by(step).filter_map(move |index| whole.get(index))
    }
}

impl<'a> std::ops::Index<usize> for Arguments<'a> {
    type Output = [u8];

    /// Panics beyond the end: a handler indexes only what the command's arity guarantees.
    #[inline]
    fn index(&self, index: usize) -> &'a [u8] {
        self.get(index).expect("the arity of the command was checked")
    }
}

/// Parses the request at the beginning of `input`; adds its arguments to `list`.
///
/// # Errors
/// [`RequestError`] if the connection cannot go on.
// Left to itself, the compiler calls it, because there is another caller: 45 instructions a request.
#[inline(always)]
pub fn parse(
    input: &[u8],
    request_bytes_max: usize,
    list: &mut Vec<Argument>,
    scratch: &mut Vec<u8>,
) -> Result<Parsed, RequestError> {
    let before = list.len();
    let parsed = match input.first() {
        None => Ok(Parsed::Incomplete { needed: 1 }),
        Some(b'*') => parse_array(input, request_bytes_max, list),
        Some(_) => parse_inline(input, list, scratch),
    };
    if !matches!(parsed, Ok(Parsed::Complete { .. })) {
        list.truncate(before);
    }
    parsed
}

#[inline(always)]
fn parse_array(
    input: &[u8],
    request_bytes_max: usize,
    list: &mut Vec<Argument>,
) -> Result<Parsed, RequestError> {
    let bound = request_bytes_max.min(REQUEST_BYTES_BOUND);
    let (count, mut at) = match number_line(&input[1..]) {
        Line::Number(count, length) if count <= ARGUMENTS_MAX as i64 => (count, 1 + length),
        Line::Number(..) | Line::NoNumber => return Err(RequestError::ArgumentCount),
        Line::Incomplete => return Ok(Parsed::Incomplete { needed: input.len() + 1 }),
    };
    let mut left = usize::try_from(count).unwrap_or(0);
    while left > 0 {
        let Some(&marker) = input.get(at) else { return incomplete(at + 1, left, bound) };
        if marker != b'$' {
            return Err(RequestError::ExpectedBulk(marker));
        }
        let (length, start) = match number_line(&input[at + 1..]) {
            Line::Number(length, line) if (0..=bound as i64).contains(&length) => {
                (length as usize, at + 1 + line)
            }
            Line::Number(length, _) if length > 0 => return Err(RequestError::RequestTooLong(bound)),
            Line::Number(..) | Line::NoNumber => return Err(RequestError::ArgumentLength),
            Line::Incomplete => return incomplete(input.len() + 1, left, bound),
        };
        let end = start + length;
        left -= 1;
        match input.get(end..end + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err(RequestError::UnterminatedBulk),
            None => return incomplete(end + 2, left, bound),
        }
        // By its whole length, so that it does not matter in which pieces it came.
        if end + 2 > bound {
            return Err(RequestError::RequestTooLong(bound));
        }
        // Both are at most `bound`, which leaves the scratch bit free.
        list.push(Argument { start: start as u32, length: length as u32 });
        at = end + 2;
    }
    Ok(Parsed::Complete { consumed: at })
}

#[cold]
fn incomplete(next: usize, arguments_left: usize, bound: usize) -> Result<Parsed, RequestError> {
    let needed = next + arguments_left.saturating_sub(ARGUMENTS_LOOKED_AT) * ARGUMENT_BYTES_MIN;
    if needed > bound { Err(RequestError::RequestTooLong(bound)) } else { Ok(Parsed::Incomplete { needed }) }
}

/// A decimal number up to CR LF.
enum Line {
    /// The number, and the bytes of the line with its end.
    Number(i64, usize),
    /// Something else, or more digits than any bound has.
    NoNumber,
    Incomplete,
}

/// Digits of a length at most: 10^18 fits 64 bits.
const DIGITS_MAX: usize = 18;

#[inline(always)]
fn number_line(input: &[u8]) -> Line {
    let digit = |byte: u8| i64::from(byte.wrapping_sub(b'0'));
    // Nearly all lengths and counts have one digit or two.
    match *input {
        [one, b'\r', b'\n', ..] if one.is_ascii_digit() => Line::Number(digit(one), 3),
        [ten, one, b'\r', b'\n', ..] if ten.is_ascii_digit() && one.is_ascii_digit() => {
            Line::Number(10 * digit(ten) + digit(one), 4)
        }
        _ => long_number_line(input),
    }
}

fn long_number_line(input: &[u8]) -> Line {
    let negative = input.first() == Some(&b'-');
    let first = usize::from(negative);
    let mut number: i64 = 0;
    for (index, &byte) in input.iter().enumerate().skip(first) {
        if byte.is_ascii_digit() && index - first < DIGITS_MAX {
            number = number * 10 + i64::from(byte - b'0');
            continue;
        }
        return match (byte, input.get(index + 1)) {
            (b'\r', Some(b'\n')) if index > first => {
                Line::Number(if negative { -number } else { number }, index + 2)
            }
            (b'\r', None) => Line::Incomplete,
            _ => Line::NoNumber,
        };
    }
    Line::Incomplete
}

#[cold]
fn parse_inline(
    input: &[u8],
    list: &mut Vec<Argument>,
    scratch: &mut Vec<u8>,
) -> Result<Parsed, RequestError> {
    let window = &input[..input.len().min(INLINE_BYTES_MAX)];
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        if input.len() >= INLINE_BYTES_MAX {
            return Err(RequestError::InlineTooLong);
        }
        return Ok(Parsed::Incomplete { needed: input.len() + 1 });
    };
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    let mut rest = line;
    while let Some(word) = next_word(&mut rest, scratch)? {
        // A worker's scratch holds one turn's inline commands, far below the scratch bit.
        list.push(Argument { start: word.start as u32 | SCRATCH, length: word.len() as u32 });
    }
    Ok(Parsed::Complete { consumed: end + 1 })
}

/// Copies the next word of an inline request, unquoted, to the scratch buffer.
fn next_word(rest: &mut &[u8], scratch: &mut Vec<u8>) -> Result<Option<Range<usize>>, RequestError> {
    *rest = rest.trim_ascii_start();
    if rest.is_empty() {
        return Ok(None);
    }
    let start = scratch.len();
    let mut quote = None;
    loop {
        let (Some(&byte), tail) = (rest.first(), rest.get(1..).unwrap_or_default()) else {
            return if quote.is_some() {
                Err(RequestError::UnbalancedQuotes)
            } else {
                Ok(Some(start..scratch.len()))
            };
        };
        match (quote, byte) {
            (None, byte) if byte.is_ascii_whitespace() => return Ok(Some(start..scratch.len())),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => {
                if tail.first().is_some_and(|next| !next.is_ascii_whitespace()) {
                    return Err(RequestError::UnbalancedQuotes);
                }
                quote = None;
            }
            (Some(b'"'), b'\\') => {
                let (byte, length) = unescape(tail);
                scratch.push(byte);
                *rest = &tail[length..];
                continue;
            }
            (Some(b'\''), b'\\') if tail.first() == Some(&b'\'') => {
                scratch.push(b'\'');
                *rest = &tail[1..];
                continue;
            }
            _ => scratch.push(byte),
        }
        *rest = tail;
    }
}

/// The byte that an escape stands for, and how many bytes after the backslash it takes.
fn unescape(tail: &[u8]) -> (u8, usize) {
    let hexadecimal = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    match tail {
        [b'x', high, low, ..] if hexadecimal(*high).is_some() && hexadecimal(*low).is_some() => {
            (hexadecimal(*high).unwrap_or(0) << 4 | hexadecimal(*low).unwrap_or(0), 3)
        }
        [b'n', ..] => (b'\n', 1),
        [b'r', ..] => (b'\r', 1),
        [b't', ..] => (b'\t', 1),
        [b'b', ..] => (8, 1),
        [b'a', ..] => (7, 1),
        [other, ..] => (*other, 1),
        [] => (b'\\', 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(input: &[u8]) -> Result<(Parsed, Vec<Vec<u8>>), RequestError> {
        let (mut list, mut scratch) = (Vec::new(), Vec::new());
        let parsed = parse(input, 1 << 20, &mut list, &mut scratch)?;
        let arguments = Arguments::new(input, &scratch, &list);
        Ok((parsed, arguments.iter_from(0, 1).map(<[u8]>::to_vec).collect()))
    }

    #[test]
    fn arrays_of_bulk_strings() {
        let (parsed, arguments) = words(b"*2\r\n$3\r\nGET\r\n$5\r\na\r\n\0b\r\nPING").unwrap();
        assert_eq!(parsed, Parsed::Complete { consumed: 24 });
        assert_eq!(arguments, [&b"GET"[..], b"a\r\n\0b"]);
        for empty in [&b"*0\r\n"[..], b"*-1\r\n"] {
            assert_eq!(words(empty).unwrap(), (Parsed::Complete { consumed: empty.len() }, vec![]));
        }
    }

    #[test]
    fn every_prefix_is_incomplete_and_asks_for_no_more_than_there_is() {
        let whole = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello, world\r\n";
        for length in 0..whole.len() {
            let (parsed, _) = words(&whole[..length]).unwrap();
            let Parsed::Incomplete { needed } = parsed else { panic!("{length}: {parsed:?}") };
            assert!(needed > length && needed <= whole.len(), "{length} needs {needed}");
        }
    }

    #[test]
    fn inline_commands_with_quotes() {
        let (parsed, arguments) = words(b"  set 'a b' \"c\\x41\\n\\\"\" plain\r\nrest").unwrap();
        assert_eq!(parsed, Parsed::Complete { consumed: 31 });
        assert_eq!(arguments, [&b"set"[..], b"a b", b"cA\n\"", b"plain"]);
        assert_eq!(words(b"\r\n").unwrap(), (Parsed::Complete { consumed: 2 }, vec![]));
        assert_eq!(words(b"get \"a\n"), Err(RequestError::UnbalancedQuotes));
        assert_eq!(words(b"get \"a\"b\n"), Err(RequestError::UnbalancedQuotes));
    }

    #[test]
    fn lies_are_told_apart() {
        let cases: [(&[u8], RequestError); 8] = [
            (b"*1048577\r\n", RequestError::ArgumentCount),
            (b"*x\r\n", RequestError::ArgumentCount),
            (b"*1\r\nGET\r\n", RequestError::ExpectedBulk(b'G')),
            (b"*1\r\n$-1\r\n", RequestError::ArgumentLength),
            (b"*1\r\n$3x\r\n", RequestError::ArgumentLength),
            (b"*1\r\n$3\r\nGETxx", RequestError::UnterminatedBulk),
            (b"*1\r\n$999999999999\r\n", RequestError::RequestTooLong(1 << 20)),
            (b"*1048576\r\n", RequestError::RequestTooLong(1 << 20)),
        ];
        for (input, error) in cases {
            assert_eq!(words(input), Err(error), "{}", input.escape_ascii());
        }
        assert_eq!(words(&vec![b'a'; INLINE_BYTES_MAX]), Err(RequestError::InlineTooLong));
    }
}
