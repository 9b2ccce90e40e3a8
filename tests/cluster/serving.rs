//! What a cluster answers, through whichever node it is asked.

use annulus::client::Operations;
use annulus::types::Level;
use rustix::process::Signal;

use crate::faults::kill;
use crate::harness::{Client, Reply};
use crate::nodes::Cluster;

#[test]
fn what_is_written_through_one_node_is_read_through_any() {
    let cluster = Cluster::start(3);
    let mut clients: Vec<Client> = (0..3).map(|node| cluster.resp(node)).collect();
    for (round, level) in [Level::Quorum, Level::All].into_iter().enumerate() {
        let mut natives: Vec<_> = (0..3).map(|node| cluster.native(node, level)).collect();
        for writer in 0..3 {
            for key in 0..50 {
                let (key, value) = (format!("key:{key}"), format!("{round}:{writer}:{key}"));
                assert_eq!(clients[writer].call(&["SET", &key, &value]), Reply::ok());
                let reader = (writer + 1) % 3;
                assert_eq!(clients[reader].call(&["GET", &key]), Reply::bulk(&value));
                let entry = natives[reader].get(key.as_bytes()).unwrap().expect("it was written");
                assert_eq!(entry.value, value.as_bytes());
                let newer = natives[reader].put(key.as_bytes(), b"newer").unwrap();
                assert!(newer > entry.version);
                assert_eq!(clients[writer].call(&["GET", &key]), Reply::bulk("newer"));
            }
        }
    }
    let mut one = cluster.native(2, Level::One);
    assert!(one.put(b"one", b"1").is_ok() && one.get(b"one").is_ok());
    assert_eq!(clients[0].call(&["DEL", "key:1", "key:2", "none"]), Reply::Integer(2));
    let gone = Reply::List(vec![Reply::Null, Reply::bulk("newer")]);
    assert_eq!(clients[1].call(&["MGET", "key:1", "key:3"]), gone);
    assert_eq!(clients[2].call(&["EXISTS", "key:1", "key:3", "key:3"]), Reply::Integer(2));
}

#[test]
fn values_expire_everywhere_and_parts_of_them_are_read_anywhere() {
    let cluster = Cluster::start(3);
    let (mut writer, mut reader) = (cluster.resp(0), cluster.resp(2));
    assert_eq!(writer.call(&["SET", "short", "value", "PX", "150"]), Reply::ok());
    assert_eq!(writer.call(&["SETEX", "long", "100", "0123456789"]), Reply::ok());
    assert_eq!(reader.call(&["TTL", "long"]), Reply::Integer(100));
    assert_eq!(reader.call(&["GETRANGE", "long", "-3", "-2"]), Reply::bulk("78"));
    assert_eq!(reader.call(&["STRLEN", "long"]), Reply::Integer(10));
    assert_eq!(reader.call(&["TYPE", "long"]), Reply::Simple("string".into()));
    crate::harness::wait_until("it expires", || reader.call(&["GET", "short"]) == Reply::Null);
    assert_eq!(writer.call(&["TTL", "short"]), Reply::Integer(-2));
    assert_eq!(writer.call(&["MSET", "a", "1", "b", "2"]), Reply::ok());
    assert_eq!(reader.call(&["MGET", "a", "b"]), Reply::List(vec![Reply::bulk("1"), Reply::bulk("2")]));
}

#[test]
fn one_key_given_twice_is_changed_once_by_what_was_given_last() {
    let cluster = Cluster::start(3);
    let mut client = cluster.resp(0);
    // A paused replica is asked again, when the others have gone on.
    kill(cluster.nodes[2].child.id(), Signal::STOP);
    for round in 0..50 {
        let (first, last) = (format!("{round}:first"), format!("{round}:last"));
        assert_eq!(client.call(&["MSET", "k", &first, "other", "v", "k", &last]), Reply::ok());
        assert_eq!(client.call(&["GET", "k"]), Reply::bulk(&last));
    }
    assert_eq!(client.call(&["EXISTS", "k", "k"]), Reply::Integer(2));
    // Whoever proposes for a key is asked once: the paused one must be known not to answer.
    crate::harness::wait_until("it is given up", || cluster.described(0, 2).number("links") == 0);
    assert_eq!(client.call(&["DEL", "k", "k", "other", "none"]), Reply::Integer(2));
}

