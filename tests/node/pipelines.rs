//! Many requests at once, and requests in pieces: answered in order, each once, whatever the boundaries.

use annulus::client::Operations;
use annulus::config::WorkerCount;
use annulus::message::{Condition, ExpiryChange, Outcome, Reply as NativeReply, Request, RequestId};
use annulus::protocol::client::decode_response;
use annulus::protocol::frame::{Split, split_frame};
use annulus::protocol::preamble::{Greeting, Preamble, encode_preamble};

use crate::harness::{Client, Reply, frame, node, request};

/// Takes `count` frames and returns their ids with whether each was done.
fn outcomes(client: &mut Client, count: usize) -> Vec<(u32, bool)> {
    let one = |_| {
        let bytes = client.frame();
        let Ok(Split::Frame(frame)) = split_frame(&bytes, &annulus::protocol::Limits::default()) else {
            panic!("a frame is whole");
        };
        let (RequestId(id), outcome) = decode_response(frame).unwrap();
        (id, matches!(outcome, Outcome::Done(_)))
    };
    (0..count).map(one).collect()
}

#[test]
fn both_protocols_share_a_port_and_the_data() {
    let node = node(|_| {});
    let mut resp = Client::connect(node.address());
    let mut native = annulus::client::Client::connect(node.address()).unwrap();
    assert_eq!(resp.call(&["SET", "a", "1"]), Reply::ok());
    assert_eq!(native.get(b"a").unwrap().unwrap().value, b"1");
    assert_eq!(native.increment(b"a", 41).unwrap(), 42);
    assert_eq!(resp.call(&["GET", "a"]), Reply::bulk("42"));
    node.stop().unwrap();
}

#[test]
fn a_resp_request_may_be_split_anywhere() {
    let node = node(|config| config.workers = WorkerCount::new(1).unwrap());
    let mut observer = Client::connect(node.address());
    let whole = [request(&["SET", "k", "a\r\nb"]), request(&["GET", "k"]), b"ECHO 'in line'\r\n".to_vec()];
    let whole = whole.concat();
    for split in 1..whole.len() {
        let mut client = Client::connect(node.address());
        client.send(&whole[..split]);
        // The one worker has seen the first part once it has answered someone who asked later.
        assert_eq!(observer.call(&["PING"]), Reply::Simple("PONG".into()));
        client.send(&whole[split..]);
        let replies = [client.reply(), client.reply(), client.reply()];
        let expected = [Reply::ok(), Reply::bulk("a\r\nb"), Reply::bulk("in line")];
        assert_eq!(replies, expected, "split at {split}");
    }
    let mut client = Client::connect(node.address());
    for byte in &whole {
        client.send(&[*byte]);
    }
    assert_eq!(client.reply(), Reply::ok());
    assert_eq!(client.reply(), Reply::bulk("a\r\nb"));
    assert_eq!(client.reply(), Reply::bulk("in line"));
}

#[test]
fn a_preamble_and_a_frame_may_be_split_anywhere() {
    let node = node(|config| config.workers = WorkerCount::new(1).unwrap());
    let mut observer = Client::connect(node.address());
    let always = Condition::Always;
    let put = Request::Put { key: b"k", value: b"value", condition: always, expiry: ExpiryChange::Clear };
    let mut whole = encode_preamble(Preamble::default()).to_vec();
    whole.extend(frame(7, put));
    whole.extend(frame(8, Request::Get { key: b"k" }));
    for split in 1..whole.len() {
        let mut client = Client::connect(node.address());
        client.send(&whole[..split]);
        assert_eq!(observer.call(&["PING"]), Reply::Simple("PONG".into()));
        client.send(&whole[split..]);
        assert_eq!(client.greeting(), Greeting::Welcome { authentication_required: false });
        assert_eq!(outcomes(&mut client, 2), [(7, true), (8, true)], "split at {split}");
    }
}

#[test]
fn ten_thousand_requests_are_written_before_a_reply_is_read() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    let mut bytes = Vec::new();
    for number in 0..5_000 {
        bytes.extend(request(&["SET", &format!("key:{}", number % 100), &format!("{number}")]));
        bytes.extend(request(&["GET", &format!("key:{}", number % 100)]));
    }
    client.send(&bytes);
    for number in 0..5_000 {
        assert_eq!(client.reply(), Reply::ok(), "{number}");
        assert_eq!(client.reply(), Reply::bulk(number.to_string()));
    }
}

