//! The floor and the load generator as processes: what they print, what they count, how they fail.
//!
//! Each test starts its own floor on a port of the kernel's choice and ends it by its id.

// The functions that tests share are tests too, which the lint cannot know.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A server that ends with its owner: the floor, mostly.
struct Floor {
    child: Child,
    address: String,
}

impl Floor {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_annulus-echo"))
            .args(["--listen", "127.0.0.1:0", "--value-bytes", "64"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().strip_prefix("listening on ").expect("the first line says where").to_owned();
        Self { child, address }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn load(target: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_annulus-load"))
        .args(["--target", target, "--json", "-"])
        .args(arguments)
        .output()
        .unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("the report is JSON, whatever happened")
}

/// The one line that a failed run says.
fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "a failed run says so in its exit code");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_counted_run_counts_exactly() {
    let floor = Floor::start();
    let pid = floor.child.id().to_string();
    let output = load(
        &floor.address,
        &[
            "--requests",
            "10007",
            "-P",
            "16",
            "--connections",
            "7",
            "--preload",
            "--keys",
            "1003",
            "--server-pid",
            &pid,
        ],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report(&output);
    assert_eq!(report["preload"]["operations"], 1003);
    assert_eq!(report["preload"]["stored"], 1003);
    let measured = &report["measured"];
    assert_eq!(measured["operations"], 10007);
    assert_eq!(measured["errors"], 0);
    assert_eq!(measured["misses"], 0);
    let (hits, stored) = (measured["hits"].as_u64().unwrap(), measured["stored"].as_u64().unwrap());
    assert_eq!(hits + stored, 10007);
    // 9 of 10 are reads: 9006, with a standard deviation of 30.
    assert!((8850..9160).contains(&hits), "{hits}");
    let latency = &measured["latency_us"];
    assert!(latency["p50"].as_f64().unwrap() > 0.0);
    assert!(latency["p50"].as_f64() <= latency["p99_9"].as_f64());
    assert!(latency["p99_9"].as_f64() <= latency["max"].as_f64());
    assert!(measured["server_cpu_us_per_operation"].as_f64().unwrap() > 0.0);
    assert!(measured["generator_cpu_us_per_operation"].as_f64().unwrap() > 0.0);
    assert!(report["failure"].is_null());
}

#[test]
fn a_window_counts_exactly_and_comes_in_parts() {
    let floor = Floor::start();
    let arguments = ["--requests", "10007", "-P", "64", "--connections", "3", "--send", "window"];
    let output = load(&floor.address, &[&arguments[..], &["--preload", "--keys", "1003"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = report(&output);
    assert_eq!(report["load"]["send"], "window");
    assert_eq!(report["preload"]["stored"], 1003);
    let measured = &report["measured"];
    assert_eq!(measured["operations"], 10007);
    // Statuses of sets are shorter than values, so that a quarter of the pipeline's bytes may hold a few more replies.
    let replies_per_read = measured["replies_per_read"].as_f64().unwrap();
    assert!((1.0..32.0).contains(&replies_per_read), "{replies_per_read}");
}

#[test]
fn the_native_protocol_finds_what_it_stored() {
    let mut node = Command::new(env!("CARGO_BIN_EXE_annulus"))
        .args(["--listen", "127.0.0.1:0", "--workers", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(node.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // Ends as the floor does.
    let node = Floor { child: node, address: line.trim().strip_prefix("listening on ").unwrap().to_owned() };
    for send in ["batch", "window"] {
        let arguments = ["--protocol", "native", "--preload", "--keys", "1003", "--requests", "10007"];
        let output = load(&node.address, &[&arguments[..], &["-P", "16", "--send", send]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report = report(&output);
        assert_eq!(report["preload"]["stored"], 1003);
        let measured = &report["measured"];
        assert_eq!(measured["operations"], 10007);
        assert_eq!((&measured["misses"], &measured["errors"]), (&0.into(), &0.into()));
    }
}

#[test]
fn a_timed_run_takes_its_time_behind_its_warm_up() {
    let floor = Floor::start();
    let output =
        load(&floor.address, &["--duration", "200ms", "--warm-up", "50ms", "--distribution", "zipfian"]);
    assert!(output.status.success());
    let report = report(&output);
    let duration_ms = report["measured"]["duration_ms"].as_f64().unwrap();
    assert!(duration_ms >= 200.0, "{duration_ms}");
    assert!(report["measured"]["operations"].as_u64().unwrap() > 0);
    assert!(report["preload"].is_null());
}

#[test]
fn a_comparison_measures_every_cell_of_every_round() {
    let output = Command::new(env!("CARGO_BIN_EXE_annulus-compare"))
        .args(["--servers", "echo", "--skip-memory", "--rounds", "2", "--pipelines", "1,16", "--json", "-"])
        .args(["--cell-ms", "50", "--warm-up-ms", "10", "--keys", "1000", "--connections", "5"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results = report(&output);
    let cells = results["cells"].as_array().unwrap();
    let places: Vec<_> = cells
        .iter()
        .map(|cell| (cell["round"].as_u64().unwrap(), cell["pipeline"].as_u64().unwrap()))
        .collect();
    assert_eq!(places, [(0, 1), (0, 16), (1, 1), (1, 16)]);
    assert!(cells.iter().all(|cell| cell["phase"]["operations"].as_u64().unwrap() > 0));
    // Without redis-server there is nothing to be a share of.
    assert!(results["rows"][0]["figures"][0]["share_of_redis_excess"].is_null());
    assert!(results["failure"].is_null());
}

#[test]
fn a_check_without_annulus_is_not_passed() {
    let output = Command::new(env!("CARGO_BIN_EXE_annulus-compare"))
        .args(["--servers", "echo", "--skip-memory", "--rounds", "1", "--pipelines", "1", "--check"])
        .args(["--cell-ms", "20", "--warm-up-ms", "0", "--keys", "1000", "--connections", "2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_target_that_is_not_there_is_one_clear_line() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = load(&free, &["--requests", "1"]);
    assert!(complaint(&output).contains(&format!("cannot connect to {free}")));
    assert!(report(&output)["measured"].is_null());
}

/// A target that answers `whole` replies and then closes, or says nothing more if `silent`.
fn failing_target(whole: usize, silent: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 1 << 16];
        for _ in 0..whole {
            if socket.read(&mut request).unwrap() > 0 {
                socket.write_all(b"$-1\r\n").unwrap();
            }
        }
        if silent {
            // Until the other side gives up.
            while socket.read(&mut request).is_ok_and(|read| read > 0) {}
        }
    });
    address
}

#[test]
fn a_target_that_dies_half_way_leaves_partial_results() {
    let target = failing_target(3, false);
    let output = load(&target, &["--connections", "1", "--requests", "10", "--read-ratio", "1"]);
    let line = complaint(&output);
    assert!(line.contains(&target) && line.contains("3 operations into the phase"), "{line}");
    let report = report(&output);
    assert_eq!(report["measured"]["operations"], 3);
    assert_eq!(report["measured"]["misses"], 3);
    assert!(report["failure"].is_string());
}

#[test]
fn a_target_that_falls_silent_is_given_up() {
    let target = failing_target(2, true);
    let arguments =
        ["--connections", "1", "--requests", "10", "--read-ratio", "1", "--reply-timeout", "100ms"];
    let output = load(&target, &arguments);
    assert!(complaint(&output).contains("no reply for 100 ms"));
    assert_eq!(report(&output)["measured"]["operations"], 2);
}

#[test]
fn error_replies_are_counted_and_fail_the_run() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 1 << 16];
        while socket.read(&mut request).is_ok_and(|read| read > 0) {
            if socket.write_all(b"-OOM no room\r\n").is_err() {
                break;
            }
        }
    });
    let output = load(&target, &["--connections", "1", "--requests", "5"]);
    assert!(complaint(&output).contains("5 error replies, the first: -OOM no room"));
    assert_eq!(report(&output)["measured"]["errors"], 5);
}

#[test]
fn the_floor_answers_a_client_that_closes_its_half_and_closes_on_nonsense() {
    let floor = Floor::start();
    let mut socket = TcpStream::connect(&floor.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n").unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut replies = Vec::new();
    socket.read_to_end(&mut replies).unwrap();
    let expected = [&b"$64\r\n"[..], &[b'x'; 64], b"\r\n+OK\r\n"].concat();
    assert_eq!(replies, expected);

    let mut socket = TcpStream::connect(&floor.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut nothing = Vec::new();
    // Bytes that were never read may turn the close into a reset.
    let _ = socket.read_to_end(&mut nothing);
    assert!(nothing.is_empty());
}

#[test]
fn a_pipeline_beyond_every_buffer_is_answered_in_full() {
    const REQUESTS: usize = 50_000;
    let floor = Floor::start();
    let mut socket = TcpStream::connect(&floor.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut writer = socket.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        writer.write_all(&b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".repeat(REQUESTS)).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    // The replies are left unread until the requests stop fitting: the floor must then stop reading, and go on.
    std::thread::yield_now();
    let mut replies = Vec::new();
    socket.read_to_end(&mut replies).unwrap();
    sender.join().unwrap();
    assert_eq!(replies.len(), REQUESTS * 71);
}

/// Stops a process for so long that every request meanwhile waits, while `run` loads it.
fn with_a_stall(floor: &Floor, stall: Duration, run: impl FnOnce() -> Output) -> Output {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = i32::try_from(floor.child.id()).ok().and_then(Pid::from_raw).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The stall lies well within the measured second; its length is what is measured.
            std::thread::sleep(Duration::from_millis(700));
            kill_process(pid, Signal::STOP).unwrap();
            // The stall itself.
            std::thread::sleep(stall);
            kill_process(pid, Signal::CONT).unwrap();
        });
        run()
    })
}

/// One request in ten meets a stall of 100 ms within a second, and waits up to as long. A closed loop of few
/// connections has one request of each wait, and leaves out all the others.
#[test]
fn an_open_loop_shows_a_stall_that_a_closed_loop_hides() {
    let stall = Duration::from_millis(100);
    let common = ["--connections", "4", "--keys", "1000", "--warm-up", "300ms", "--duration", "1s"];
    let p99_us = |arguments: &[&str]| {
        let floor = Floor::start();
        let arguments = [&common, arguments].concat();
        let output = with_a_stall(&floor, stall, || load(&floor.address, &arguments));
        let report = report(&output);
        let latency = &report["measured"]["latency_us"];
        (latency["p99"].as_f64().unwrap(), latency["max"].as_f64().unwrap(), report)
    };
    let (open_p99, open_max, report) = p99_us(&["--rate", "5000"]);
    let (closed_p99, closed_max, _) = p99_us(&[]);
    println!("p99 and max in us: open {open_p99} {open_max}, closed {closed_p99} {closed_max}");
    assert!(open_max > 95_000.0 && closed_max > 95_000.0, "both met it");
    assert!(open_p99 > 50_000.0, "one in ten was due while nobody answered");
    assert!(closed_p99 < 20_000.0, "and the closed loop knows of four");
    let slices = report["measured"]["series"].as_array().unwrap();
    assert!(slices.len() >= 8, "{} slices", slices.len());
}

#[test]
fn an_open_loop_keeps_its_rate_or_says_that_it_does_not() {
    let floor = Floor::start();
    for arrivals in ["fixed", "poisson"] {
        let output = load(
            &floor.address,
            &["--rate", "3000", "--arrivals", arrivals, "--duration", "1s", "--keys", "1000", "--seed", "5"],
        );
        assert!(output.status.success(), "{output:?}");
        let measured = &report(&output)["measured"];
        let due = measured["open_loop"]["due"].as_u64().unwrap();
        // Poisson arrivals of a second vary by their root.
        let tolerance = if arrivals == "fixed" { 30 } else { 250 };
        assert!(due.abs_diff(3000) <= tolerance, "{arrivals}: {due}");
        assert!(measured["operations"].as_u64().unwrap().abs_diff(due) < 30);
    }
    // Nobody does a hundred million a second over one connection.
    let output =
        load(&floor.address, &["--rate", "1e8", "--connections", "1", "--duration", "300ms", "--keys", "10"]);
    let code = output.status.code();
    let behind = &report(&output)["measured"]["open_loop"];
    let (due, late) = (behind["due"].as_u64().unwrap(), behind["sent_late"].as_u64().unwrap());
    assert!(late > due / 2, "what could not be sent in time is counted: {late} of {due}");
    assert!(code == Some(3) || code == Some(0), "{code:?}");
}

#[test]
fn a_counted_open_loop_sends_so_many_and_no_more() {
    let floor = Floor::start();
    let output = load(&floor.address, &["--rate", "20000", "--requests", "1234", "--keys", "100"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(report(&output)["measured"]["operations"], 1234);
}

#[test]
fn results_are_compared_and_drawn() {
    let floor = Floor::start();
    let folder = std::env::temp_dir().join(format!("annulus-compare-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    for (name, label, connections) in [("a1", "a", "2"), ("a2", "a", "2"), ("b1", "b", "2"), ("c1", "c", "3")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_annulus-load"))
            .args([
                "--target",
                &floor.address,
                "--label",
                label,
                "--connections",
                connections,
                "--requests",
                "2000",
            ])
            .args(["--keys", "100", "--json", &path(name)])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let compare = |arguments: &[String]| {
        Command::new(env!("CARGO_BIN_EXE_annulus-load")).arg("compare").args(arguments).output().unwrap()
    };
    let html = path("page.html");
    let output = compare(&[path("a1"), path("a2"), path("b1"), "--html".into(), html.clone()]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("spread unknown: repeat each"));
    assert!(std::fs::read_to_string(&html).unwrap().contains("<svg"));
    let other = complaint(&compare(&[path("a1"), path("c1")]));
    assert!(other.contains("number of connections") && other.contains("--force"), "{other}");
    std::fs::write(path("broken"), "{\"load\": ").unwrap();
    assert!(complaint(&compare(&[path("broken")])).contains("is no result"));
    assert!(complaint(&compare(&[path("missing")])).contains("cannot read"));
    std::fs::remove_dir_all(&folder).unwrap();
}
