//! What must hold of any bytes from outside, a function for each decoder; fuzz targets and tests call the same.
//!
//! Invariant: none panics but to report a fault, and none takes time that is not about proportional to its input.

use annulus::cluster::membership::{Input, Membership};
use annulus::config::MembershipConfig;
use annulus::message::gossip::Peer;
use annulus::message::{Envelope, Outcome, Reply, Request};
use annulus::operation::{self, glob};
use annulus::protocol::acknowledgement::AnswerWriter;
use annulus::protocol::client::{decode_request, decode_response, encode_request, encode_response};
use annulus::protocol::control::{decode_control, encode_control};
use annulus::protocol::frame::{Frame, Split, split_frame};
use annulus::protocol::gossip::{GossipCodec, MEMBER_BYTES};
use annulus::protocol::handshake::{HANDSHAKE_BYTES, decode_handshake, encode_handshake};
use annulus::protocol::metadata::{decode_metadata, encode_metadata, seal};
use annulus::protocol::page::{PageWriter, encode_fetch, encode_list};
use annulus::protocol::peer::{
    PeerMessage, decode_peer, encode_answer, encode_heartbeat, encode_inquiry, encode_proposal,
};
use annulus::protocol::preamble::{
    PREAMBLE_BYTES, decode_greeting, decode_preamble, encode_greeting, encode_preamble,
};
use annulus::protocol::resp::request::{Argument, Arguments, Parsed, parse};
use annulus::protocol::{Limits, ProtocolError};
use annulus::types::{Incarnation, NodeNumber, Timestamp};
use foca::Codec;

/// A decoder's name, and what must hold of it.
pub(crate) type Property = (&'static str, fn(&[u8]));

/// Every decoder of bytes from outside.
pub(crate) const PROPERTIES: [Property; 10] = [
    ("resp_request", resp_request),
    ("native_request", native_request),
    ("native_response", native_response),
    ("peer_message", peer_message),
    ("gossip", gossip),
    ("control", control),
    ("metadata", metadata),
    ("openings", openings),
    ("glob_pattern", glob_pattern),
    ("numbers", numbers),
];

/// Small enough that a fuzzer finds what is beyond them.
const LIMITS: Limits =
    Limits { key_bytes_max: 64, value_bytes_max: 256, frame_bytes_max: 1024, batch_count_max: 16 };

/// Bytes of a RESP request at most.
const REQUEST_BYTES_MAX: usize = 1 << 12;

/// Cuts of an input that are tried.
const CUTS: usize = 24;

/// Requests of Redis clients, arrays and lines.
pub(crate) fn resp_request(bytes: &[u8]) {
    let (mut list, mut scratch) = (Vec::<Argument>::new(), Vec::new());
    let whole = parse(bytes, REQUEST_BYTES_MAX, &mut list, &mut scratch);
    // A growing vector doubles, and an argument takes at least six bytes of an array, or two of a line.
    let allocated = list.capacity() * size_of::<Argument>() + scratch.capacity();
    assert!(allocated <= 12 * bytes.len() + 128, "{allocated} bytes for {}", bytes.len());
    let step = bytes.len().div_ceil(CUTS).max(1);
    for cut in (0..bytes.len()).step_by(step) {
        let part = parse(&bytes[..cut], REQUEST_BYTES_MAX, &mut Vec::new(), &mut Vec::new());
        match (&part, &whole) {
            (Ok(Parsed::Incomplete { needed }), Ok(Parsed::Complete { consumed })) => {
                assert!(*needed > cut && needed <= consumed, "{needed} of {consumed} at {cut}");
            }
            (Ok(Parsed::Incomplete { needed }), _) => assert!(*needed > cut, "{needed} at {cut}"),
            // What is whole, or wrong, stays so whatever follows; why it is wrong may be told otherwise.
            (Ok(Parsed::Complete { .. }), _) => assert_eq!(part, whole, "cut at {cut}"),
            (Err(_), _) => assert!(whole.is_err(), "cut at {cut}: {part:?}, {whole:?}"),
        }
    }
    let Ok(Parsed::Complete { consumed }) = whole else { return };
    assert!(consumed > 0 && consumed <= bytes.len());
    let arguments: Vec<&[u8]> = Arguments::new(bytes, &scratch, &list).iter_from(0, 1).collect();
    let mut again = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in &arguments {
        again.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        again.extend_from_slice(argument);
        again.extend_from_slice(b"\r\n");
    }
    let (mut list, mut scratch) = (Vec::new(), Vec::new());
    let parsed = parse(&again, 2 * REQUEST_BYTES_MAX, &mut list, &mut scratch);
    assert_eq!(parsed, Ok(Parsed::Complete { consumed: again.len() }));
    let repeated = Arguments::new(&again, &scratch, &list);
    assert!(repeated.iter_from(0, 1).eq(arguments));
}

/// Takes a frame off; the same of every part of the input, or that it is a part.
fn frame_of(bytes: &[u8]) -> Option<Frame<'_>> {
    let whole = split_frame(bytes, &LIMITS);
    let step = bytes.len().div_ceil(CUTS).max(1);
    for cut in (0..bytes.len()).step_by(step) {
        match split_frame(&bytes[..cut], &LIMITS) {
            Ok(Split::Incomplete { needed_bytes_total }) => assert!(needed_bytes_total > cut),
            part => assert_eq!(part, whole, "cut at {cut}"),
        }
    }
    match whole {
        Ok(Split::Frame(frame)) => Some(frame),
        Ok(Split::Incomplete { .. }) => None,
        Err(error) => {
            assert!(error.ends_connection);
            None
        }
    }
}

