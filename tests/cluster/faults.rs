//! One node of three is killed, paused or restarted under load: the others serve on, and nothing acknowledged is lost.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use annulus::client::Error;
use annulus::client::Operations;
use annulus::types::Level;
use rustix::process::Signal;

use crate::harness::{Reply, request, wait_until};
use crate::load::{judge, work_beside};
use crate::nodes::Cluster;

/// How long clients work before, during and after a fault.
const PHASE: Duration = Duration::from_millis(700);

/// How long clients of the other nodes may go without an operation done: what was asked of the lost one is hedged after
/// ten milliseconds; the rest is for a busy machine.
const GAP_MAX: Duration = Duration::from_millis(2500);

/// Lets clients work on.
fn a_while() {
    // The load goes on meanwhile: this is how long it is measured.
    std::thread::sleep(PHASE);
}

#[test]
fn a_node_that_is_killed_is_not_missed() {
    let cluster = Cluster::start(3);
    let pid = cluster.nodes[1].child.id();
    let served = work_beside(&cluster, &[0, 2], || {
        a_while();
        kill(pid, Signal::KILL);
        a_while();
    });
    println!("{} done, longest gap {:?}", served.done, served.longest_gap);
    judge(&served.history);
    assert!(served.longest_gap < GAP_MAX, "{:?}", served.longest_gap);
    assert!(served.done > 1_000, "{}", served.done);
}

#[test]
fn a_node_that_is_paused_is_done_without_and_comes_back() {
    let cluster = Cluster::start(3);
    let pid = cluster.nodes[2].child.id();
    let served = work_beside(&cluster, &[0, 1], || {
        a_while();
        kill(pid, Signal::STOP);
        // Longer than a link may be silent.
        for _ in 0..4 {
            a_while();
        }
        kill(pid, Signal::CONT);
        a_while();
    });
    println!("{} done, longest gap {:?}", served.done, served.longest_gap);
    judge(&served.history);
    assert!(served.longest_gap < GAP_MAX, "{:?}", served.longest_gap);
    for node in 0..3 {
        wait_until("all are linked again", || cluster.links(node) == 4);
        cluster.serves_again(node);
    }
}

#[test]
fn without_a_majority_nothing_is_acknowledged_and_with_it_everything_is_still_there() {
    let cluster = Cluster::start(3);
    let mut client = cluster.resp(0);
    assert_eq!(client.call(&["SET", "kept", "value"]), Reply::ok());
    for node in [1, 2] {
        kill(cluster.nodes[node].child.id(), Signal::STOP);
    }
    let (mut unknown, mut acknowledged) = (0, false);
    wait_until("the silent ones are not asked any more", || {
        let reply = client.call(&["SET", "kept", "other"]);
        if reply == Reply::ok() {
            // A signal takes its time.
            acknowledged = true;
            return false;
        }
        let error = reply.error();
        unknown += u32::from(error.starts_with("TIMEOUT "));
        error.starts_with("UNAVAILABLE ")
    });
    assert!(unknown > 0, "what was sent to a silent node may have been applied");
    assert!(client.call(&["GET", "kept"]).error().starts_with("UNAVAILABLE "));
    kill(cluster.nodes[2].child.id(), Signal::CONT);
    let mut value = Reply::Null;
    wait_until("it serves again", || {
        value = client.call(&["GET", "kept"]);
        !matches!(value, Reply::Error(_))
    });
    // The other write was not known to be refused at first: it may have taken effect.
    let earlier = value == Reply::bulk("value") && !acknowledged;
    assert!(earlier || value == Reply::bulk("other"), "{value:?}");
}

#[test]
fn a_node_that_lost_its_data_gets_it_back_before_it_counts() {
    const KEYS: usize = 2_000;
    let mut cluster = Cluster::start(3);
    let mut client = cluster.resp(0);
    let key = |key: usize| format!("key:{key}");
    for number in 0..KEYS {
        assert_eq!(client.call(&["SET", &key(number), &"value".repeat(20)]), Reply::ok());
    }
    assert_eq!(client.call(&["INCR", "counter"]), Reply::Integer(1));
    assert_eq!(client.call(&["DEL", &key(0)]), Reply::Integer(1));
    kill(cluster.nodes[1].child.id(), Signal::KILL);
    cluster.nodes[1].exit();
    cluster.restart(1);
    wait_until("it has its data again", || cluster.state(1) == "active");
    wait_until("it is known", || cluster.described(0, 1).get("state") == "active");
    assert_eq!(cluster.resp(0).info("losses"), 0);
    wait_until("each worker is linked", || cluster.links(1) == 4);
    // Of what the other one had, nothing is missed.
    kill(cluster.nodes[2].child.id(), Signal::KILL);
    for node in [0, 1] {
        cluster.serves_again(node);
        let mut client = cluster.resp(node);
        for number in 1..KEYS {
            assert_eq!(client.call(&["GET", &key(number)]), Reply::bulk("value".repeat(20)), "{number}");
        }
        assert_eq!(client.call(&["GET", &key(0)]), Reply::Null);
        assert!(matches!(client.call(&["INCR", "counter"]), Reply::Integer(2..)));
    }
}

