//! What fuzzing begins with, for each decoder.

use annulus::message::consensus::{self, Change, Electorate, Entry, Image, Kind, Role, Snapshot};
use annulus::message::control::{Control, TimeTold, Told};
use annulus::message::gossip::Peer;
use annulus::message::metadata::Metadata;
use annulus::message::peer::{Answer, Cell, Content, Inquiry, Obstacle, OperationId, Task, Verdict};
use annulus::message::topology::{Command, Denial, Entrance, Setting, Settings, Topology};
use annulus::message::{Condition, Envelope, ExpiryChange, Outcome, Refusal, Reply, Request, RequestId};
use annulus::protocol::client::{RequestBatchWriter, encode_request, encode_response};
use annulus::protocol::control::encode_control;
use annulus::protocol::gossip::GossipCodec;
use annulus::protocol::handshake::{Handshake, LinkRefusal, Purpose, encode_handshake};
use annulus::protocol::metadata::{METADATA_HEADER_BYTES, encode_metadata};
use annulus::protocol::peer::{Heartbeat, encode_answer, encode_heartbeat, encode_inquiry};
use annulus::protocol::preamble::{Greeting, Preamble, encode_greeting, encode_preamble};
use annulus::types::{ClusterId, Epoch, Incarnation, Level, NodeNumber, RunId, Version, WallTime};
use foca::{Codec, Header, Member, Message, State};

pub(crate) fn inputs() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("resp_request", resp()),
        ("native_request", requests()),
        ("native_response", responses()),
        ("peer_message", messages()),
        ("gossip", gossip()),
        ("control", control()),
        ("metadata", vec![metadata()]),
        ("openings", openings()),
        ("glob_pattern", patterns()),
        ("numbers", numbers()),
    ]
}

fn gossip() -> Vec<Vec<u8>> {
    let [own, one, other] = [0, 1, 2].map(|node| Peer::new(NodeNumber(node), Incarnation(0)));
    let messages = [
        Message::Ping(1),
        Message::Ack(1),
        Message::PingReq { target: other, probe_number: 1 },
        Message::IndirectPing { origin: other, probe_number: 1 },
        Message::IndirectAck { target: other, probe_number: 1 },
        Message::ForwardedAck { origin: other, probe_number: 1 },
        Message::Announce,
        Message::Feed,
        Message::Gossip,
        Message::TurnUndead,
    ];
    let members = [State::Alive, State::Suspect, State::Down]
        .into_iter()
        .flat_map(|state| [own, other].map(|peer| Member::new(peer, 1, state)));
    let mut news = Vec::from(6_u16.to_be_bytes());
    for member in members {
        GossipCodec.encode_member(&member, &mut news).expect("a vector has room");
    }
    let mut inputs = vec![news[2..].to_vec()];
    for message in messages {
        let mut bytes = Vec::new();
        let header = Header { src: one, src_incarnation: 1, dst: own, message };
        GossipCodec.encode_header(&header, &mut bytes).expect("a vector has room");
        inputs.push([&bytes[..], &news].concat());
        inputs.push(bytes);
    }
    inputs
}

fn a_snapshot() -> Snapshot {
    let settings =
        Settings { replication_factor: 3, opens_with: 1, drift_max_ms: 500, operation_timeout_ms: 1000 };
    let topology = Topology::new(ClusterId(7), 8, settings);
    let founded = Image::founding(topology, Entrance { was: None, replaces: false, ..an_entrance() })
        .expect("a founder");
    let [one, two, three] = [1, 2, 3].map(NodeNumber);
    let electorate = Electorate {
        voters: vec![one, two],
        learners: vec![three],
        voters_outgoing: vec![one],
        learners_next: vec![],
        auto_leave: true,
    };
    Snapshot { electorate, ..founded.snapshot }
}

fn an_entrance() -> Entrance {
    let address = "127.0.0.1:7500".parse().expect("an address");
    Entrance {
        name: "n1".parse().expect("a name"),
        run: RunId(std::num::NonZeroU64::MIN),
        was: Some(NodeNumber(1)),
        keeps_data: false,
        replaces: true,
        peer_address: address,
        client_address: address,
        zone: "z".parse().expect("a name"),
        virtual_nodes: 4,
    }
}