/// The frame that `encode` writes must be the one that was read: there is one way to write a message.
fn is_canonical(frame: Frame<'_>, encode: impl FnOnce(&mut Vec<u8>)) {
    let mut again = Vec::new();
    encode(&mut again);
    let generous = Limits { frame_bytes_max: 2 * LIMITS.frame_bytes_max, ..LIMITS };
    assert_eq!(split_frame(&again, &generous), Ok(Split::Frame(frame)));
}

/// Requests of the native protocol.
pub(crate) fn native_request(bytes: &[u8]) {
    let Some(frame) = frame_of(bytes) else { return };
    match decode_request(frame, &LIMITS) {
        Ok(envelope) => {
            if let Envelope { request: Request::Batch(batch), .. } = envelope {
                assert_eq!(batch.requests(LIMITS).count(), batch.count() as usize);
            }
            is_canonical(frame, |out| encode_request(&envelope, out));
        }
        Err(ProtocolError { id, ends_connection, .. }) => {
            assert_eq!((id, ends_connection), (Some(frame.id()), false));
        }
    }
}

/// Responses of the native protocol.
pub(crate) fn native_response(bytes: &[u8]) {
    let Some(frame) = frame_of(bytes) else { return };
    let Ok((id, outcome)) = decode_response(frame) else { return };
    match &outcome {
        Outcome::Done(Reply::Batch(outcomes)) => {
            assert_eq!(outcomes.items().count(), outcomes.count() as usize);
        }
        Outcome::Done(Reply::Page { keys, .. }) => assert_eq!(keys.list().count(), keys.count() as usize),
        _ => {}
    }
    is_canonical(frame, |out| encode_response(id, &outcome, out));
}

/// What nodes say to each other.
pub(crate) fn peer_message(bytes: &[u8]) {
    let Some(frame) = frame_of(bytes) else { return };
    match decode_peer(frame, &LIMITS) {
        Ok(PeerMessage::Inquiry(inquiry)) => {
            assert!(inquiry.key.len() <= LIMITS.key_bytes_max as usize);
            is_canonical(frame, |out| encode_inquiry(&inquiry, out));
        }
        Ok(PeerMessage::Proposal(proposal)) => is_canonical(frame, |out| encode_proposal(&proposal, out)),
        Ok(PeerMessage::Fetch(fetch)) => is_canonical(frame, |out| encode_fetch(&fetch, out)),
        Ok(PeerMessage::List(list)) => is_canonical(frame, |out| encode_list(&list, out)),
        Ok(PeerMessage::Listing(listing)) => is_canonical(frame, |out| {
            let mut writer = PageWriter::begin_listing(listing.operation, listing.keys, out);
            listing.cells.iter().for_each(|(key, cell)| writer.push_key(key, &cell));
            writer.finish_listing(listing.next);
        }),
        Ok(PeerMessage::Page(page)) => is_canonical(frame, |out| {
            let mut writer = PageWriter::begin(page.operation, page.latest, out);
            page.cells.iter().for_each(|(key, cell)| writer.push(key, &cell));
            writer.finish(page.next);
        }),
        Ok(PeerMessage::Answer(answer)) => is_canonical(frame, |out| encode_answer(&answer, out)),
        Ok(PeerMessage::Acknowledgement(many)) => is_canonical(frame, |out| {
            let mut writer = AnswerWriter::default();
            many.answers().for_each(|answer| writer.write(&answer, out));
        }),
        Ok(PeerMessage::Heartbeat(heartbeat)) => {
            is_canonical(frame, |out| encode_heartbeat(heartbeat, out));
        }
        Err(error) => assert!(error.ends_connection),
    }
}

