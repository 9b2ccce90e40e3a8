//! The node as redis-rs sees it, the client of most Rust programs: every family of commands in RESP2 and RESP3,
//! pipelines, values of all kinds and sizes, many connections, a password, and a node that restarts.
//!
//! The commands and what they answer are the table that all clients are tested with, tests/clients/commands.txt.

// The functions that tests share are tests too, which the lint cannot know; they measure real time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, dead_code)]

#[path = "../node/harness.rs"]
mod harness;
mod table;

use std::path::Path;
use std::process::{Command, Stdio};

use redis::{Client, Commands, Connection, IntoConnectionInfo, ProtocolVersion, RedisResult, Value};

use crate::harness::{Process, node};
use crate::table::{Entry, entries};

/// The largest value of a node with default settings.
const VALUE_BYTES_MAX: usize = 16 << 20;
const PIPELINE: usize = 10_000;

fn client(address: std::net::SocketAddr, protocol: ProtocolVersion, password: Option<&str>) -> Client {
    let info = (address.ip().to_string(), address.port()).into_connection_info().unwrap();
    let mut settings = info.redis_settings().clone().set_protocol(protocol);
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    Client::open(info.set_redis_settings(settings)).unwrap()
}

fn command(words: &[impl AsRef<[u8]>]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word.as_ref());
    }
    command
}

#[test]
fn every_family_of_commands() {
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let node = node(|_| ());
        let mut connection = client(node.address(), protocol, None).get_connection().unwrap();
        let mut seen = 0;
        for Entry { family, command: line, expected } in entries() {
            let reply = command(&line.split(' ').collect::<Vec<_>>()).query::<Value>(&mut connection);
            assert!(expected.fits(&reply), "{protocol:?}, {family}: {line}: {reply:?}, not {expected:?}");
            seen += 1;
        }
        assert!(seen > 200, "the table has only {seen} commands");
    }
}

#[test]
fn typed_commands() {
    let node = node(|_| ());
    let mut connection =
        Client::open(format!("redis://{}", node.address())).unwrap().get_connection().unwrap();
    let _: () = connection.set("text", "été").unwrap();
    let _: () = connection.set_ex("number", 41, 100).unwrap();
    assert_eq!(connection.incr::<_, _, i64>("number", 1).unwrap(), 42);
    assert!((99..=100).contains(&connection.ttl::<_, i64>("number").unwrap()));
    let values: (String, i64, Option<String>) = connection.mget(&["text", "number", "gone"]).unwrap();
    assert_eq!(values, ("été".into(), 42, None));
    assert!(!connection.mset_nx::<_, _, bool>(&[("new", 1), ("text", 2)]).unwrap());
    let found: Vec<String> = connection.scan_match("num*").unwrap().collect::<RedisResult<_>>().unwrap();
    assert_eq!(found, ["number"]);
    let refused = connection.incr::<_, _, i64>("text", 1).unwrap_err();
    assert_eq!(refused.detail(), Some("value is not an integer or out of range"));
    let refused = connection.lpush::<_, _, i64>("list", 1).unwrap_err();
    assert!(refused.detail().unwrap().contains("lists are not offered"), "{refused}");
    let refused = redis::cmd("MULTI").query::<()>(&mut connection).unwrap_err();
    assert!(refused.to_string().contains("transactions are not offered"), "{refused}");
    assert_eq!(redis::cmd("PING").query::<String>(&mut connection).unwrap(), "PONG");
}

#[test]
fn values_of_all_kinds_and_sizes() {
    let node = node(|_| ());
    let mut connection = client(node.address(), ProtocolVersion::RESP3, None).get_connection().unwrap();
    let pattern: Vec<u8> = (0..=255).cycle().take(VALUE_BYTES_MAX).collect();
    for size in [0, 1, 1023, 1025, 65_537, VALUE_BYTES_MAX] {
        let _: () = connection.set(b"\x00\xff\r\n$", &pattern[..size]).unwrap();
        assert!(connection.get::<_, Vec<u8>>(b"\x00\xff\r\n$").unwrap() == pattern[..size], "{size} bytes");
    }
}

#[test]
fn pipelines_and_many_connections() {
    let node = node(|_| ());
    let client = client(node.address(), ProtocolVersion::RESP2, None);
    let mut connection = client.get_connection().unwrap();
    let mut pipeline = redis::pipe();
    for index in 0..PIPELINE {
        pipeline.set(index, index).ignore().get(index);
    }
    let values: Vec<usize> = pipeline.query(&mut connection).unwrap();
    assert!(values.into_iter().eq(0..PIPELINE), "answers come in order");
    let mut others: Vec<Connection> = (0..50).map(|_| client.get_connection().unwrap()).collect();
    for round in 0..20_i64 {
        for (index, other) in others.iter_mut().enumerate() {
            assert_eq!(other.incr::<_, _, i64>("shared", 1).unwrap(), round * 50 + index as i64 + 1);
        }
    }
}

#[test]
fn a_connection_killed_is_closed() {
    let node = node(|_| ());
    let client = client(node.address(), ProtocolVersion::RESP3, None);
    let (mut killer, mut victim) = (client.get_connection().unwrap(), client.get_connection().unwrap());
    let id: String = redis::cmd("CLIENT").arg("ID").query(&mut victim).unwrap();
    let killed: i64 = redis::cmd("CLIENT").arg(&["KILL", "ID", &id]).query(&mut killer).unwrap();
    assert_eq!(killed, 1);
    let lost = redis::cmd("PING").query::<String>(&mut victim).unwrap_err();
    assert!(lost.is_connection_dropped(), "{lost}");
}

#[test]
fn a_password_and_a_restart() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("password-{}", std::process::id()));
    std::fs::write(&file, "secret\n").unwrap();
    let start = |address: &str| {
        let mut annulus = Command::new(env!("CARGO_BIN_EXE_annulus"));
        annulus.args(["node", "--listen", address, "--password-file"]).arg(&file);
        Process::spawn(annulus.stderr(Stdio::null()))
    };
    let mut process = start("127.0.0.1:0");
    let address = process.address;
    for password in [None, Some("wrong")] {
        let stranger = client(address, ProtocolVersion::RESP3, password).get_connection();
        assert!(stranger.is_err(), "a stranger with the password {password:?} is not let in");
    }
    let client = client(address, ProtocolVersion::RESP3, Some("secret"));
    let mut connection = client.get_connection().unwrap();
    let _: () = connection.set("a", 1).unwrap();
    process.signal(rustix::process::Signal::KILL);
    process.exit();
    assert!(connection.get::<_, i64>("a").unwrap_err().is_connection_dropped());
    let _restarted = start(&address.to_string());
    let mut connection = client.get_connection().unwrap();
    assert_eq!(connection.get::<_, Option<i64>>("a").unwrap(), None);
    std::fs::remove_file(file).unwrap();
}
