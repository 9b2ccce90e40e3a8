//! Whoever is not a node of the cluster, at the port that is for nodes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::time::Duration;

use annulus::protocol::handshake::{
    HANDSHAKE_BYTES, Handshake, LinkRefusal, Purpose, decode_handshake, encode_handshake,
};
use annulus::types::{ClusterId, NodeNumber, RunId};

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
    for node in &cluster.nodes {
        assert_serves(node.address);
    }
}

#[test]
fn silence_at_the_port_for_nodes_ends_in_time() {
    let cluster = Cluster::start(3);
    assert!(say(cluster.peer(1), b"").is_empty());
}
