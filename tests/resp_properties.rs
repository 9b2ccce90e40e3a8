//! What holds of RESP for any arguments and for any bytes: a request that is encoded parses to itself, half a
//! request is never taken for one, no answer changes when more bytes come, and what bytes declare costs nothing.
//!
//! The bytes are encoded and replies decoded here, by code that shares nothing with the node's.

use annulus::protocol::resp::request::{Argument, Arguments, INLINE_BYTES_MAX, Parsed, RequestError, parse};
use annulus::protocol::resp::{RespVersion, reply};
use proptest::collection::vec;
use proptest::prelude::*;

const REQUEST_BYTES_MAX: usize = 1 << 20;

/// What the input began with: its arguments and length, the bytes it needs, or an error.
#[derive(Clone, PartialEq, Debug)]
enum Seen {
    Request(Vec<Vec<u8>>, usize),
    Needs(usize),
    Error(RequestError),
}

/// Parses, and checks that nothing was allocated but in proportion to the input.
fn see_bounded(input: &[u8], request_bytes_max: usize) -> Seen {
    let (mut list, mut scratch) = (Vec::<Argument>::new(), Vec::new());
    let parsed = parse(input, request_bytes_max, &mut list, &mut scratch);
    // A growing vector doubles, and an argument takes at least six bytes of an array, or two of a line.
    let allocated = list.capacity() * size_of::<Argument>() + scratch.capacity();
    assert!(allocated <= 12 * input.len() + 128, "{allocated} bytes for {}", input.len());
    match parsed {
        Err(error) => Seen::Error(error),
        Ok(Parsed::Incomplete { needed }) => {
            assert!(list.is_empty(), "half a request leaves no arguments");
            Seen::Needs(needed)
        }
        Ok(Parsed::Complete { consumed }) => {
            assert!(consumed > 0 && consumed <= input.len());
            let arguments = Arguments::new(input, &scratch, &list);
            Seen::Request(arguments.iter_from(0, 1).map(<[u8]>::to_vec).collect(), consumed)
        }
    }
}

fn see(input: &[u8]) -> Seen {
    see_bounded(input, REQUEST_BYTES_MAX)
}

fn encode(arguments: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A line whose words are all quoted, with every byte escaped that may be.
fn encode_inline(arguments: &[Vec<u8>]) -> Vec<u8> {
    let word = |argument: &Vec<u8>| {
        let escaped: String = argument.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{escaped}\"")
    };
    (arguments.iter().map(word).collect::<Vec<_>>().join("  ") + "\r\n").into_bytes()
}

fn arguments() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..60), 0..12)
}