/// Who is alive: headers, and members.
pub(crate) fn gossip(bytes: &[u8]) {
    let mut rest = bytes;
    if let Ok(header) = GossipCodec.decode_header(&mut rest) {
        let mut again = Vec::new();
        GossipCodec.encode_header(&header, &mut again).expect("a vector has room");
        assert_eq!(again, bytes[..bytes.len() - rest.len()]);
    }
    let mut rest = bytes;
    while let before = rest
        && let Ok(member) = GossipCodec.decode_member(&mut rest)
    {
        let mut again = Vec::new();
        GossipCodec.encode_member(&member, &mut again).expect("a vector has room");
        assert_eq!(again, before[..MEMBER_BYTES]);
        assert_eq!(rest.len() + MEMBER_BYTES, before.len());
    }
    // The machine that reads it knows the nodes that are easily spoken of, and is never the worse for it.
    let own = Peer::new(NodeNumber(0), Incarnation(0));
    let mut machine = Membership::new(own, MembershipConfig::default(), GossipCodec, 1, Timestamp(0));
    let peers = [1, 2].map(|node| Peer::new(NodeNumber(node), Incarnation(0)));
    let mut out = Vec::new();
    machine.handle(Timestamp(0), Input::Members(&peers), &mut out);
    machine.handle(Timestamp(1), Input::Message { from: NodeNumber(1), bytes }, &mut out);
    while let Some(due) = machine.next_timeout().filter(|due| due.0 < 1_000_000_000) {
        machine.handle_timeout(due, &mut out);
    }
    assert!(machine.backlog() < 32 && out.len() < 256, "{} and {}", machine.backlog(), out.len());
}

/// How connections open: clients', and nodes'.
pub(crate) fn openings(bytes: &[u8]) {
    if let Some(opening) = bytes.first_chunk::<PREAMBLE_BYTES>() {
        if let Ok(preamble) = decode_preamble(*opening) {
            assert_eq!(encode_preamble(preamble), *opening);
        }
        if let Ok(greeting) = decode_greeting(*opening) {
            assert_eq!(decode_greeting(encode_greeting(greeting)), Ok(greeting));
        }
    }
    if let Some(opening) = bytes.first_chunk::<HANDSHAKE_BYTES>()
        && let Ok(handshake) = decode_handshake(opening)
    {
        assert_eq!(encode_handshake(&handshake), *opening);
    }
}

/// What control threads say to each other: a frame.
pub(crate) fn control(bytes: &[u8]) {
    let Ok(Split::Frame(frame)) = split_frame(bytes, &LIMITS) else { return };
    let Ok(message) = decode_control(frame) else { return };
    let mut again = Vec::new();
    encode_control(&message, &mut again);
    let Ok(Split::Frame(frame)) = split_frame(&again, &Limits::default()) else { panic!("it was encoded") };
    assert_eq!(decode_control(frame), Ok(message));
}

/// A node's metadata: as they are, and as the content of a sound header, which nobody finds by chance.
pub(crate) fn metadata(bytes: &[u8]) {
    for bytes in [bytes, &seal(bytes, 7)] {
        if let Ok((metadata, sequence)) = decode_metadata(bytes) {
            assert_eq!(decode_metadata(&encode_metadata(&metadata, sequence)), Ok((metadata, sequence)));
        }
    }
}

/// Patterns of keys: the first byte says how much of the rest is the pattern.
pub(crate) fn glob_pattern(bytes: &[u8]) {
    let Some((&length, rest)) = bytes.split_first() else { return };
    let (pattern, text) = rest.split_at(usize::from(length).min(rest.len()));
    let matched = glob::matches(pattern, text);
    if !pattern.iter().any(|byte| b"*?[\\".contains(byte)) {
        assert_eq!(matched, pattern == text, "without wildcards it is a comparison");
    }
    let literal: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
    assert!(glob::matches(&literal, text), "what is meant literally matches itself");
    // A star before a pattern matches whatever it matched, and any text in front of it.
    let anywhere = [b"*", pattern].concat();
    let longer = [b"front", text].concat();
    assert!(!matched || (glob::matches(&anywhere, text) && glob::matches(&anywhere, &longer)));
}

/// Numbers that clients write.
pub(crate) fn numbers(bytes: &[u8]) {
    if let Some(number) = operation::parse_integer(bytes) {
        assert_eq!(number.to_string().as_bytes(), bytes, "there is one way to write a number");
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(number) = text.parse::<i64>()
        && number.to_string() == text
    {
        assert_eq!(operation::parse_integer(bytes), Some(number));
    }
    let mut sum = String::new();
    let added = operation::increment_float(None, bytes, 1 << 10, &mut sum).is_ok();
    if added {
        // What was written is read as what it is: adding nothing changes nothing any more.
        let mut once = String::new();
        assert!(operation::increment_float(None, sum.as_bytes(), 1 << 10, &mut once).is_ok(), "{sum}");
        assert_eq!(once, sum);
    }
    let (start, end) = (bytes.len() as i64 - 5, 3 - bytes.len() as i64);
    assert!(operation::range(bytes, start, end).len() <= bytes.len());
}
