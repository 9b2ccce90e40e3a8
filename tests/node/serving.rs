//! Commands about the node and its connections, across workers.

use std::time::Duration;

use crate::harness::{Client, Reply, node, request, wait_until};

fn text(reply: Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("no text: {other:?}"),
    }
}

fn id(client: &mut Client) -> i64 {
    match client.call(&["CLIENT", "ID"]) {
        Reply::Integer(id) => id,
        other => panic!("no id: {other:?}"),
    }
}

#[test]
fn client_list_tells_of_the_connections_of_all_workers() {
    let node = node(|_| {});
    let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(node.address())).collect();
    let ids: Vec<i64> = clients.iter_mut().map(id).collect();
    clients[3].call(&["CLIENT", "SETNAME", "third"]);
    let list = text(clients[0].call(&["CLIENT", "LIST"]));
    for id in &ids {
        assert_eq!(list.lines().filter(|line| line.starts_with(&format!("id={id} "))).count(), 1, "{list}");
    }
    assert_eq!(list.lines().filter(|line| line.contains(" name=third ")).count(), 1);
    let some = text(clients[0].call(&["CLIENT", "LIST", "ID", &ids[1].to_string(), &ids[4].to_string()]));
    assert_eq!(some.lines().count(), 2, "{some}");
    assert_eq!(text(clients[0].call(&["CLIENT", "LIST", "TYPE", "pubsub"])), "");
}

#[test]
fn client_kill_closes_what_it_names_wherever_it_is() {
    let node = node(|_| {});
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(node.address())).collect();
    let ids: Vec<i64> = clients.iter_mut().map(id).collect();
    let address = clients[2].stream.local_addr().unwrap().to_string();
    assert_eq!(clients[0].call(&["CLIENT", "KILL", "ID", &ids[1].to_string()]), Reply::Integer(1));
    assert_eq!(clients[0].call(&["CLIENT", "KILL", &address]), Reply::ok());
    assert_eq!(clients[0].call(&["CLIENT", "KILL", &address]).error(), "ERR No such client");
    assert_eq!(clients[1].next_reply(), None);
    assert_eq!(clients[2].next_reply(), None);
    assert_eq!(clients[0].call(&["CLIENT", "KILL", "TYPE", "normal"]), Reply::Integer(2), "all but itself");
    // Its own connection ends after the answer.
    let own = ids[0].to_string();
    assert_eq!(clients[0].call(&["CLIENT", "KILL", "ID", &own, "SKIPME", "no"]), Reply::Integer(1));
    assert_eq!(clients[0].next_reply(), None);
}

#[test]
fn client_reply_silences_what_it_says() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    let commands: [&[&str]; 8] = [
        &["CLIENT", "REPLY", "SKIP"],
        &["SET", "a", "1"],
        &["GET", "a"],
        &["CLIENT", "REPLY", "OFF"],
        &["INCR", "a"],
        &["INFO"],
        &["CLIENT", "REPLY", "ON"],
        &["GET", "a"],
    ];
    client.send(&commands.map(request).concat());
    assert_eq!(client.reply(), Reply::bulk("1"));
    assert_eq!(client.reply(), Reply::ok());
    assert_eq!(client.reply(), Reply::bulk("2"));
}

#[test]
fn config_set_takes_effect_at_once_or_changes_nothing() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    let mut other = Client::connect(node.address());
    assert_eq!(client.call(&["CONFIG", "SET", "maxmemory", "1kb"]), Reply::ok());
    assert!(other.call(&["SET", "k", &"x".repeat(5000)]).error().starts_with("OOM"));
    assert_eq!(client.call(&["CONFIG", "SET", "maxmemory", "0"]), Reply::ok());
    assert_eq!(other.call(&["SET", "k", &"x".repeat(5000)]), Reply::ok());
    let error = client.call(&["CONFIG", "SET", "maxclients", "7", "port", "1"]).error();
    assert_eq!(
        error,
        "ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config"
    );
    let told = client.call(&["CONFIG", "GET", "maxclients"]);
    assert_eq!(told, Reply::List(vec![Reply::bulk("maxclients"), Reply::bulk("10000")]));
    assert_eq!(client.call(&["CONFIG", "SET", "maxclients", "2"]), Reply::ok());
    let refused = Client::connect(node.address()).reply().error();
    assert_eq!(refused, "ERR max number of clients reached");
    // A client that says nothing for so long is closed.
    assert_eq!(client.call(&["CONFIG", "SET", "timeout", "1"]), Reply::ok());
    other.stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(other.next_reply(), None);
}