#[test]
fn a_pipeline_is_answered_in_its_order() {
    let cluster = Cluster::start(3);
    let mut client = cluster.resp(1);
    let mut requests = Vec::new();
    let mut expected = Vec::new();
    for round in 0..200 {
        let (key, value) = (format!("key:{}", round % 7), format!("{round}"));
        requests.extend(crate::harness::request(&["SET", &key, &value]));
        requests.extend(crate::harness::request(&["GET", &key]));
        expected.extend([Reply::ok(), Reply::bulk(&value)]);
        if round % 10 == 0 {
            requests.extend(crate::harness::request(&["PING"]));
            requests.extend(crate::harness::request(&["MGET", &key, "none"]));
            expected.push(Reply::Simple("PONG".into()));
            expected.push(Reply::List(vec![Reply::bulk(&value), Reply::Null]));
        }
    }
    client.send(&requests);
    for expected in expected {
        assert_eq!(client.reply(), expected);
    }
}

#[test]
fn a_client_chooses_how_many_replicas_it_waits_for() {
    let cluster = Cluster::start(3);
    let mut client = cluster.resp(0);
    assert_eq!(client.call(&["CONSISTENCY"]), Reply::bulk("quorum"));
    assert_eq!(client.call(&["AT", "all", "SET", "k", "v"]), Reply::ok());
    assert_eq!(client.call(&["at", "One", "GET", "k"]), Reply::bulk("v"));
    assert_eq!(client.call(&["AT", "linearizable", "GET", "k"]), Reply::bulk("v"));
    for (command, expected) in WRONG_LEVELS {
        assert_eq!(client.call(command).error(), expected, "{command:?}");
    }

    // Two of three copies are left: enough for a quorum, not for all.
    kill(cluster.nodes[2].child.id(), Signal::KILL);
    let unmet = |reply: Reply| {
        let Reply::Error(error) = reply else { return false };
        assert!(error.starts_with("UNAVAILABLE ") || error.starts_with("TIMEOUT "), "{error}");
        true
    };
    crate::harness::wait_until("quorum is met", || client.call(&["SET", "k", "w"]) == Reply::ok());
    assert!(unmet(client.call(&["AT", "all", "SET", "k", "x"])));
    assert_eq!(client.call(&["AT", "one", "SET", "k", "y"]), Reply::ok());
    assert_eq!(client.call(&["CONSISTENCY"]), Reply::bulk("quorum"), "AT is for one command only");
    assert_eq!(client.call(&["CONSISTENCY", "ALL"]), Reply::ok());
    assert!(unmet(client.call(&["GET", "k"])));
    assert_eq!(client.call(&["AT", "quorum", "GET", "k"]), Reply::bulk("y"));

    // One is left, which is not enough for a quorum.
    kill(cluster.nodes[1].child.id(), Signal::KILL);
    crate::harness::wait_until("it is not waited for", || {
        client.call(&["AT", "quorum", "GET", "k"]).error().starts_with("UNAVAILABLE ")
    });
    assert_eq!(client.call(&["CONSISTENCY", "one"]), Reply::ok());
    assert_eq!(client.call(&["SET", "k", "z"]), Reply::ok());
    assert_eq!(client.call(&["GET", "k"]), Reply::bulk("z"));
    assert_eq!(client.call(&["RESET"]), Reply::Simple("RESET".into()));
    assert_eq!(client.call(&["CONSISTENCY"]), Reply::bulk("quorum"));
}

/// What is refused before any replica is asked.
const WRONG_LEVELS: [(&[&str], &str); 4] = [
    (&["CONSISTENCY", "two"], "ERR unknown level 'two': use one, quorum, all or linearizable"),
    (&["AT", "any", "GET", "k"], "ERR unknown level 'any': use one, quorum, all or linearizable"),
    (&["AT", "one", "NOSUCH", "k"], "ERR unknown command 'NOSUCH' behind AT level"),
    (&["AT", "one", "GET"], "ERR wrong number of arguments for 'get' command"),
];

#[test]
fn what_is_atomic_across_keys_is_refused_and_says_so() {
    let cluster = Cluster::start(3);
    let mut client = cluster.resp(0);
    for command in [
        &["RENAME", "k", "l"][..],
        &["COPY", "k", "l"],
        &["MSETNX", "k", "v", "l", "w"],
        &["BITOP", "NOT", "k", "l"],
    ] {
        let error = client.call(command).error();
        assert!(error.starts_with("UNAVAILABLE "), "{command:?}: {error}");
    }
    assert_eq!(client.call(&["GET", "k"]), Reply::Null);
}