#[test]
fn ten_thousand_frames_are_written_before_an_answer_is_read() {
    let node = node(|_| {});
    let mut client = Client::native(node.address());
    let mut bytes = Vec::new();
    for id in 0..10_000 {
        bytes.extend(match id % 3 {
            0 => frame(id, Request::Increment { key: b"sum", delta: 1 }),
            1 => frame(id, Request::Get { key: b"sum" }),
            _ => frame(id, Request::Ping),
        });
    }
    // Statistics take all workers to answer, and are told from the rest by their id.
    let middle = frame(70_000, Request::Stats);
    let half = bytes.len() / 2;
    let mut boundaries = (0..).scan(0, |at, _| {
        let length = u32::from_le_bytes(*bytes[*at..].first_chunk().unwrap()) as usize + 4;
        *at += length;
        Some(*at)
    });
    let boundary = boundaries.find(|at| *at >= half).unwrap();
    bytes.splice(boundary..boundary, middle);
    client.send(&bytes);
    let mut answered = outcomes(&mut client, 10_001);
    assert!(answered.iter().all(|(_, done)| *done));
    let stats = answered.iter().position(|(id, _)| *id == 70_000).unwrap();
    answered.remove(stats);
    // A node may answer out of order; what it says it did must be there once each.
    answered.sort_unstable();
    assert!(answered.iter().map(|(id, _)| *id).eq(0..10_000));
    let mut checker = annulus::client::Client::connect(node.address()).unwrap();
    assert_eq!(checker.increment(b"sum", 0).unwrap(), 3_334);
}

#[test]
fn info_in_the_middle_of_a_pipeline_keeps_its_place() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    let mut bytes = Vec::new();
    for number in 0..2_000 {
        bytes.extend(request(&["ECHO", &number.to_string()]));
        if number % 100 == 50 {
            bytes.extend(request(&["INFO", "server"]));
        }
    }
    client.send(&bytes);
    for number in 0..2_000 {
        assert_eq!(client.reply(), Reply::bulk(number.to_string()));
        if number % 100 == 50 {
            let Reply::Bulk(text) = client.reply() else { panic!("INFO is a text") };
            assert!(text.starts_with(b"# Server\r\n"), "after {number}");
        }
    }
}

/// What arrives while the workers are still being asked waits for their answer.
#[test]
fn requests_that_arrive_while_info_is_gathered_wait_for_it() {
    let node = node(|_| {});
    let address = node.address();
    let done = std::sync::atomic::AtomicBool::new(false);
    let long = request(&[vec!["DEL"], vec!["k"; 20_000]].concat());
    /// Ends the others however this one ends.
    struct EndOthers<'a>(&'a std::sync::atomic::AtomicBool);
    impl Drop for EndOthers<'_> {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _end = EndOthers(&done);
        // Both workers are busy with long requests, so that an answer takes its time.
        for _ in 0..4 {
            scope.spawn(|| {
                let mut busy = Client::connect(address);
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    busy.send(&long);
                    assert_eq!(busy.reply(), Reply::Integer(0));
                }
            });
        }
        let mut client = Client::connect(address);
        let in_order = (0..300).all(|number| {
            client.send(&request(&["INFO", "server"]));
            client.send(&request(&["ECHO", &number.to_string()]));
            client.send(&request(&["ECHO", "after"]));
            let replies = [client.reply(), client.reply(), client.reply()];
            let told = matches!(&replies[0], Reply::Bulk(text) if text.starts_with(b"# Server"));
            told && replies[1..] == [Reply::bulk(number.to_string()), Reply::bulk("after")]
        });
        assert!(in_order);
    });
}