#[test]
fn resetstat_begins_anew_everywhere() {
    let node = node(|_| {});
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(node.address())).collect();
    for client in &mut clients {
        client.call(&["GET", "nothing"]);
    }
    assert_eq!(clients[0].info("keyspace_misses"), 4);
    assert_eq!(clients[0].call(&["CONFIG", "RESETSTAT"]), Reply::ok());
    assert_eq!(clients[0].info("keyspace_misses"), 0);
}

#[test]
fn the_slow_log_keeps_what_took_long_and_no_password() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    client.call(&["SET", "k", "v"]);
    assert_eq!(client.call(&["SLOWLOG", "LEN"]), Reply::Integer(0));
    client.call(&["CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "5"]);
    // The setting is looked at when a turn begins.
    client.call(&["AUTH", "default", "a password"]);
    client.call(&["GET", &"k".repeat(300)]);
    let Reply::List(entries) = client.call(&["SLOWLOG", "GET", "100"]) else { panic!("a list") };
    let told = format!("{entries:?}");
    assert!(told.contains("(172 more bytes)") && !told.contains("a password"), "{told}");
    let mut others: Vec<Client> = (0..3).map(|_| Client::connect(node.address())).collect();
    for client in &mut others {
        for _ in 0..20 {
            client.call(&["GET", "k"]);
        }
    }
    let Reply::Integer(length) = client.call(&["SLOWLOG", "LEN"]) else { panic!("a number") };
    assert!((5..=10).contains(&length), "at most 5 for each of two workers: {length}");
    assert_eq!(client.call(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"]), Reply::ok());
    wait_until("the log is empty", || {
        client.call(&["SLOWLOG", "RESET"]);
        client.call(&["SLOWLOG", "LEN"]) == Reply::Integer(0)
    });
}

#[test]
fn latency_histograms_are_of_all_workers() {
    let node = node(|_| {});
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(node.address())).collect();
    for client in &mut clients {
        client.call(&["GET", "k"]);
    }
    let Reply::List(told) = clients[0].call(&["LATENCY", "HISTOGRAM", "get", "nosuch"]) else {
        panic!("a list")
    };
    assert_eq!(told[0], Reply::bulk("get"));
    let Reply::List(get) = &told[1] else { panic!("a map") };
    assert_eq!(get[1], Reply::Integer(4));
    let Reply::List(histogram) = &get[3] else { panic!("a map") };
    assert_eq!(histogram.last(), Some(&Reply::Integer(4)), "the last bucket holds all");
}

#[test]
fn command_tells_the_keys_of_a_command() {
    let node = node(|_| {});
    let mut client = Client::connect(node.address());
    let keys = client.call(&["COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"]);
    assert_eq!(keys, Reply::List(vec![Reply::bulk("a"), Reply::bulk("b")]));
    for (command, error) in [
        (&["COMMAND", "GETKEYS", "PING", "a"][..], "ERR The command has no key arguments"),
        (&["COMMAND", "GETKEYS", "NOSUCH", "a"], "ERR Invalid command specified"),
        (&["COMMAND", "GETKEYS", "GET", "a", "b"], "ERR Invalid number of arguments specified for command"),
        (&["COMMAND", "GETKEYS", "GET"], "ERR wrong number of arguments for 'command|getkeys' command"),
    ] {
        assert_eq!(client.call(command).error(), error);
    }
    let Reply::List(names) = client.call(&["COMMAND", "LIST", "FILTERBY", "PATTERN", "get*"]) else {
        panic!()
    };
    assert!(names.contains(&Reply::bulk("getrange")) && !names.contains(&Reply::bulk("set")));
}
