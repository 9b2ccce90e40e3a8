//! Who belongs to the cluster and who leads it: joins, restarts, elections, replacements, and what is refused.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::faults::kill;
use crate::harness::{Process, Reply, wait_until};
use crate::nodes::{Cluster, name};

/// How long nobody may lead once a leader has gone: on a busy machine, and with a link that is noticed late.
const LEADERLESS_MAX: Duration = Duration::from_secs(5);

/// Starts a node that is to fail; returns its exit code and what it says.
fn fails(cluster: &Cluster, id: &str, directory: &str, more: &[&str]) -> (Option<i32>, String) {
    let directory = cluster.directory.join(directory);
    let mut command = Command::new(env!("CARGO_BIN_EXE_annulus"));
    command.args(["node", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--id", id]);
    command.arg("--data-dir").arg(directory).args(more);
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn when_the_leader_is_killed_another_leads_and_the_others_serve_on() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader(0).expect("somebody leads");
    let term = cluster.resp(0).info("term");
    kill(cluster.nodes[leader].child.id(), Signal::KILL);
    cluster.nodes[leader].exit();
    let started = Instant::now();
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    for &node in &others {
        assert!(cluster.serves_again(node) < Duration::from_secs(3), "no leader is needed to serve");
        wait_until("another leads", || cluster.leader(node).is_some_and(|other| other != leader));
    }
    println!("another led after {:?}", started.elapsed());
    assert!(started.elapsed() < LEADERLESS_MAX, "{:?}", started.elapsed());
    assert!(cluster.resp(others[0]).info("term") > term);
    wait_until("it is known to be dead", || cluster.described(others[0], leader).get("liveness") == "dead");
    cluster.restart(leader);
    wait_until("it is back", || cluster.described(others[0], leader).get("liveness") == "alive");
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_first() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader(0).expect("somebody leads");
    cluster.nodes[leader].signal(Signal::TERM);
    assert_eq!(cluster.nodes[leader].exit().0, Some(0));
    let other = (leader + 1) % 3;
    // It knows already, or hears within a message's time: no election had to be waited for.
    let started = Instant::now();
    wait_until("another leads", || cluster.leader(other).is_some_and(|other| other != leader));
    println!("another was known to lead {:?} after the end", started.elapsed());
}

#[test]
fn a_node_keeps_its_number_and_gets_another_life() {
    let mut cluster = Cluster::start(3);
    let before = cluster.described(0, 2);
    let epoch = cluster.resp(0).info("epoch");
    kill(cluster.nodes[2].child.id(), Signal::KILL);
    cluster.nodes[2].exit();
    cluster.restart_elsewhere(2);
    wait_until("its life is known", || {
        cluster.described(0, 2).number("incarnation") > before.number("incarnation")
    });
    let after = cluster.described(0, 2);
    assert_eq!(after.get("number"), before.get("number"));
    assert_ne!(after.get("peers"), before.get("peers"), "it listens elsewhere, and everybody knows");
    for node in 0..3 {
        wait_until("the epoch has risen", || cluster.resp(node).info("epoch") > epoch);
        wait_until("all are linked", || cluster.links(node) == 4);
    }
}

#[test]
fn a_cluster_whose_nodes_were_all_killed_begins_again_empty_and_says_so() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.resp(0).call(&["SET", "key", "value"]), Reply::ok());
    let id = cluster.resp(0).info_text("cluster_id");
    for node in &mut cluster.nodes {
        kill(node.child.id(), Signal::KILL);
        node.exit();
    }
    // Not one after the other: each needs a majority to be let in again.
    (0..3).for_each(|node| cluster.restart(node));
    for node in 0..3 {
        wait_until("it is open", || cluster.state(node) == "active");
        cluster.serves_again(node);
    }
    let mut client = cluster.resp(1);
    assert!(client.info("losses") >= 1);
    assert_eq!(client.info_text("cluster_id"), id);
    assert_eq!(client.call(&["GET", "key"]), Reply::Null);
}

