//! Whoever is not a node of the cluster, at the port that is for nodes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::process::{Command, Stdio};
use std::time::Duration;

use annulus::message::control::{Control, TimeTold};
use annulus::protocol::Limits;
use annulus::protocol::control::{decode_control, encode_control};
use annulus::protocol::frame::{Split, split_frame};
use annulus::protocol::handshake::{
    HANDSHAKE_BYTES, Handshake, LinkRefusal, Purpose, decode_handshake, encode_handshake,
};
use annulus::types::{ClusterId, NodeNumber, RunId, WallTime};

use crate::harness::assert_serves;
use crate::nodes::Cluster;

/// Says `bytes` at the port for nodes and returns all that is answered until the node closes.
fn say(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn strangers_are_told_what_is_wrong_and_do_no_harm() {
    let cluster = Cluster::start(3);
    let peer = cluster.peer(0);
    let handshake = |cluster, node, run| Handshake {
        purpose: Purpose::Hello,
        cluster: ClusterId(cluster),
        node: NodeNumber(node),
        run: RunId(NonZeroU64::new(run).unwrap()),
    };
    let refusal = |bytes: &[u8]| {
        let answer: [u8; HANDSHAKE_BYTES] = say(peer, bytes).try_into().expect("one introduction");
        decode_handshake(&answer).unwrap()
    };
    let stranger = refusal(&encode_handshake(&handshake(7, 1, 1)));
    assert_eq!(stranger.purpose, Purpose::Refused(LinkRefusal::Cluster));
    let id = stranger.cluster.0;
    for (node, run, reason) in
        [(1, 1, LinkRefusal::Node), (9, 1, LinkRefusal::Node), (2, 1, LinkRefusal::Life)]
    {
        let answer = refusal(&encode_handshake(&handshake(id, node, run)));
        assert_eq!(answer.purpose, Purpose::Refused(reason));
    }
    let mut other_version = encode_handshake(&handshake(id, 1, 1));
    other_version[4] = 99;
    assert_eq!(refusal(&other_version).purpose, Purpose::Refused(LinkRefusal::Version));
    let mut random = fastrand::Rng::with_seed(4);
    assert!(say(peer, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n    ").is_empty());
    for length in [32, 100, 10_000] {
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        assert!(say(peer, &noise).is_empty());
    }
    // Whoever wants to join may speak of the cluster, and of nothing else, at no length it likes.
    let join = Handshake { purpose: Purpose::Join, ..handshake(0, 0, 5) };
    let oversize = [&u32::MAX.to_le_bytes()[..], &[0; 64]].concat();
    let mut stream = TcpStream::connect(peer).unwrap();
    stream.write_all(&encode_handshake(&join)).unwrap();
    let mut welcome = [0; HANDSHAKE_BYTES];
    stream.read_exact(&mut welcome).unwrap();
    assert_eq!(decode_handshake(&welcome).unwrap().purpose, Purpose::Welcome);
    stream.write_all(&oversize).unwrap();
    assert!(!matches!(stream.read(&mut welcome), Ok(1..)), "it is the end");
    assert!(say(peer, &[&encode_handshake(&join)[..], &oversize].concat()).is_empty());
    for words in [
        &["closed a link", "belongs to another cluster"][..],
        &["closed a link", "no other node of the cluster"],
        &["closed a link", "another life of it"],
        &["closed a link", "another version of the protocol"],
        &["closed a link", "no message between nodes", "magic"],
        &[
            "closed a link of a process that was to join",
            "no message between nodes",
            "frame length",
            "too large",
        ],
        &["closed a link", "before it was welcome"],
    ] {
        cluster.logs(0, words);
    }
    for node in &cluster.nodes {
        assert_serves(node.address);
    }
}

#[test]
fn a_stranger_that_speaks_of_the_cluster_is_refused_with_a_line() {
    let cluster = Cluster::start(1);
    let control = Handshake {
        purpose: Purpose::Control,
        cluster: ClusterId(7),
        node: NodeNumber(3),
        run: RunId(NonZeroU64::MIN),
    };
    let answer: [u8; HANDSHAKE_BYTES] = say(cluster.peer(0), &encode_handshake(&control)).try_into().unwrap();
    let refused = decode_handshake(&answer).unwrap();
    assert_eq!(refused.purpose, Purpose::Refused(LinkRefusal::Cluster));
    cluster.logs(0, &["closed a link of what says that it is node 3", "another cluster", "--join"]);
    assert_serves(cluster.nodes[0].address);
}

#[test]
fn silence_at_the_port_for_nodes_ends_in_time() {
    let cluster = Cluster::start(3);
    assert!(say(cluster.peer(1), b"").is_empty());
    cluster.logs(1, &["closed a link", "did not introduce itself in time"]);
}

#[test]
fn a_node_whose_clock_is_an_hour_off_is_not_let_in_and_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let seed = listener.local_addr().unwrap().to_string();
    let directory = std::env::temp_dir().join(format!("annulus-wrong-clock-{}", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_annulus"));
    command.args([
        "node",
        "--listen",
        "127.0.0.1:0",
        "--peer-listen",
        "127.0.0.1:0",
        "--id",
        "n2",
        "--join",
        &seed,
    ]);
    command.arg("--data-dir").arg(&directory).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    // Somebody of a cluster whose clocks are an hour ahead of this machine's.
    let (mut stream, _) = listener.accept().unwrap();
    let mut introduction = [0; HANDSHAKE_BYTES];
    stream.read_exact(&mut introduction).unwrap();
    let theirs = decode_handshake(&introduction).unwrap();
    assert_eq!(theirs.purpose, Purpose::Join);
    let own = Handshake { purpose: Purpose::Welcome, cluster: ClusterId(1), node: NodeNumber(1), ..theirs };
    stream.write_all(&encode_handshake(&own)).unwrap();
    let mut question = vec![0; 256];
    let length = stream.read(&mut question).unwrap();
    let Ok(Split::Frame(frame)) = split_frame(&question[..length], &Limits::default()) else {
        panic!("a frame")
    };
    let Ok(Control::Time(TimeTold { asked_at, .. })) = decode_control(frame) else {
        panic!("it asks for the time")
    };
    let answered_at = Some(WallTime(asked_at.0 + 3_600_000));
    let mut answer = Vec::new();
    encode_control(&Control::Time(TimeTold { asked_at, answered_at }), &mut answer);
    stream.write_all(&answer).unwrap();
    let line = said.find(|line| line.contains("its clock is")).expect("it says why");
    assert!(line.contains("s ahead of this one's: correct the one that is wrong"), "{line}");
    assert_eq!(child.try_wait().unwrap(), None, "it tries on");
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
}
