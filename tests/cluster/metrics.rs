//! What a node tells of the time that its requests take, and of what happens to its cluster.

use annulus::client::Operations;
use annulus::types::Level;
use rustix::process::Signal;

use crate::faults::kill;
use crate::harness::{Reply, wait_until};
use crate::nodes::Cluster;

/// What stands behind `name=` in a line of INFO.
fn field(line: &str, name: &str) -> f64 {
    let value = line.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name} in {line}")).parse().expect("a number")
}

#[test]
fn the_time_of_each_operation_is_told_by_level_and_stage() {
    let cluster = Cluster::start(3);
    let mut client = cluster.resp(0);
    for (level, number) in [("one", 3), ("quorum", 5), ("all", 7)] {
        for key in 0..number {
            let key = format!("key:{key}");
            assert_eq!(client.call(&["AT", level, "SET", &key, "v"]), Reply::ok());
            assert!(matches!(client.call(&["MGET", &key, "other"]), Reply::List(both) if both.len() == 2));
        }
    }
    // About any key, so that some are proposed here and the others elsewhere.
    (0..30).for_each(|key| _ = client.call(&["INCR", &format!("counter:{key}")]));
    for (operation, calls) in [("at_one", 3.0), ("at_quorum", 5.0), ("at_all", 7.0), ("mget_quorum", 15.0)] {
        let line = client.info_text(&format!("levelstat_{operation}")).expect("it is told");
        assert_eq!(field(&line, "calls"), calls, "{line}");
        for stage in ["queue", "replicas", "flush"] {
            let [p50, p999] = ["p50", "p99.9"].map(|share| field(&line, &format!("{stage}_{share}_usec")));
            assert!(p999 >= p50, "{line}");
        }
        // For a write that does not take all, the others' answers may be enough before this node's own is asked.
        let local = ["at_all", "mget_quorum"].contains(&operation);
        assert!(!local || field(&line, "replicas_p50_usec") > field(&line, "local_p50_usec"), "{line}");
    }
    let counted = client.info_text("cmdstat_mget").expect("it was called");
    assert_eq!(field(&counted, "calls"), 15.0, "one call, however many keys");
    let line = client.info_text("levelstat_incr_linearizable").expect("it is told");
    assert!(field(&line, "calls") == 30.0 && field(&line, "local_p50_usec") > 0.0, "{line}");
    let mut native = cluster.native(0, Level::Quorum);
    native.put(b"k", b"v").unwrap();
    let stats = native.stats().unwrap();
    let count = |name: &str| stats.operations.iter().find(|row| row.name == name).map(|row| row.count);
    assert_eq!(count("native:put@quorum:replicas"), Some(1));
    assert_eq!(count("mget@quorum:flush"), Some(15));
    assert!(stats.counters.iter().any(|counter| counter.name == "rounds_prepared" && counter.value > 0));
    assert_eq!(client.call(&["CONFIG", "RESETSTAT"]), Reply::ok());
    assert_eq!(client.info_text("levelstat_at_one"), None);
    assert_eq!(client.info("rounds_prepared"), 0);
}

#[test]
fn a_command_that_fails_for_several_keys_fails_once() {
    let cluster = Cluster::start(3);
    for node in [1, 2] {
        kill(cluster.nodes[node].child.id(), Signal::KILL);
    }
    let mut client = cluster.resp(0);
    wait_until("the others are not asked any more", || cluster.links(0) == 0);
    for _ in 0..4 {
        assert!(client.call(&["MSET", "a", "1", "b", "2", "c", "3"]).error().starts_with("UNAVAILABLE "));
    }
    assert_eq!(client.info_text("cmdstat_mset").as_deref(), Some("calls=4,failed_calls=4"));
}

#[test]
fn what_reads_find_different_is_counted() {
    let cluster = Cluster::start(3);
    let pid = cluster.nodes[2].child.id();
    kill(pid, Signal::STOP);
    let mut client = cluster.resp(0);
    for key in 0..20 {
        assert_eq!(client.call(&["SET", &format!("key:{key}"), "v"]), Reply::ok());
    }
    // What it finds when it wakes it does not do any more.
    wait_until("its link is given up", || cluster.described(0, 2).number("links") == 0);
    kill(pid, Signal::CONT);
    wait_until("all are linked again", || cluster.links(2) == 4);
    let mut late = cluster.resp(2);
    for key in 0..20 {
        assert_eq!(late.call(&["GET", &format!("key:{key}")]), Reply::bulk("v"));
    }
    let (divergent, written_back) = (late.info("reads_divergent"), late.info("reads_written_back"));
    assert!(divergent >= 15 && written_back <= divergent, "{divergent} of 20, {written_back} written back");
    for key in 0..20 {
        assert_eq!(late.call(&["GET", &format!("key:{key}")]), Reply::bulk("v"));
    }
    assert_eq!(late.info("reads_divergent"), divergent, "they are repaired");
}

#[test]
fn elections_deaths_and_recovery_are_told() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader(0).expect("somebody leads");
    let other = (leader + 1) % 3;
    for key in 0..500 {
        assert_eq!(cluster.resp(other).call(&["SET", &format!("key:{key}"), "v"]), Reply::ok());
    }
    let before = cluster.resp(other).info("leaders_elected");
    let clients = cluster.nodes[leader].address;
    kill(cluster.nodes[leader].child.id(), Signal::KILL);
    cluster.nodes[leader].exit();
    wait_until("another leads", || cluster.resp(other).info("leaders_elected") > before);
    wait_until("it is found dead", || cluster.resp(other).info("nodes_dead") == 1);
    assert!(cluster.resp(other).info("nodes_suspected") >= 1);
    assert!(cluster.resp(other).info("links_lost") >= 2, "of each worker");
    cluster.restart_at(leader, clients);
    wait_until("it is whole", || cluster.state(leader) == "active");
    let mut back = cluster.resp(leader);
    assert_eq!(back.info("recovery_permille"), 1000);
    assert!(back.info("recovery_cells") >= 500 && back.info("recovery_pages") >= 2);
}
