//! What people and programs get wrong over RESP, and the words with which they are told.

use crate::harness::{Client, Reply, node, request};

#[test]
fn inline_commands() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    client.send(b"PING\r\n\r\n\n  set  'a key'  \"a\\x00\\n\\\"b\"  \nget 'a key'\r\nget nokey\n");
    assert_eq!(client.reply(), Reply::Simple("PONG".into()));
    assert_eq!(client.reply(), Reply::ok());
    assert_eq!(client.reply(), Reply::bulk(b"a\0\n\"b"));
    assert_eq!(client.reply(), Reply::Null);
    // Both kinds of request on one connection.
    client.send(
        &[b"ECHO inline\r\n".to_vec(), request(&["ECHO", "array"]), b"ECHO again\r\n".to_vec()].concat(),
    );
    for word in ["inline", "array", "again"] {
        assert_eq!(client.reply(), Reply::bulk(word));
    }
}

#[test]
fn empty_requests_are_no_requests() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    client.send(&b"*0\r\n\r\n*-1\r\n".repeat(20_000));
    client.send(&request(&["PING"]));
    assert_eq!(client.reply(), Reply::Simple("PONG".into()));
}

#[test]
fn a_node_that_is_alone_meets_every_level() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    assert_eq!(client.call(&["CONSISTENCY"]), Reply::bulk("quorum"));
    for level in ["one", "QUORUM", "All", "linearizable"] {
        assert_eq!(client.call(&["CONSISTENCY", level]), Reply::ok());
        assert_eq!(client.call(&["CONSISTENCY"]), Reply::bulk(level.to_lowercase()));
        assert_eq!(client.call(&["AT", level, "SET", "k", level]), Reply::ok());
        assert_eq!(client.call(&["at", level, "get", "k"]), Reply::bulk(level));
        assert_eq!(client.call(&["AT", level, "DEL", "k", "none"]), Reply::Integer(1));
    }
    assert_eq!(client.call(&["AT", "all", "INCRBY", "n", "5"]), Reply::Integer(5));
    assert_eq!(client.call(&["AT", "one", "PING"]), Reply::Simple("PONG".into()));
    // One whose answer takes what all workers know.
    assert_eq!(client.call(&["AT", "one", "SLOWLOG", "LEN"]), Reply::Integer(0));
    let cases: [(&[&str], &str); 8] = [
        (&["CONSISTENCY", "two"], "ERR unknown level 'two': use one, quorum, all or linearizable"),
        (&["CONSISTENCY", "one", "all"], "ERR wrong number of arguments for 'consistency' command"),
        (&["AT", "", "GET", "k"], "ERR unknown level '': use one, quorum, all or linearizable"),
        (&["AT", "one"], "ERR wrong number of arguments for 'at' command"),
        (&["AT", "one", "NOSUCH"], "ERR unknown command 'NOSUCH' behind AT level"),
        (&["AT", "one", "AT", "all", "GET", "k"], "ERR AT cannot stand behind AT: give one level"),
        (&["AT", "one", "GET", "k", "l"], "ERR wrong number of arguments for 'get' command"),
        (&["AT", "one", "SET", "k", "v", "EX", "0"], "ERR invalid expire time in 'set' command"),
    ];
    for (command, expected) in cases {
        assert_eq!(client.call(command).error(), expected, "{command:?}");
    }
    client.call(&["RESET"]);
    assert_eq!(client.call(&["CONSISTENCY"]), Reply::bulk("quorum"));
}

#[test]
fn errors_say_what_is_wrong_and_change_nothing() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    assert_eq!(client.call(&["SET", "text", "abc"]), Reply::ok());
    let cases: [(&[&str], &str); 18] = [
        (&["GET"], "ERR wrong number of arguments for 'get' command"),
        (&["get", "a", "b"], "ERR wrong number of arguments for 'get' command"),
        (&["SET", "k"], "ERR wrong number of arguments for 'set' command"),
        (&["MSET", "k"], "ERR wrong number of arguments for 'mset' command"),
        (&["MSET", "k", "v", "k2"], "ERR wrong number of arguments for 'mset' command"),
        (&["NOSUCH", "a"], "ERR unknown command 'NOSUCH', with args beginning with: 'a' "),
        (&["GE\r\nT"], "ERR unknown command 'GE  T', with args beginning with: "),
        (&["SET", "k", "v", "NX", "XX"], "ERR syntax error"),
        (&["SET", "k", "v", "EX", "0"], "ERR invalid expire time in 'set' command"),
        (&["SET", "k", "v", "EX", "x"], "ERR value is not an integer or out of range"),
        (&["SET", "k", "v", "EX", "9223372036854775807"], "ERR invalid expire time in 'set' command"),
        (&["INCR", "text"], "ERR value is not an integer or out of range"),
        (&["INCRBY", "k", "9223372036854775808"], "ERR value is not an integer or out of range"),
        (&["DECRBY", "k", "-9223372036854775808"], "ERR decrement would overflow"),
        (&["SELECT", "1"], "ERR DB index is out of range"),
        (&["HELLO", "4"], "NOPROTO unsupported protocol version"),
        (&["SCAN", "x"], "ERR invalid cursor"),
        (&["CLIENT", "NOSUCH"], "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
    ];
    for (command, expected) in cases {
        assert_eq!(client.call(command).error(), expected, "{command:?}");
    }
    assert_eq!(client.call(&["DBSIZE"]), Reply::Integer(1));
    assert_eq!(client.call(&["GET", "text"]), Reply::bulk("abc"));
    assert_eq!(client.info("total_error_replies"), 18);
}

#[test]
fn an_error_in_a_pipeline_stands_in_its_place() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    let mut bytes = Vec::new();
    for number in 0..1_000 {
        bytes.extend(request(&["ECHO", &number.to_string()]));
        bytes.extend(request(&["NOSUCH"]));
        bytes.extend(request(&["GET"]));
    }
    client.send(&bytes);
    for number in 0..1_000 {
        assert_eq!(client.reply(), Reply::bulk(number.to_string()));
        assert!(client.reply().error().starts_with("ERR unknown command 'NOSUCH'"));
        assert!(client.reply().error().starts_with("ERR wrong number"));
    }
}