#[test]
fn five_nodes_do_without_two_voters() {
    let mut cluster = Cluster::start(5);
    let leader = cluster.leader(0).expect("somebody leads");
    for node in [leader, (leader + 1) % 5] {
        kill(cluster.nodes[node].child.id(), Signal::KILL);
        cluster.nodes[node].exit();
    }
    let left = (leader + 2) % 5;
    wait_until("another leads", || cluster.leader(left).is_some_and(|other| other != leader));
    // Three of five nodes hold any key, and some keys were held by both that are gone: those wait.
    let mut client = cluster.resp(left);
    let served = (0..100).filter(|key| client.call(&["SET", &format!("key:{key}"), "v"]) == Reply::ok());
    assert!(served.count() > 30);
}

#[test]
fn a_setting_of_the_cluster_is_set_through_any_node_and_told_by_all() {
    let cluster = Cluster::start(3);
    let follower = (cluster.leader(0).expect("somebody leads") + 1) % 3;
    let name = "cluster-operation-timeout-ms";
    let error = cluster.resp(follower).call(&["CONFIG", "SET", name, "5"]).error();
    assert!(error.contains("out of bounds"), "{error}");
    for value in ["1500", "700"] {
        assert_eq!(cluster.resp(follower).call(&["CONFIG", "SET", name, value]), Reply::ok());
        let expected = Reply::List(vec![Reply::bulk(name), Reply::bulk(value)]);
        for node in 0..3 {
            wait_until("it is set", || cluster.resp(node).call(&["CONFIG", "GET", name]) == expected);
        }
    }
}

#[test]
fn a_name_is_one_nodes_until_that_one_is_dead_and_replaced() {
    let mut cluster = Cluster::start(3);
    let seed = cluster.peer(0).to_string();
    let (code, said) = fails(&cluster, "n3", "other", &["--join", &seed]);
    assert_eq!(code, Some(1));
    assert!(said.contains("another node has the name n3") && said.contains("--replace"), "{said}");
    let (code, said) = fails(&cluster, "n9", "nine", &["--join", &seed, "--replace"]);
    assert!(code == Some(1) && said.contains("no node n9 to replace"), "{said}");
    kill(cluster.nodes[2].child.id(), Signal::KILL);
    cluster.nodes[2].exit();
    std::fs::remove_dir_all(cluster.directory.join(name(2))).unwrap();
    // It waits until the one that it replaces is known to be dead.
    cluster.nodes[2] = cluster.start_node(2, 0, &["--join", &seed, "--replace"]);
    wait_until("it has the other's place", || cluster.described(0, 2).number("number") == 4);
    wait_until("it has what the other had", || cluster.described(0, 2).get("state") == "active");
    wait_until("it votes", || cluster.described(0, 2).get("votes") == "1");
}

#[test]
fn metadata_are_one_nodes_and_one_processes() {
    let cluster = Cluster::start(1);
    let (code, said) = fails(&cluster, "n1", "n1", &[]);
    assert!(code == Some(1) && said.contains("in use by another process"), "{said}");
    let mut cluster = cluster;
    kill(cluster.nodes[0].child.id(), Signal::KILL);
    cluster.nodes[0].exit();
    let (code, said) = fails(&cluster, "n2", "n1", &[]);
    assert!(code == Some(1) && said.contains("are of the node n1"), "{said}");
    for copy in ["n1/metadata", "n1/metadata.copy"] {
        let path = cluster.directory.join(copy);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
    }
    let (code, said) = fails(&cluster, "n1", "n1", &[]);
    assert!(code == Some(1) && said.contains("it is damaged"), "{said}");
}

#[test]
fn a_node_that_is_to_join_waits_and_can_be_stopped_meanwhile() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let directory = std::env::temp_dir().join(format!("annulus-waiting-{}", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_annulus"));
    command.args([
        "node",
        "--listen",
        "127.0.0.1:0",
        "--peer-listen",
        "127.0.0.1:0",
        "--id",
        "n2",
        "--join",
        &address,
    ]);
    command.arg("--data-dir").arg(&directory).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let mut process = Process { child, address: ([127, 0, 0, 1], 1).into() };
    wait_until("it has begun", || directory.join("lock").exists());
    assert_eq!(process.child.try_wait().unwrap(), None);
    process.signal(Signal::TERM);
    assert_eq!(process.exit().0, Some(0));
    let metadata = std::fs::read(directory.join("metadata")).unwrap();
    assert!(metadata.is_empty(), "it made no cluster of its own");
    std::fs::remove_dir_all(&directory).unwrap();
}