#[test]
fn what_follows_info_is_judged_after_it_was_answered() {
    let node = node(|_| {});
    // (what follows, the beginning of its answer)
    let cases: [(&[u8], &str); 3] = [
        (b"*1\r\n:nonsense\r\n", "-ERR Protocol error: expected '$'"),
        (b"*1\r\n$4\r\nQUIT\r\n", "+OK"),
        (b"*1\r\n$4\r\nPING\r\n*9999999\r\n", "+PONG"),
    ];
    for (following, expected) in cases {
        let mut client = Client::connect(node.address());
        client.send(&[&request(&["INFO", "server"])[..], following].concat());
        let first = client.reply();
        assert!(matches!(&first, Reply::Bulk(text) if text.starts_with(b"# Server")), "{first:?}");
        assert!(format!("{:?}", client.reply()).starts_with(expected));
        client.rest();
    }
    // And with the end of what the client has to say.
    let mut client = Client::connect(node.address());
    client.send(&request(&["INFO", "server"]));
    client.finish();
    assert!(matches!(client.reply(), Reply::Bulk(_)));
    assert_eq!(client.next_reply(), None);
}

#[test]
fn stats_are_answered_before_a_frame_that_ends_the_connection() {
    let node = node(|_| {});
    let mut client = Client::native(node.address());
    let oversized = [&u32::MAX.to_le_bytes()[..], &9_u32.to_le_bytes()].concat();
    client.send(&[frame(8, Request::Stats), oversized].concat());
    assert_eq!(outcomes(&mut client, 2), [(8, true), (9, false)]);
    assert_eq!(client.rest(), b"");
}

#[test]
fn quit_ends_a_pipeline_where_it_stands() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    let mut bytes = request(&["PING"]).repeat(5_000);
    bytes.extend(request(&["SET", "before", "1"]));
    bytes.extend(request(&["QUIT"]));
    bytes.extend(request(&["SET", "after", "1"]).repeat(5_000));
    client.try_send(&bytes);
    for _ in 0..5_000 {
        assert_eq!(client.reply(), Reply::Simple("PONG".into()));
    }
    assert_eq!(client.reply(), Reply::ok());
    assert_eq!(client.reply(), Reply::ok());
    assert_eq!(client.next_reply(), None);
    let mut checker = Client::connect(node.address());
    assert_eq!(checker.call(&["EXISTS", "before", "after"]), Reply::Integer(1));
}

/// A client that quits before it reads gets all that it was promised, though it went on sending and reads late.
#[test]
fn replies_before_quit_arrive_whole_though_more_was_sent() {
    let node = node(|_| {});
    let value = vec![b'v'; 500_000];
    let mut client = Client::narrow(node.address());
    assert_eq!(client.call(&[&b"SET"[..], b"k", &value]), Reply::ok());
    let mut bytes = request(&["GET", "k"]);
    bytes.extend(request(&["QUIT"]));
    bytes.extend(request(&["PING"]).repeat(20_000));
    client.try_send(&bytes);
    let mut observer = Client::connect(node.address());
    crate::harness::wait_until("the node has answered", || observer.info("keyspace_hits") == 1);
    assert_eq!(client.reply(), Reply::Bulk(value));
    assert_eq!(client.reply(), Reply::ok());
    assert_eq!(client.next_reply(), None);
}

#[test]
fn a_client_that_stops_sending_still_gets_its_replies() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    client.send(&request(&["ECHO", &"x".repeat(100)]).repeat(5_000));
    client.finish();
    for _ in 0..5_000 {
        assert_eq!(client.reply(), Reply::bulk("x".repeat(100)));
    }
    assert_eq!(client.next_reply(), None);
}

#[test]
fn a_batch_gets_one_answer_with_an_outcome_for_each() {
    let node = node(|_| {});
    let mut client = annulus::client::Client::connect(node.address()).unwrap();
    let mut batch = client.batch();
    for number in 0..4_096_u32 {
        let key = (number % 7).to_le_bytes();
        batch.push(Request::Increment { key: &key, delta: 1 }).unwrap();
    }
    let answers = batch.run().unwrap();
    assert_eq!(answers.len(), 4_096);
    let sum = |outcome: Outcome<'_>| match outcome {
        Outcome::Done(NativeReply::Integer { value, .. }) => value,
        other => panic!("{other:?}"),
    };
    for (number, outcome) in answers.iter().enumerate() {
        assert_eq!(sum(outcome), number as i64 / 7 + 1);
    }
}