#[test]
fn a_node_that_lost_its_data_is_not_counted_while_a_source_is_silent() {
    let mut cluster = Cluster::start(3);
    assert_eq!(cluster.resp(0).call(&["SET", "key", "value"]), Reply::ok());
    // One of the two that have everything says nothing: that is one too few.
    let silent = cluster.nodes[2].child.id();
    kill(silent, Signal::STOP);
    kill(cluster.nodes[1].child.id(), Signal::KILL);
    cluster.nodes[1].exit();
    cluster.restart(1);
    let state = |cluster: &Cluster| cluster.described(0, 1).get("state").to_owned();
    wait_until("it is known to have come back", || state(&cluster) == "recovering");
    let since = Instant::now();
    wait_until("it has had the time to recover", || {
        let reply = cluster.resp(0).call(&["GET", "key"]);
        assert!(reply == Reply::bulk("value") || matches!(reply, Reply::Error(_)), "{reply:?}");
        since.elapsed() > Duration::from_secs(2)
    });
    assert_eq!(state(&cluster), "recovering");
    kill(silent, Signal::CONT);
    wait_until("it has its data again", || state(&cluster) == "active");
    for node in 0..3 {
        wait_until("it is read", || cluster.resp(node).call(&["GET", "key"]) == Reply::bulk("value"));
    }
}

#[test]
fn a_reset_link_is_not_waited_for() {
    // A deadline is a second. A machine that stands still for a moment is no fault of the node's.
    let delays: Vec<Duration> = (0..3).map(|_| delay_of_an_answer_beside_a_reset_link()).collect();
    assert!(delays.iter().any(|delay| *delay < Duration::from_millis(900)), "{delays:?}");
}

fn delay_of_an_answer_beside_a_reset_link() -> Duration {
    let cluster = Cluster::start(3);
    let pid = cluster.nodes[1].child.id();
    kill(pid, Signal::STOP);
    let mut client = cluster.native(0, Level::All);
    let (answer, elapsed) = std::thread::scope(|scope| {
        let started = Instant::now();
        let asked = scope.spawn(move || {
            let answer = client.put(b"key", b"value");
            (answer, started.elapsed())
        });
        let mut other = cluster.resp(0);
        // What asks waits for the node that is paused, until that one ends.
        wait_until("it is under way", || {
            other.call(&["GET", "key"]) != Reply::Null || started.elapsed() > PHASE / 4
        });
        kill(pid, Signal::KILL);
        asked.join().expect("it is answered")
    });
    assert!(matches!(answer, Err(Error::Unknown { .. })), "{answer:?}");
    elapsed
}

#[test]
fn a_reply_for_a_client_that_has_gone_is_told_to_nobody_else() {
    // One worker, so that whoever comes next has the place of whoever has gone.
    let cluster = Cluster::start_with_workers(3, 1);
    for node in [1, 2] {
        kill(cluster.nodes[node].child.id(), Signal::STOP);
    }
    for _ in 0..2 {
        let mut stream = TcpStream::connect(cluster.nodes[0].address).unwrap();
        stream.write_all(&request(&["SET", "key", "value"])).unwrap();
        let mut watching = cluster.resp(0);
        wait_until("it is under way", || watching.info("worker_operations_under_way") > 0);
        // A reset, so that its place is free at once.
        socket2::Socket::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let mut others: Vec<_> = (0..4).map(|_| cluster.resp(0)).collect();
    for client in &mut others {
        client.send(&request(&["GET", "other"]));
    }
    for client in &mut others {
        let error = client.reply().error();
        // A write would be told that its outcome is unknown.
        assert!(error.starts_with("UNAVAILABLE "), "{error}");
    }
}

/// Sends a process a signal; one that pauses it takes its time, and is waited for.
pub(crate) fn kill(pid: u32, signal: Signal) {
    let process = rustix::process::Pid::from_raw(pid as i32).expect("a pid");
    rustix::process::kill_process(process, signal).expect("it runs");
    if signal == Signal::STOP {
        wait_until("it is paused", || threads(pid).iter().all(|state| *state == 'T'));
    }
}

/// What each thread of a process is doing, as the kernel's letters have it.
fn threads(pid: u32) -> Vec<char> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let states = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    // Behind the name, which is in brackets and may hold anything.
    states.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
}
