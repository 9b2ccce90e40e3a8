//! Slow readers: they get every byte whole, at their pace, and cost the node no more than their limits.

use annulus::client::{Client as NativeClient, Operations};
use annulus::config::turn::CONNECTION_COMMANDS_MAX;
use annulus::config::{VALUE_BYTES_MAX_DEFAULT, WorkerCount};

use crate::harness::{Client, Process, Reply, assert_serves, node, request, wait_until};

#[test]
fn a_long_value_is_read_whole_while_it_is_overwritten_and_removed() {
    let node = node(|_| {});
    let (old, new) = (vec![b'o'; VALUE_BYTES_MAX_DEFAULT], vec![b'n'; VALUE_BYTES_MAX_DEFAULT]);
    let mut writer = Client::connect(node.address());
    assert_eq!(writer.call(&[&b"SET"[..], b"k", &old]), Reply::ok());
    let mut readers: Vec<_> = (0..4).map(|_| Client::narrow(node.address())).collect();
    for (reader, command) in readers.iter_mut().zip(["GET", "GET", "MGET", "GET"]) {
        reader.send(&request(&[command, "k"]));
    }
    let taken = || {
        NativeClient::connect(node.address())
            .unwrap()
            .stats()
            .unwrap()
            .counters
            .iter()
            .any(|counter| counter.name == "hits" && counter.value >= 4)
    };
    wait_until("the node has begun to answer all four", taken);
    assert_eq!(writer.call(&[&b"SET"[..], b"k", &new]), Reply::ok());
    assert_eq!(writer.call(&["APPEND", "k", ""]), Reply::Integer(VALUE_BYTES_MAX_DEFAULT as i64));
    let mut late = Client::narrow(node.address());
    late.send(&request(&["GETDEL", "k"]));
    wait_until("it was removed", || writer.call(&["EXISTS", "k"]) == Reply::Integer(0));
    let small = writer.call(&["SET", "k", "small"]);
    assert_eq!(small, Reply::ok());
    for (number, reader) in readers.iter_mut().enumerate() {
        let expected = Reply::Bulk(old.clone());
        let expected = if number == 2 { Reply::List(vec![expected]) } else { expected };
        assert!(reader.reply() == expected, "reader {number}");
    }
    assert!(late.reply() == Reply::Bulk(new));
    assert_eq!(writer.call(&["GET", "k"]), Reply::bulk("small"));
}

#[test]
fn a_reader_far_behind_is_not_read_from_and_others_are_served() {
    let node = node(|config| {
        config.workers = WorkerCount::new(1).unwrap();
        config.limits.output_bytes_high = 64 << 10;
    });
    let mut observer = Client::connect(node.address());
    assert_eq!(observer.call(&["SET", "k", &"v".repeat(1000)]), Reply::ok());
    let mut slow = Client::narrow(node.address());
    // 20 MB of answers; the kernel's buffers hold a few of them.
    let requests = request(&["GET", "k"]).repeat(20_000);
    slow.send(&requests);
    let mut last = 0;
    wait_until("the slow one is left alone", || {
        assert_eq!(observer.call(&["PING"]), Reply::Simple("PONG".into()));
        let hits = observer.info("keyspace_hits");
        std::mem::replace(&mut last, hits) == hits && hits > 0
    });
    assert!(last < 12_000, "{last} of 20000 were answered though none was read");
    assert_serves(node.address());
    let expected = Reply::bulk("v".repeat(1000));
    for _ in 0..20_000 {
        assert!(slow.reply() == expected);
    }
    assert_eq!(observer.info("keyspace_hits"), 20_001);
}

/// Requests that came in one piece are not all answered in one turn if nobody takes the answers.
#[test]
fn long_answers_wait_for_the_reader_within_a_turn_too() {
    let node = node(|config| config.workers = WorkerCount::new(1).unwrap());
    let mut observer = Client::connect(node.address());
    let value = "v".repeat(4 << 20);
    assert_eq!(observer.call(&["SET", "k", &value]), Reply::ok());
    let mut slow = Client::narrow(node.address());
    slow.send(&request(&["GET", "k"]).repeat(60));
    wait_until("some are answered", || observer.info("keyspace_hits") > 0);
    // Each question is a turn or more in which the slow one could be served.
    for _ in 0..20 {
        let hits = observer.info("keyspace_hits");
        assert!(hits < 10, "{hits} of 60 values of 4 MiB were answered though none was read");
    }
    for _ in 0..60 {
        assert!(slow.reply() == Reply::bulk(&value));
    }
}

/// A client that reads steadily but never catches up: what it has taken is not kept.
#[test]
fn output_that_never_runs_dry_does_not_pile_up() {
    let process = Process::start(&[]);
    let mut client = Client::narrow(process.address);
    let value = "v".repeat(1000);
    assert_eq!(client.call(&["SET", "k", &value]), Reply::ok());
    let expected = Reply::Bulk(value.into_bytes());
    let ahead = 5_000;
    // Far enough ahead that the kernel's buffers are full and some of the answers wait in the node.
    client.send(&request(&["GET", "k"]).repeat(ahead));
    let chunk = request(&["GET", "k"]).repeat(500);
    let mut resident = Vec::new();
    for _ in 0..200 {
        client.send(&chunk);
        for _ in 0..500 {
            assert!(client.reply() == expected);
        }
        resident.push(process.resident_bytes());
    }
    for _ in 0..ahead {
        assert!(client.reply() == expected);
    }
    let grown = resident[199].saturating_sub(resident[20]);
    assert!(grown < 20 << 20, "{grown} bytes more after 90 MB of answers");
}

#[test]
fn one_huge_pipeline_does_not_starve_the_others() {
    let node = node(|config| config.workers = WorkerCount::new(1).unwrap());
    let mut greedy = Client::connect(node.address());
    let mut modest = Client::connect(node.address());
    let mut bytes = request(&["SET", "k", "v"]).repeat(100_000);
    bytes.extend(request(&["ECHO", "last"]));
    let mut writer = greedy.stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut writer, &bytes).unwrap());
        scope.spawn(move || {
            for _ in 0..100_000 {
                assert_eq!(greedy.reply(), Reply::ok());
            }
            assert_eq!(greedy.reply(), Reply::bulk("last"));
        });
        // By the node's own count, so that a busy machine changes nothing: commands of each turn, ours among them.
        let mut look = || {
            let Reply::Bulk(text) = modest.call(&["INFO", "stats"]) else { panic!("INFO is a text") };
            let text = String::from_utf8(text).unwrap();
            let number = |field: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
                line.unwrap().parse::<u64>().unwrap()
            };
            (number("event_loop_turns"), number("total_commands_processed"))
        };
        let (mut before, mut looks) = (look(), 0);
        while before.1 < 100_000 {
            let now = look();
            let (turns, commands) = (now.0 - before.0, now.1 - before.1);
            // The turn at either end may be counted in part.
            let most = (turns + 2) * (CONNECTION_COMMANDS_MAX as u64 + 2);
            assert!(commands <= most, "{commands} commands in {turns} turns");
            looks += 1;
            before = now;
        }
        assert!(looks > 2, "served only {looks} times meanwhile");
    });
}
