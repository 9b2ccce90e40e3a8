//! Pins the bytes that nodes say to each other and keep on disk: a change that fails here makes nodes of before and
//! after unable to talk, or to read their metadata, and needs another version number.

#[path = "golden/bytes.rs"]
mod bytes_shown;

use annulus::message::Refusal;
use annulus::message::consensus::{
    Change, Electorate, Entry, Image, Kind as RaftKind, Message, Role, Snapshot,
};
use annulus::message::control::{Control, TimeTold, Told};
use annulus::message::metadata::Metadata;
use annulus::message::peer::{
    Answer, Cell, Content, Fetch, Inquiry, Kind, List, Obstacle, OperationId, Proposal, Rank, Summary, Task,
    Told as Became, Verdict,
};
use annulus::message::topology::{Command, Denial, Entrance, Setting, Settings, Topology};
use annulus::protocol::Limits;
use annulus::protocol::acknowledgement::AnswerWriter;
use annulus::protocol::control::{decode_control, encode_control};
use annulus::protocol::metadata::{decode_metadata, encode_metadata};
use annulus::protocol::page::{PageWriter, encode_fetch, encode_list};
use annulus::protocol::peer::{
    Heartbeat, PeerMessage, decode_peer, encode_answer, encode_heartbeat, encode_inquiry, encode_proposal,
};
use annulus::types::{
    ClusterId, Epoch, Incarnation, NodeNumber, RunId, Stamp, Token, Version, WallTime, WriterId,
};

use bytes_shown::{hex, only_frame};

const OPERATION: OperationId = OperationId { slot: 0x0201, round: 0x0403 };
const VERSION: Version = Version { stamp: Stamp(0x0198_C868_E500_0002), writer: WriterId(0x0401) };
const EXPIRES_AT: WallTime = WallTime(0x0198_C868_F000);

#[track_caller]
fn inquiry_is(task: Task<'_>, golden: &str) {
    let inquiry = Inquiry { operation: OPERATION, epoch: Epoch(5), remaining_ms: 1000, key: b"key", task };
    let mut out = Vec::new();
    encode_inquiry(&inquiry, &mut out);
    assert_eq!(hex(&out), golden, "{task:?}");
    assert_eq!(decode_peer(only_frame(&out), &Limits::default()), Ok(PeerMessage::Inquiry(inquiry)));
}

#[track_caller]
fn answer_is(verdict: Verdict<'_>, golden: &str) {
    let answer = Answer { operation: OPERATION, verdict };
    let mut out = Vec::new();
    encode_answer(&answer, &mut out);
    assert_eq!(hex(&out), golden, "{verdict:?}");
    assert_eq!(decode_peer(only_frame(&out), &Limits::default()), Ok(PeerMessage::Answer(answer)));
}

#[track_caller]
fn control_is(control: Control, golden: &str) {
    let mut out = Vec::new();
    encode_control(&control, &mut out);
    assert_eq!(hex(&out), golden, "{control:?}");
    assert_eq!(decode_control(only_frame(&out)), Ok(control));
}