/// Requests with something wrong, and pieces of them.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => arguments().prop_map(|arguments| encode(&arguments)),
        1 => arguments().prop_map(|arguments| encode_inline(&arguments)),
        2 => any::<i64>().prop_map(|number| format!("*{number}\r\n").into_bytes()),
        2 => any::<i64>().prop_map(|number| format!("${number}\r\n").into_bytes()),
        2 => (-3_i64..2_000_000).prop_map(|number| format!("*{number}\r\n").into_bytes()),
        2 => (-3_i64..2_000_000).prop_map(|number| format!("*2\r\n${number}\r\n").into_bytes()),
        1 => prop::sample::select(vec!["\r", "\n", "\r\n", "*", "$", "'", "\"", "\\", "\\x", "*0\r\n", "*-1\r\n", "-"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ];
    (vec(piece, 1..6), vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)).prop_map(
        |(pieces, changes)| {
            let mut bytes = pieces.concat();
            for (index, byte) in changes {
                if !bytes.is_empty() {
                    let at = index.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        },
    )
}

/// Each prefix, judged alone, agrees with the whole.
fn check_prefixes(bytes: &[u8], request_bytes_max: usize) -> Result<(), TestCaseError> {
    let whole = see_bounded(bytes, request_bytes_max);
    for length in 0..bytes.len() {
        match see_bounded(&bytes[..length], request_bytes_max) {
            Seen::Needs(needed) => {
                prop_assert!(needed > length, "{length} bytes need {needed}");
                let total = match &whole {
                    Seen::Request(_, consumed) => *consumed,
                    Seen::Needs(total) => *total,
                    Seen::Error(_) => usize::MAX,
                };
                prop_assert!(needed <= total, "{length} bytes need {needed} of {total}");
            }
            // An error ends the connection; which one is told may depend on what has come.
            Seen::Error(_) => prop_assert!(matches!(whole, Seen::Error(_)), "after {} bytes", length),
            seen => prop_assert_eq!(&seen, &whole, "after {} bytes", length),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_arguments_come_back(arguments in arguments(), following in vec(any::<u8>(), 0..20)) {
        let bytes = encode(&arguments);
        let expected = Seen::Request(arguments, bytes.len());
        prop_assert_eq!(see(&bytes), expected.clone());
        prop_assert_eq!(see(&[bytes, following].concat()), expected);
    }

    #[test]
    fn any_words_come_back_from_a_line(arguments in arguments()) {
        let bytes = encode_inline(&arguments);
        let length = bytes.len();
        prop_assert_eq!(see(&bytes), Seen::Request(arguments, length));
    }

    #[test]
    fn half_a_request_is_incomplete(arguments in arguments()) {
        let bytes = encode(&arguments);
        for length in 0..bytes.len() {
            let Seen::Needs(needed) = see(&bytes[..length]) else {
                return Err(TestCaseError::fail(format!("{length} of {} bytes", bytes.len())));
            };
            prop_assert!(needed > length && needed <= bytes.len(), "{} needs {}", length, needed);
        }
    }

    #[test]
    fn more_bytes_change_no_answer(bytes in nearly_right(), following in vec(any::<u8>(), 0..20)) {
        check_prefixes(&[bytes, following].concat(), REQUEST_BYTES_MAX)?;
    }

    #[test]
    fn the_limit_of_a_request_holds_however_it_arrives(arguments in arguments(), below in 0_usize..40) {
        let bytes = encode(&arguments);
        let limit = bytes.len().saturating_sub(below);
        let fits = matches!(see_bounded(&bytes, limit), Seen::Request(..));
        // An empty array has no argument that could be too long.
        prop_assert_eq!(fits, below == 0 || arguments.is_empty());
        check_prefixes(&bytes, limit)?;
    }

    #[test]
    fn any_bytes_are_judged(bytes in vec(any::<u8>(), 0..300)) {
        check_prefixes(&bytes, REQUEST_BYTES_MAX)?;
    }

    #[test]
    fn replies_are_what_was_written(written in vec(written(), 1..20)) {
        for version in [RespVersion::Two, RespVersion::Three] {
            let mut out = Vec::new();
            for item in &written {
                item.write(&mut out, version);
            }
            let mut rest = &out[..];
            for item in &written {
                let read = item.read(&mut rest, version);
                prop_assert_eq!(&read, item);
            }
            prop_assert!(rest.is_empty());
        }
    }
}

#[test]
fn a_long_line_is_judged_by_its_length_alone() {
    for length in [INLINE_BYTES_MAX - 2, INLINE_BYTES_MAX - 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1] {
        let line = vec![b'a'; length];
        let expected = if length < INLINE_BYTES_MAX {
            Seen::Needs(length + 1)
        } else {
            Seen::Error(RequestError::InlineTooLong)
        };
        assert_eq!(see(&line), expected, "{length}");
    }
}

/// A reply, as it is given to the writer and as it is read back.
#[derive(Clone, PartialEq, Debug)]
enum Written {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Verbatim(String),
    Array(Vec<i64>),
    Map(Vec<(i64, i64)>),
    Set(Vec<i64>),
}

fn written() -> impl Strategy<Value = Written> {
    let numbers = || vec(any::<i64>(), 0..5);
    prop_oneof![
        "[A-Z a-z]{0,20}".prop_map(Written::Simple),
        any::<String>().prop_map(Written::Error),
        any::<i64>().prop_map(Written::Integer),
        vec(any::<u8>(), 0..200).prop_map(Written::Bulk),
        Just(Written::Null),
        any::<String>().prop_map(Written::Verbatim),
        numbers().prop_map(Written::Array),
        vec(any::<(i64, i64)>(), 0..5).prop_map(Written::Map),
        numbers().prop_map(Written::Set),
    ]
    // Line breaks in an error become blanks: that is what it promises.
    .prop_map(|written| match written {
        Written::Error(text) => Written::Error(text.replace(['\r', '\n'], " ")),
        other => other,
    })
}

impl Written {
    fn write(&self, out: &mut Vec<u8>, version: RespVersion) {
        match self {
            Self::Simple(text) => reply::simple(out, text),
            Self::Error(text) => reply::error(out, text),
            Self::Integer(number) => reply::integer(out, *number),
            Self::Bulk(bytes) => reply::bulk(out, bytes),
            Self::Null => reply::null(out, version),
            Self::Verbatim(text) => reply::verbatim(out, version, text),
            Self::Array(numbers) => {
                reply::array_head(out, numbers.len());
                numbers.iter().for_each(|number| reply::integer(out, *number));
            }
            Self::Map(pairs) => {
                reply::map_head(out, version, pairs.len());
                for (key, value) in pairs {
                    reply::integer(out, *key);
                    reply::integer(out, *value);
                }
            }
            Self::Set(numbers) => {
                reply::set_head(out, version, numbers.len());
                numbers.iter().for_each(|number| reply::integer(out, *number));
            }
        }
    }

    /// Reads a reply of this kind; RESP2 has fewer markers, so the kind says what they stand for.
    fn read(&self, rest: &mut &[u8], version: RespVersion) -> Self {
        let three = version == RespVersion::Three;
        match self {
            Self::Simple(_) => Self::Simple(line(rest, b'+')),
            Self::Error(_) => Self::Error(line(rest, b'-')),
            Self::Integer(_) => Self::Integer(number(rest, b':')),
            Self::Bulk(_) => Self::Bulk(body(rest, b'$')),
            Self::Null if three => {
                assert_eq!(line(rest, b'_'), "");
                Self::Null
            }
            Self::Null => {
                assert_eq!(number(rest, b'$'), -1);
                Self::Null
            }
            Self::Verbatim(_) => {
                let bytes = body(rest, if three { b'=' } else { b'$' });
                let text = if three { bytes.strip_prefix(b"txt:").expect("its kind") } else { &bytes[..] };
                Self::Verbatim(String::from_utf8(text.to_vec()).expect("text"))
            }
            Self::Array(_) => Self::Array(numbers(rest, b'*', 1)),
            Self::Map(_) => {
                let flat = if three { numbers(rest, b'%', 2) } else { numbers(rest, b'*', 1) };
                Self::Map(flat.chunks(2).map(|pair| (pair[0], pair[1])).collect())
            }
            Self::Set(_) => Self::Set(numbers(rest, if three { b'~' } else { b'*' }, 1)),
        }
    }
}

fn line(rest: &mut &[u8], marker: u8) -> String {
    assert_eq!(char::from(rest[0]), char::from(marker));
    let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a line ends");
    let text = String::from_utf8(rest[1..end].to_vec()).expect("a line is text");
    *rest = &rest[end + 2..];
    text
}

fn number(rest: &mut &[u8], marker: u8) -> i64 {
    line(rest, marker).parse().expect("a number")
}

fn body(rest: &mut &[u8], marker: u8) -> Vec<u8> {
    let length = usize::try_from(number(rest, marker)).expect("a length");
    let (bytes, after) = rest.split_at(length);
    *rest = after.strip_prefix(b"\r\n").expect("a bulk string ends with CR LF");
    bytes.to_vec()
}

fn numbers(rest: &mut &[u8], marker: u8, times: i64) -> Vec<i64> {
    let count = number(rest, marker) * times;
    (0..count).map(|_| number(rest, b':')).collect()
}
