//! A node with a password: who has not given it gets nothing done, whatever the protocol and the pipeline.

use std::time::{Duration, Instant};

use annulus::client::{Client as NativeClient, Operations, Options};
use annulus::config::{Password, WRONG_PASSWORD_DELAY};
use annulus::message::Request;
use annulus::protocol::preamble::{Greeting, Preamble, encode_preamble};
use annulus::server::Node;

use crate::harness::{Client, Reply, frame, node, request};

fn guarded() -> Node {
    node(|config| config.password = Password::new(b"secret"))
}

#[test]
fn nothing_is_done_before_the_password() {
    let node = guarded();
    let mut client = Client::connect(node.address());
    for command in [&["SET", "k", "v"][..], &["GET", "k"], &["PING"], &["CONFIG", "GET", "*"], &["NOSUCH"]] {
        assert_eq!(client.call(command).error(), "NOAUTH Authentication required.", "{command:?}");
    }
    assert!(client.call(&["HELLO", "3"]).error().starts_with("NOAUTH HELLO must be called"));
    // In one write: the commands behind AUTH run, those before do not.
    client.send(&[request(&["SET", "k", "1"]), request(&["AUTH", "secret"]), request(&["DBSIZE"])].concat());
    assert!(client.reply().error().starts_with("NOAUTH"));
    assert_eq!((client.reply(), client.reply()), (Reply::ok(), Reply::Integer(0)));
    assert_eq!(client.call(&["RESET"]), Reply::Simple("RESET".into()));
    assert!(client.call(&["GET", "k"]).error().starts_with("NOAUTH"), "a reset client is a stranger again");
    assert_eq!(client.call(&["AUTH", "default", "secret"]), Reply::ok());
    assert_eq!(client.call(&["GET", "k"]), Reply::Null);
}

#[test]
fn hello_takes_the_password_with_the_version() {
    let node = guarded();
    let mut client = Client::connect(node.address());
    let hello = client.call(&["HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me"]);
    assert!(matches!(hello, Reply::List(_)), "{hello:?}");
    assert_eq!(client.call(&["CLIENT", "GETNAME"]), Reply::bulk("me"));
}

#[test]
fn a_wrong_password_is_answered_late_and_holds_up_nobody_else() {
    let node = guarded();
    for wrong in [
        &["AUTH", "Secret"][..],
        &["AUTH", ""],
        &["AUTH", "other", "secret"],
        &["HELLO", "3", "AUTH", "default", "x"],
    ] {
        let mut client = Client::connect(node.address());
        let mut friends: Vec<Client> = (0..4).map(|_| Client::connect(node.address())).collect();
        let started = Instant::now();
        // What follows waits for the answer, and is refused as before.
        client.send(&[request(wrong), request(&["GET", "k"])].concat());
        for friend in &mut friends {
            assert_eq!(friend.call(&["AUTH", "secret"]), Reply::ok());
        }
        let friends_waited = started.elapsed();
        let error = client.reply().error();
        assert_eq!(error, "WRONGPASS invalid username-password pair or user is disabled.");
        assert!(started.elapsed() >= WRONG_PASSWORD_DELAY, "{:?}", started.elapsed());
        assert!(friends_waited < WRONG_PASSWORD_DELAY, "{friends_waited:?}");
        assert!(client.reply().error().starts_with("NOAUTH"));
    }
}

#[test]
fn a_stranger_cannot_make_the_node_buffer_much() {
    let node = guarded();
    let mut client = Client::connect(node.address());
    client.send(b"*2\r\n$4\r\nAUTH\r\n$1000000\r\n");
    let rest = client.rest();
    assert!(rest.starts_with(b"-ERR"), "{}", rest.escape_ascii());
    // What would be too much for a stranger is not for who gave the password just before.
    let mut client = Client::connect(node.address());
    let value = vec![b'x'; 100_000];
    client.send(&[request(&["AUTH", "secret"]), request(&[&b"SET"[..], b"k", &value])].concat());
    assert_eq!((client.reply(), client.reply()), (Reply::ok(), Reply::ok()));
}

#[test]
fn the_native_protocol_asks_for_it_too() {
    let node = guarded();
    let mut client = Client::connect(node.address());
    client.send(&encode_preamble(Preamble::default()));
    assert_eq!(client.greeting(), Greeting::Welcome { authentication_required: true });
    client.send(&frame(7, Request::Get { key: b"k" }));
    let refused = client.frame();
    assert!(refused.windows(8).any(|bytes| bytes == b"password"), "{}", refused.escape_ascii());
    let options = |password: &[u8]| Options { password: Some(password.to_vec()), ..Options::default() };
    let mut native = NativeClient::connect_with(node.address(), options(b"secret")).unwrap();
    native.put(b"k", b"v").unwrap();
    let started = Instant::now();
    assert!(NativeClient::connect_with(node.address(), options(b"wrong")).is_err());
    assert!(started.elapsed() >= WRONG_PASSWORD_DELAY);
    assert!(started.elapsed() < Duration::from_secs(5));
}