fn cell(content: Content<'_>) -> Cell<'_> {
    Cell { version: VERSION, content }
}

#[test]
fn inquiries() {
    inquiry_is(
        Task::Read,
        "1B 00 00 00 01 00 E8 03 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 03 00 00 00 6B 65 79",
    );
    inquiry_is(
        Task::ReadVersion,
        "1B 00 00 00 02 00 E8 03 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 03 00 00 00 6B 65 79",
    );
    inquiry_is(
        Task::Write(cell(Content::Value { value: b"v", expires_at: Some(EXPIRES_AT) })),
        "30 00 00 00 03 02 E8 03 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 03 00 00 00 02 00 00 E5 \
        68 C8 98 01 01 04 00 00 00 F0 68 C8 98 01 00 00 6B 65 79 76",
    );
    inquiry_is(
        Task::Write(cell(Content::Tombstone)),
        "27 00 00 00 03 04 E8 03 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 03 00 00 00 02 00 00 E5 \
        68 C8 98 01 01 04 00 00 6B 65 79",
    );
    inquiry_is(
        Task::Repair(cell(Content::Value { value: b"v", expires_at: None })),
        "28 00 00 00 04 01 E8 03 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 03 00 00 00 02 00 00 E5 \
        68 C8 98 01 01 04 00 00 6B 65 79 76",
    );
    inquiry_is(
        Task::Repair(cell(Content::Expired)),
        "27 00 00 00 04 03 E8 03 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 03 00 00 00 02 00 00 E5 \
        68 C8 98 01 01 04 00 00 6B 65 79",
    );
}

#[test]
fn acknowledgements() {
    let (mut writer, mut out) = (AnswerWriter::default(), Vec::new());
    for slot in [0x0201, 0x0605] {
        let operation = OperationId { slot, ..OPERATION };
        writer.write(&Answer { operation, verdict: Verdict::Applied { existed: true } }, &mut out);
    }
    assert_eq!(hex(&out), "14 00 00 00 12 01 00 00 01 02 00 00 03 04 00 00 05 06 00 00 03 04 00 00");
}

#[test]
fn answers() {
    answer_is(Verdict::Cell(None), "0C 00 00 00 10 00 00 00 01 02 00 00 03 04 00 00");
    answer_is(
        Verdict::Cell(Some(cell(Content::Value { value: b"v", expires_at: None }))),
        "19 00 00 00 10 01 00 00 01 02 00 00 03 04 00 00 02 00 00 E5 68 C8 98 01 01 04 00 00 76",
    );
    let rank = Rank { version: VERSION, expired: false };
    let kind = Kind::Value { expires_at: Some(EXPIRES_AT) };
    answer_is(
        Verdict::Summary(Some(Summary { rank, kind })),
        "20 00 00 00 11 02 00 00 01 02 00 00 03 04 00 00 02 00 00 E5 68 C8 98 01 01 04 00 00 00 F0 68 C8 \
        98 01 00 00",
    );
    answer_is(Verdict::Applied { existed: true }, "0C 00 00 00 12 01 00 00 01 02 00 00 03 04 00 00");
    answer_is(
        Verdict::Superseded { by: VERSION },
        "18 00 00 00 13 00 00 00 01 02 00 00 03 04 00 00 02 00 00 E5 68 C8 98 01 01 04 00 00",
    );
    answer_is(
        Verdict::Refused(Obstacle::Epoch(Epoch(6))),
        "14 00 00 00 14 01 00 00 01 02 00 00 03 04 00 00 06 00 00 00 00 00 00 00",
    );
    answer_is(Verdict::Refused(Obstacle::Drift), "0C 00 00 00 14 02 00 00 01 02 00 00 03 04 00 00");
    answer_is(Verdict::Refused(Obstacle::OutOfMemory), "0C 00 00 00 14 03 00 00 01 02 00 00 03 04 00 00");
    answer_is(Verdict::Refused(Obstacle::NotServing), "0C 00 00 00 14 04 00 00 01 02 00 00 03 04 00 00");
    answer_is(Verdict::Refused(Obstacle::Overdue), "0C 00 00 00 14 05 00 00 01 02 00 00 03 04 00 00");
}

#[test]
fn agreement() {
    inquiry_is(
        Task::Prepare { ballot: VERSION, whole: true },
        "27 00 00 00 06 01 E8 03 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 03 00 00 00 02 00 00 E5 \
        68 C8 98 01 01 04 00 00 6B 65 79",
    );
    let value = cell(Content::Value { value: b"v", expires_at: None });
    inquiry_is(
        Task::Accept { cell: value, next: None },
        "34 00 00 00 07 01 E8 03 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00 \
        00 00 00 00 00 00 00 00 02 00 00 E5 68 C8 98 01 01 04 00 00 6B 65 79 76",
    );
    inquiry_is(
        Task::Accept { cell: cell(Content::Tombstone), next: Some(VERSION) },
        "33 00 00 00 07 04 E8 03 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 03 00 00 00 02 00 00 E5 \
        68 C8 98 01 01 04 00 00 02 00 00 E5 68 C8 98 01 01 04 00 00 6B 65 79",
    );
    answer_is(Verdict::Accepted { rides: true }, "0C 00 00 00 16 01 00 00 01 02 00 00 03 04 00 00");
    answer_is(Verdict::Told(Became::Done(b":1")), "0E 00 00 00 17 00 00 00 01 02 00 00 03 04 00 00 3A 31");
    answer_is(Verdict::Told(Became::Unknown), "0C 00 00 00 17 01 00 00 01 02 00 00 03 04 00 00");
    answer_is(
        Verdict::Told(Became::Refused(Refusal::Unavailable)),
        "0C 00 00 00 17 02 00 00 01 02 00 00 03 04 00 00",
    );
    answer_is(Verdict::Refused(Obstacle::NotPromised), "0C 00 00 00 14 06 00 00 01 02 00 00 03 04 00 00");
    answer_is(Verdict::Refused(Obstacle::Promised), "0C 00 00 00 14 07 00 00 01 02 00 00 03 04 00 00");
    let epoch = Epoch(5);
    let proposal = Proposal { operation: OPERATION, epoch, remaining_ms: 9, key: b"key", change: Some(b"c") };
    let mut out = Vec::new();
    encode_proposal(&proposal, &mut out);
    assert_eq!(
        hex(&out),
        "1C 00 00 00 08 01 09 00 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 03 00 00 00 6B 65 79 63"
    );
}

#[test]
fn recovery() {
    let mut out = Vec::new();
    encode_fetch(&Fetch { operation: OPERATION, epoch: Epoch(5), from: Token(0x0706) }, &mut out);
    assert_eq!(
        hex(&out),
        "1C 00 00 00 09 00 00 00 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 06 07 00 00 00 00 00 00"
    );
    let mut out = Vec::new();
    let mut page = PageWriter::begin(OPERATION, WallTime(6), &mut out);
    page.push(b"key", &cell(Content::Value { value: b"v", expires_at: Some(EXPIRES_AT) }));
    page.push(b"k", &cell(Content::Tombstone));
    page.finish(Some(Token(0x0908)));
    assert_eq!(
        hex(&out),
        "53 00 00 00 18 00 00 00 01 02 00 00 03 04 00 00 08 09 00 00 00 00 00 00 06 00 00 00 00 00 00 00 \
        02 03 00 00 00 01 00 00 00 02 00 00 E5 68 C8 98 01 01 04 00 00 00 F0 68 C8 98 01 00 00 6B 65 79 \
        76 04 01 00 00 00 00 00 00 00 02 00 00 E5 68 C8 98 01 01 04 00 00 6B"
    );
}

#[test]
fn listings() {
    let mut out = Vec::new();
    encode_list(&List { operation: OPERATION, epoch: Epoch(5), cursor: 0x0706, count: 9 }, &mut out);
    assert_eq!(
        hex(&out),
        "20 00 00 00 0A 00 00 00 01 02 00 00 03 04 00 00 05 00 00 00 00 00 00 00 06 07 00 00 00 00 00 00 \
        09 00 00 00"
    );
    let mut out = Vec::new();
    let mut listing = PageWriter::begin_listing(OPERATION, 6, &mut out);
    listing.push_key(b"key", &cell(Content::Value { value: b"v", expires_at: Some(EXPIRES_AT) }));
    listing.finish_listing(0x0908);
    assert_eq!(
        hex(&out),
        "3C 00 00 00 19 00 00 00 01 02 00 00 03 04 00 00 08 09 00 00 00 00 00 00 06 00 00 00 00 00 00 00 \
        02 03 00 00 00 00 00 00 00 02 00 00 E5 68 C8 98 01 01 04 00 00 00 F0 68 C8 98 01 00 00 6B 65 79"
    );
}

#[test]
fn heartbeats() {
    for (heartbeat, golden) in [
        (Heartbeat::Call, "0C 00 00 00 05 00 00 00 00 00 00 00 00 00 00 00"),
        (Heartbeat::Response, "0C 00 00 00 15 00 00 00 00 00 00 00 00 00 00 00"),
    ] {
        let mut out = Vec::new();
        encode_heartbeat(heartbeat, &mut out);
        assert_eq!(hex(&out), golden);
    }
}

fn entrance() -> Entrance {
    Entrance {
        name: "n1".parse().expect("a name"),
        run: RunId(0x0102.try_into().expect("not zero")),
        was: Some(NodeNumber(1)),
        keeps_data: false,
        replaces: false,
        peer_address: "127.0.0.1:7500".parse().expect("an address"),
        client_address: "[::1]:7400".parse().expect("an address"),
        zone: "a".parse().expect("a name"),
        virtual_nodes: 256,
    }
}

fn topology() -> Topology {
    let settings =
        Settings { replication_factor: 3, opens_with: 1, drift_max_ms: 500, operation_timeout_ms: 1000 };
    let mut topology = Topology::new(ClusterId(7), 8, settings);
    topology.apply(&Command::Enter(Entrance { was: None, ..entrance() })).expect("it may enter");
    topology
}

fn image() -> Image {
    let electorate = Electorate { voters: vec![NodeNumber(1)], ..Electorate::default() };
    let snapshot = Snapshot { index: 9, term: 2, electorate, topology: topology() };
    let change = Change::Voters(vec![(Role::Learner, NodeNumber(2))]);
    let entries = vec![Entry { term: 3, index: 10, change }];
    Image { term: 3, vote: Some(NodeNumber(1)), commit: 9, snapshot, entries }
}

#[test]
fn control_messages() {
    control_is(Control::Gossip(vec![1, 2]), "0A 00 00 00 40 00 00 00 00 00 00 00 01 02");
    control_is(
        Control::Ask(Box::new(Command::Enter(entrance()))),
        "30 00 00 00 42 00 00 00 00 00 00 00 00 02 6E 31 82 02 01 01 00 00 00 7F 00 00 01 CC 3A 01 00 00 \
        00 00 00 00 00 00 00 00 00 00 00 00 00 01 E8 39 01 61 80 02",
    );
    control_is(
        Control::Ask(Box::new(Command::Set(Setting::DriftMaxMs(500)))),
        "0C 00 00 00 42 00 00 00 00 00 00 00 01 00 F4 03",
    );
    control_is(
        Control::Ask(Box::new(Command::Remove { node: NodeNumber(3) })),
        "0A 00 00 00 42 00 00 00 00 00 00 00 03 03",
    );
    control_is(
        Control::Told(Box::new(Told::Done(topology()))),
        "43 00 00 00 43 00 00 00 00 00 00 00 00 07 08 02 01 00 03 01 F4 03 E8 07 03 00 01 01 02 6E 31 01 \
        82 02 00 7F 00 00 01 CC 3A 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 E8 39 00 80 02 01 \
        02 00 01 01 61 02 02",
    );
    control_is(Control::Told(Box::new(Told::Later)), "09 00 00 00 43 00 00 00 00 00 00 00 01");
    control_is(
        Control::Told(Box::new(Told::Elsewhere("127.0.0.1:7501".parse().expect("an address")))),
        "10 00 00 00 43 00 00 00 00 00 00 00 02 00 7F 00 00 01 CD 3A",
    );
    control_is(
        Control::Told(Box::new(Told::Denied(Denial::NumbersSpent))),
        "0A 00 00 00 43 00 00 00 00 00 00 00 03 05",
    );
    let answered_at = Some(WallTime(0x0300));
    control_is(
        Control::Time(TimeTold { asked_at: WallTime(0x0200), answered_at }),
        "0D 00 00 00 44 00 00 00 00 00 00 00 80 04 01 80 06",
    );
    let message = Message {
        kind: RaftKind::Append,
        from: NodeNumber(1),
        to: NodeNumber(2),
        term: 3,
        index: 9,
        log_term: 2,
        commit: 9,
        commit_term: 0,
        reject: false,
        reject_hint: 0,
        request_snapshot: 0,
        priority: 0,
        context: vec![5],
        entries: image().entries,
        snapshot: None,
    };
    control_is(
        Control::Consensus(Box::new(message)),
        "1E 00 00 00 41 00 00 00 00 00 00 00 00 01 02 03 09 02 09 00 00 00 00 00 01 05 01 03 0A 02 01 01 \
        02 00",
    );
}

#[test]
fn movements() {
    let node = NodeNumber(3);
    let comes = [node].into();
    control_is(
        Control::Ask(Box::new(Command::Move { comes, copies: 3 })),
        "0C 00 00 00 42 00 00 00 00 00 00 00 04 01 03 03",
    );
    let (incarnation, heard) = (Incarnation(4), WallTime(0x0300));
    control_is(
        Control::Ask(Box::new(Command::Recovered { node, incarnation, heard })),
        "0D 00 00 00 42 00 00 00 00 00 00 00 02 03 04 80 06",
    );
    control_is(
        Control::Ask(Box::new(Command::Filled { node, incarnation, since: Epoch(5), heard })),
        "0E 00 00 00 42 00 00 00 00 00 00 00 05 03 04 05 80 06",
    );
    control_is(
        Control::Ask(Box::new(Command::CallOff { since: Epoch(5) })),
        "0A 00 00 00 42 00 00 00 00 00 00 00 06 05",
    );
    control_is(
        Control::Ask(Box::new(Command::Revoke { nodes: [node].into() })),
        "0B 00 00 00 42 00 00 00 00 00 00 00 07 01 03",
    );
}

#[test]
fn metadata() {
    let name = "n1".parse().expect("a name");
    let metadata = Metadata { name, number: NodeNumber(1), ceiling: WallTime(5), image: image() };
    let bytes = encode_metadata(&metadata, 9);
    assert_eq!(
        hex(&bytes),
        "41 4E 4E 55 4C 55 53 4D 04 00 00 00 52 00 00 00 7C C9 6D 03 CE 63 2B 94 09 00 00 00 00 00 00 00 \
        02 6E 31 01 05 03 01 01 09 09 02 01 01 00 00 00 00 07 08 02 01 00 03 01 F4 03 E8 07 03 00 01 01 \
        02 6E 31 01 82 02 00 7F 00 00 01 CC 3A 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 E8 39 \
        00 80 02 01 02 00 01 01 61 02 02 01 03 0A 02 01 01 02"
    );
    assert_eq!(decode_metadata(&bytes), Ok((metadata, 9)));
}