fn entries() -> Vec<Entry> {
    let command = Command::Set(Setting::DriftMaxMs(7));
    let roles = vec![(Role::Voter, NodeNumber(2)), (Role::Gone, NodeNumber(3))];
    let changes = [Change::Nothing, Change::Topology(command), Change::Voters(roles)];
    let entry = |(index, change)| Entry { term: 2, index, change };
    (2..).zip(changes).map(entry).collect()
}

fn metadata() -> Vec<u8> {
    let name = "n1".parse().expect("a name");
    let image =
        Image { term: 2, vote: Some(NodeNumber(1)), commit: 3, snapshot: a_snapshot(), entries: entries() };
    let whole = encode_metadata(&Metadata { name, number: NodeNumber(1), ceiling: WallTime(5), image }, 1);
    // The property puts a header in front.
    whole[METADATA_HEADER_BYTES..].to_vec()
}

fn control() -> Vec<Vec<u8>> {
    let message = |kind, entries, snapshot| {
        Control::Consensus(Box::new(consensus::Message {
            kind,
            from: NodeNumber(1),
            to: NodeNumber(2),
            term: 2,
            index: 1,
            log_term: 1,
            commit: 1,
            commit_term: 1,
            reject: false,
            reject_hint: 0,
            request_snapshot: 0,
            priority: -1,
            context: vec![1],
            entries,
            snapshot,
        }))
    };
    let time = TimeTold { asked_at: WallTime(1), answered_at: Some(WallTime(2)) };
    let denied = Told::Denied(Denial::NameTaken("n1".parse().expect("a name")));
    let said = [
        Control::Gossip(vec![1, 2, 3]),
        message(Kind::Append, entries(), None),
        message(Kind::Snapshot, vec![], Some(a_snapshot())),
        message(Kind::Vote, vec![], None),
        Control::Ask(Box::new(Command::Enter(an_entrance()))),
        Control::Ask(Box::new(Command::Remove { node: NodeNumber(2) })),
        Control::Told(Box::new(Told::Done(a_snapshot().topology))),
        Control::Told(Box::new(Told::Elsewhere("127.0.0.1:7500".parse().expect("an address")))),
        Control::Told(Box::new(denied)),
        Control::Time(time),
    ];
    let encode = |control: &Control| {
        let mut input = Vec::new();
        encode_control(control, &mut input);
        input
    };
    said.iter().map(encode).collect()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn resp() -> Vec<Vec<u8>> {
    texts(&[
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*1\r\n$0\r\n\r\n",
        "*2\r\n$3\r\nGET\r\n$9999999999\r\n",
        "*1000000\r\n$1\r\na\r\n",
        "PING\r\n",
        "set \"a\\x00\\n\" 'b\\'c' plain\n",
        "set \"open\r\n",
        "\r\n",
        "*1\r\n:5\r\n",
        "*01\r\n$4\r\nPING\r\n",
    ])
}

fn requests() -> Vec<Vec<u8>> {
    let id = RequestId(7);
    let (key, value) = (&b"key"[..], &b"value"[..]);
    let put = |condition, expiry| Request::Put { key, value, condition, expiry };
    let list = [
        Request::Ping,
        Request::Authenticate { password: b"secret" },
        Request::Stats,
        Request::Cluster,
        Request::Scan { cursor: 1 << 40, count: 10 },
        Request::Get { key },
        Request::GetRange { key, start: -3, end: 2 },
        put(Condition::Always, ExpiryChange::Clear),
        put(Condition::Absent, ExpiryChange::AfterMs(5)),
        put(Condition::VersionIs(Version::default()), ExpiryChange::At(WallTime(9))),
        Request::Remove { key, condition: Condition::Present },
        Request::Increment { key, delta: -1 },
        Request::Append { key, value },
        Request::Expire { key, expiry: ExpiryChange::Keep },
    ];
    let mut inputs: Vec<Vec<u8>> = Vec::new();
    let mut batch = Vec::new();
    let mut writer = RequestBatchWriter::begin(id, Some(Level::All), &mut batch);
    for request in list {
        let envelope = Envelope { id, level: Some(Level::Quorum), request };
        let mut input = Vec::new();
        encode_request(&envelope, &mut input);
        inputs.push(input);
        if matches!(request, Request::Get { .. } | Request::Put { .. }) {
            writer.push(&Envelope { id, level: None, request }, &mut batch);
        }
    }
    writer.finish(&mut batch);
    inputs.push(batch);
    inputs
}

fn responses() -> Vec<Vec<u8>> {
    let version = Version::default();
    let outcomes = [
        Outcome::Done(Reply::Pong),
        Outcome::Done(Reply::Absent),
        Outcome::Done(Reply::Value { version, expires_at: Some(WallTime(5)), value: b"value" }),
        Outcome::Done(Reply::Value { version, expires_at: None, value: b"" }),
        Outcome::Done(Reply::Written { version }),
        Outcome::Done(Reply::Removed { existed: true }),
        Outcome::Refused { reason: Refusal::OutOfMemory, message: "full" },
        Outcome::Refused { reason: Refusal::ConditionFailed { current: Some(version) }, message: "" },
        Outcome::Unknown { message: "late" },
    ];
    let encode = |outcome: &Outcome<'_>| {
        let mut input = Vec::new();
        encode_response(RequestId(3), outcome, &mut input);
        input
    };
    outcomes.iter().map(encode).collect()
}

