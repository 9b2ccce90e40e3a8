//! What redis-server 7 cannot be compared with: conditions on values, the limits of one node, keys drawn at random.

use std::collections::BTreeMap;

use crate::harness::{Client, Reply, node};

#[test]
fn a_value_is_replaced_only_if_it_is_the_one_expected() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    let done = Reply::ok;
    let (one, two) = (|| Reply::bulk("one"), || Reply::bulk("two"));
    let steps: [(&[&str], Reply); 16] = [
        (&["SET", "k", "one", "IFEQ", ""], Reply::Null),
        (&["SET", "k", "one", "IFEQ", "", "GET"], Reply::Null),
        (&["EXISTS", "k"], Reply::Integer(0)),
        (&["SET", "k", "one", "PX", "100000000"], done()),
        (&["SET", "k", "two", "IFEQ", "On"], Reply::Null),
        (&["SET", "k", "two", "ifeq", "two", "get"], one()),
        (&["GET", "k"], one()),
        (
            &["EXPIRETIME", "k", "superfluous"],
            Reply::Error("ERR wrong number of arguments for 'expiretime' command".into()),
        ),
        (&["SET", "k", "two", "KEEPTTL", "IFEQ", "one"], done()),
        (&["PERSIST", "k"], Reply::Integer(1)),
        (&["SET", "k", "one", "GET", "EX", "1000", "IFEQ", "two"], two()),
        (&["PERSIST", "k"], Reply::Integer(1)),
        (&["SET", "k", "two", "IFEQ", "one", "EXAT", "1"], done()),
        (&["EXISTS", "k"], Reply::Integer(0)),
        (&["SET", "k", ""], done()),
        (&["SET", "k", "one", "IFEQ", ""], done()),
    ];
    for (step, expected) in steps {
        assert_eq!(client.call(step), expected, "{step:?}");
    }
    for options in ["IFEQ", "IFEQ one NX", "XX IFEQ one", "NX IFEQ one", "IFEQ one IFEQ one", "IFEQ one XX"] {
        let words: Vec<&str> = ["SET", "k", "two"].into_iter().chain(options.split(' ')).collect();
        assert_eq!(client.call(&words).error(), "ERR syntax error", "{options}");
    }
    assert_eq!(client.call(&["GET", "k"]), one());
}

/// Commands that would make values longer than 100 bytes, or look for bits there.
#[test]
fn no_command_makes_a_value_longer_than_the_limit() {
    let node = node(|config| config.limits.value_bytes_max = 100);
    let mut client = Client::connect(node.address());
    let (most, more) = ("v".repeat(100), "v".repeat(101));
    let long = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    let offset = "ERR bit offset is not an integer or out of range";
    assert_eq!(client.call(&["SET", "k", &most]), Reply::ok());
    let refused: [(&[&str], &str); 17] = [
        (&["SET", "new", &more], long),
        (&["SET", "new", &more, "NX"], long),
        (&["SETEX", "new", "100", &more], long),
        (&["PSETEX", "new", "100000", &more], long),
        (&["SETNX", "new", &more], long),
        (&["GETSET", "new", &more], long),
        (&["MSET", "other", "v", "new", &more], long),
        (&["MSETNX", "other", "v", "new", &more], long),
        (&["APPEND", "k", "v"], long),
        (&["SETRANGE", "k", "100", "v"], long),
        (&["SETRANGE", "new", "9223372036854775807", "v"], long),
        (&["SETRANGE", "new", "4294967296", "v"], long),
        (&["SETBIT", "new", "800", "1"], offset),
        (&["SETBIT", "new", "4294967295", "1"], offset),
        (&["SETBIT", "new", "18446744073709551616", "1"], offset),
        (&["GETBIT", "new", "800"], offset),
        (&["INCRBYFLOAT", "new", "1e200"], long),
    ];
    for (command, error) in refused {
        assert_eq!(client.call(command).error(), error, "{command:?}");
    }
    assert_eq!(client.call(&["DBSIZE"]), Reply::Integer(1));
    assert_eq!(client.call(&["GET", "k"]), Reply::bulk(&most));
    assert_eq!(client.call(&["SETBIT", "new", "799", "1"]), Reply::Integer(0));
    assert_eq!(client.call(&["SETRANGE", "k", "99", "w"]), Reply::Integer(100));
    assert_eq!(client.call(&["BITOP", "OR", "both", "new", "k"]), Reply::Integer(100));
}

#[test]
fn at_the_memory_limit_writes_of_every_kind_are_refused_and_change_nothing() {
    let node = node(|config| config.store.memory_bytes_max = Some(100_000));
    let mut client = Client::connect(node.address());
    let (value, longer) = ("v".repeat(10_000), "v".repeat(20_000));
    let mut kept = 0;
    while client.call(&["SET", &format!("long {kept}"), &value]) == Reply::ok() {
        kept += 1;
        assert!(kept < 20, "the limit is far below that");
    }
    let state = |client: &mut Client| {
        (
            client.call(&["DBSIZE"]),
            client.call(&["MGET", "long 0", "long 1"]),
            client.call(&["TTL", "long 0"]),
        )
    };
    let before = state(&mut client);
    let commands: [&[&str]; 12] = [
        &["SET", "new", &value],
        &["SETEX", "new", "100", &value],
        &["GETSET", "new", &value],
        &["MSETNX", "new", "v", "newer", &value],
        &["APPEND", "long 0", &value],
        &["SETRANGE", "new", "9999", "v"],
        &["SETBIT", "new", "80000", "1"],
        &["COPY", "long 0", "new"],
        &["RENAME", "long 0", "new"],
        &["RENAMENX", "long 0", "new"],
        &["BITOP", "NOT", "new", "long 0"],
        &["SET", "long 0", &longer, "GET", "EX", "1000"],
    ];
    for command in commands {
        let error = client.call(command).error();
        assert!(
            error.starts_with("OOM command not allowed when used memory > 'maxmemory'"),
            "{command:?}: {error}"
        );
        assert_eq!(state(&mut client), before, "{command:?}");
    }
    assert_eq!(client.call(&["DEL", "long 0"]), Reply::Integer(1));
    assert_eq!(client.call(&["RENAME", "long 1", "new"]), Reply::ok());
    assert_eq!(client.call(&["STRLEN", "new"]), Reply::Integer(10_000));
}

#[test]
fn a_random_key_is_any_key() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    assert_eq!(client.call(&["RANDOMKEY"]), Reply::Null);
    for keys in [1, 2, 30, 300] {
        client.call(&["FLUSHALL"]);
        for number in 0..keys {
            assert_eq!(client.call(&["SET", &number.to_string(), "v"]), Reply::ok());
        }
        let draws = 100 * keys;
        let mut drawn = BTreeMap::new();
        for _ in 0..draws {
            let Reply::Bulk(key) = client.call(&["RANDOMKEY"]) else { panic!("a key") };
            *drawn.entry(key).or_insert(0) += 1;
        }
        assert_eq!(drawn.len(), keys, "each key is drawn");
        // 100 on average. Up to 32 keys are equally likely; among more some are likelier by a part, none many times.
        let most = drawn.values().max().expect("some were drawn");
        assert!(*most < 250, "one of {keys} keys was drawn {most} times of {draws}");
    }
}
