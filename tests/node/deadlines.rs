//! Deadlines: who stays silent, half-said or deaf for too long is closed; who does something is not.

use std::time::{Duration, Instant};

use crate::harness::{Client, Reply, node, request, wait_until};

const SHORT: Duration = Duration::from_millis(300);

/// A deadline is met within about a second of it.
fn assert_closed_in_time(client: &mut Client, since: Instant) {
    assert_eq!(client.rest(), b"", "closed without a word");
    let took = since.elapsed();
    assert!(took >= SHORT, "too early: {took:?}");
    assert!(took < Duration::from_secs(4), "too late: {took:?}");
}

#[test]
fn a_first_byte_must_come_in_time() {
    let node = node(|config| config.limits.first_byte_timeout = SHORT);
    let mut spoken = Client::connect(node.address());
    assert_eq!(spoken.call(&["PING"]), Reply::Simple("PONG".into()));
    let since = Instant::now();
    let mut silent = Client::connect(node.address());
    // A part of a preamble does not tell the protocol either.
    let mut half = Client::connect(node.address());
    half.send(&[0x8A, b'A', b'N']);
    assert_closed_in_time(&mut silent, since);
    assert_closed_in_time(&mut half, since);
    assert_eq!(spoken.call(&["PING"]), Reply::Simple("PONG".into()));
    assert_eq!(spoken.info("timed_out_connections"), 2);
}

#[test]
fn idle_connections_are_closed_only_if_asked_for() {
    let node = node(|config| config.limits.idle_timeout = Some(SHORT));
    let mut busy = Client::connect(node.address());
    let mut idle = Client::connect(node.address());
    assert_eq!(idle.call(&["PING"]), Reply::Simple("PONG".into()));
    let since = Instant::now();
    std::thread::scope(|scope| {
        let closed = scope.spawn(|| assert_closed_in_time(&mut idle, since));
        while !closed.is_finished() {
            assert_eq!(busy.call(&["PING"]), Reply::Simple("PONG".into()));
        }
    });
    assert_eq!(busy.info("timed_out_connections"), 1);
}

#[test]
fn half_a_request_and_a_deaf_reader_are_given_up() {
    let node = node(|config| config.limits.stalled_timeout = SHORT);
    let mut observer = Client::connect(node.address());
    assert_eq!(observer.call(&["SET", "k", &"v".repeat(1 << 20)]), Reply::ok());
    let since = Instant::now();
    let mut half = Client::connect(node.address());
    half.send(b"*2\r\n$3\r\nGET\r\n$1");
    let mut half_native = Client::native(node.address());
    half_native.send(&[20, 0, 0, 0, 1]);
    let mut deaf = Client::narrow(node.address());
    deaf.send(&request(&["GET", "k"]).repeat(20));
    assert_closed_in_time(&mut half, since);
    assert_closed_in_time(&mut half_native, since);
    wait_until("the deaf one is closed", || observer.info("timed_out_connections") == 3);
    assert_eq!(observer.info("connected_clients"), 1);
    // Idle between requests is no stall.
    assert_eq!(observer.call(&["PING"]), Reply::Simple("PONG".into()));
}

#[test]
fn a_slow_sender_that_goes_on_is_not_given_up() {
    let node = node(|config| config.limits.stalled_timeout = Duration::from_millis(600));
    let mut client = Client::connect(node.address());
    let bytes = request(&["ECHO", "slowly"]);
    let started = Instant::now();
    for (number, byte) in bytes.iter().enumerate() {
        // The pace of the sender is what is tested: slower in all than the deadline, faster between bytes.
        wait_until("it is time for the next byte", || started.elapsed().as_millis() >= number as u128 * 50);
        client.send(&[*byte]);
    }
    assert_eq!(client.reply(), Reply::bulk("slowly"));
}