fn messages() -> Vec<Vec<u8>> {
    let operation = OperationId { slot: 3, round: 9 };
    let version = Version::default();
    let contents = [
        Content::Value { value: b"value", expires_at: None },
        Content::Value { value: b"v", expires_at: Some(WallTime(77)) },
        Content::Expired,
        Content::Tombstone,
    ];
    let cells = contents.map(|content| Cell { version, content });
    let mut tasks = vec![Task::Read, Task::ReadVersion];
    let mut verdicts = vec![
        Verdict::Cell(None),
        Verdict::Summary(None),
        Verdict::Applied { existed: true },
        Verdict::Superseded { by: version },
        Verdict::Refused(Obstacle::Epoch(Epoch(4))),
        Verdict::Refused(Obstacle::Drift),
    ];
    for cell in cells {
        tasks.extend([Task::Write(cell), Task::Repair(cell)]);
        verdicts.extend([Verdict::Cell(Some(cell)), Verdict::Summary(Some(cell.summary()))]);
    }
    let mut inputs = Vec::new();
    for task in tasks {
        let mut input = Vec::new();
        encode_inquiry(
            &Inquiry { operation, epoch: Epoch(2), remaining_ms: 7, key: b"key", task },
            &mut input,
        );
        inputs.push(input);
    }
    for verdict in verdicts {
        let mut input = Vec::new();
        encode_answer(&Answer { operation, verdict }, &mut input);
        inputs.push(input);
    }
    for heartbeat in [Heartbeat::Call, Heartbeat::Response] {
        let mut input = Vec::new();
        encode_heartbeat(heartbeat, &mut input);
        inputs.push(input);
    }
    inputs
}

fn openings() -> Vec<Vec<u8>> {
    let handshake = |purpose| {
        let run = RunId(std::num::NonZeroU64::MAX);
        encode_handshake(&Handshake { purpose, cluster: ClusterId(1), node: NodeNumber(2), run }).to_vec()
    };
    vec![
        encode_preamble(Preamble { level: None }).to_vec(),
        encode_preamble(Preamble { level: Some(Level::Linearizable) }).to_vec(),
        encode_greeting(Greeting::Welcome { authentication_required: true }).to_vec(),
        encode_greeting(Greeting::VersionUnsupported { spoken: 1 }).to_vec(),
        handshake(Purpose::Hello),
        handshake(Purpose::Welcome),
        handshake(Purpose::Refused(LinkRefusal::Life)),
    ]
}

fn patterns() -> Vec<Vec<u8>> {
    let patterns = [
        ("*", "anything"),
        ("h?llo", "hello"),
        ("h[a-e]llo", "hello"),
        ("h[^e]llo", "hallo"),
        ("\\*", "*"),
        ("a*b*c*d", "aXbYcZd"),
        ("[", "["),
        ("*****************x", "aaaaaaaaaaaaaaaaaaaaaaaa"),
        ("[a-", "a"),
    ];
    let input = |(pattern, text): &(&str, &str)| {
        [&[pattern.len() as u8], pattern.as_bytes(), text.as_bytes()].concat()
    };
    patterns.iter().map(input).collect()
}

fn numbers() -> Vec<Vec<u8>> {
    texts(&[
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "+1",
        "01",
        "1.5",
        "-0.1e10",
        "0x1p3",
        "1e4932",
        "nan",
        "inf",
        "3.0000000000000000000000001",
        " 1",
        "1 ",
    ])
}
