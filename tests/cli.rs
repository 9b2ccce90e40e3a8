//! The commands, run as a user runs them: against a cluster on this machine, and against nothing.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

fn annulus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_annulus")).args(arguments).output().expect("the binary runs")
}

#[track_caller]
fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("words")
}

/// A cluster of `annulus local`, interrupted when the test ends.
struct Local {
    child: Child,
    target: String,
}

/// A port such that it and the two behind it are free, and the same eight further on.
fn free_port() -> u16 {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let fits = |base: &u16| (0..3).all(|node| free(base + node) && free(base + 8 + node));
    let drawn = std::iter::repeat_with(|| fastrand::u16(1024..3000) * 10).take(1000);
    drawn.into_iter().find(fits).expect("there are free ports")
}

impl Local {
    fn start() -> Self {
        let port = free_port();
        let ports = [port.to_string(), (port + 8).to_string()];
        let mut child = Command::new(env!("CARGO_BIN_EXE_annulus"))
            .args(["local", "--port", &ports[0], "--peer-port", &ports[1]])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = child.stdout.take().expect("it was piped");
        let ready = BufReader::new(output).lines().map_while(Result::ok).any(|line| line.contains("Ctrl-C"));
        assert!(ready, "it did not come up: {:?}", child.try_wait());
        Self { child, target: format!("127.0.0.1:{port}") }
    }

    /// Runs a command against it, and returns its exit code and its answer.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = annulus(&[arguments, &["--target", &self.target]].concat());
        let told = text(&output) + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().expect("it was not killed"), told)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, told) = self.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("{code}: {error} in {told:?}"))
    }

    /// Interrupts it; returns how it ended.
    fn interrupt(&mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::INT).expect("it runs");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.interrupt();
        }
    }
}

#[test]
fn the_demonstration_passes() {
    let output = annulus(&["demo"]);
    let told = text(&output);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    for words in
        ["found node2 dead", "whole again: 6 keys", "leads in term", "stopped cleanly", "was verified"]
    {
        assert!(told.contains(words), "no {words:?} in {told}");
    }
}

#[test]
fn keys_from_the_command_line() {
    let mut local = Local::start();
    assert_eq!(local.run(&["get", "k"]).0, 3);
    assert_eq!(local.run(&["put", "k", "v"]).0, 0);
    assert_eq!(local.run(&["get", "k"]), (0, "v\n".into()));
    let found = local.json(&["get", "k"]);
    assert_eq!(found["value"], "v");
    let version = found["version"].as_str().expect("a version");
    assert_eq!(local.run(&["put", "k", "w", "--if-absent"]).0, 3);
    assert_eq!(local.run(&["cas", "k", version, "w", "--level", "linearizable"]).0, 0);
    assert_eq!(local.run(&["cas", "k", version, "x"]).0, 3, "the version is another by now");
    assert_eq!(local.run(&["get", "k", "--level", "all"]), (0, "w\n".into()));
    assert_eq!(local.run(&["incr", "n", "-5"]), (0, "-5\n".into()));
    let (code, told) = local.run(&["incr", "k"]);
    assert!(code == 1 && told.contains("decimal"), "{told}");
    assert_eq!(local.run(&["remove", "k"]).0, 0);
    assert_eq!(local.run(&["remove", "k"]).0, 3);
    assert_eq!(local.interrupt(), Some(0));
    let (code, told) = local.run(&["get", "k", "--timeout", "1"]);
    assert!(code == 1 && told.contains("is a node running there?"), "{code}: {told}");
}

#[test]
fn a_cluster_is_described() {
    let local = Local::start();
    let status = local.json(&["cluster", "status"]);
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(3));
    assert!(local.run(&["cluster", "status"]).1.contains("active"));
    assert_eq!(local.json(&["cluster", "leader"])["leader"], status["leader"]);
    let ring = local.json(&["cluster", "ring"]);
    let shares = ring["nodes"].as_array().expect("nodes").iter();
    let held: f64 = shares.map(|node| node["held"].as_f64().expect("a share")).sum();
    assert!((held - 3.0).abs() < 1e-6, "three copies of all: {held}");
    let explained = local.json(&["cluster", "explain", "user:1001"]);
    assert_eq!(explained["replicas"].as_array().map(Vec::len), Some(3));
    let (code, told) = local.run(&["cluster", "settings", "operation-timeout-ms", "700"]);
    assert_eq!(code, 0, "{told}");
    let (code, told) = local.run(&["cluster", "settings", "nonsense", "1"]);
    assert!(code == 2 && told.contains("drift-max-ms"), "{told}");
    let (code, told) = local.run(&["cluster", "recover", "--accept-loss"]);
    assert!(code == 1 && told.contains("no node is dead"), "{told}");
}

#[test]
fn configurations_are_checked() {
    let path = std::env::temp_dir().join(format!("annulus-cli-{}.toml", std::process::id()));
    let file = path.to_str().expect("a path of words");
    std::fs::write(&path, text(&annulus(&["config", "default"]))).expect("it can be written");
    assert!(annulus(&["config", "check", file]).status.success());
    std::fs::write(&path, "listen = \"127.0.0.1:0\"\nworkerz = 2\n").expect("it can be written");
    for arguments in [&["config", "check", file][..], &["node", "--config", file]] {
        let output = annulus(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("line 2") && told.contains("workerz"), "{told}");
    }
    std::fs::remove_file(path).expect("it is there");
    assert!(text(&annulus(&["completions", "bash"])).contains("annulus"));
}

#[test]
fn nodes_end_when_whoever_runs_them_is_killed() {
    let mut local = Local::start();
    local.child.kill().expect("it runs");
    local.child.wait().expect("it was killed");
    let gone = || (local.run(&["get", "k"]).0 != 3).then_some(());
    annulus::local::ask(Duration::from_secs(10), gone).expect("nobody answers any more");
}

/// Waits until a node says where it listens.
fn listens(node: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(node.stdout.take().expect("it was piped")).read_line(&mut line).expect("it says so");
    line.trim().strip_prefix("listening on ").expect("an address").to_owned()
}

/// Waits until a node ends, and kills it if it does not; returns its exit code.
fn ends(node: &mut Child) -> Option<i32> {
    let ended = annulus::local::ask(Duration::from_secs(10), || node.try_wait().expect("it is our child"));
    let _ = node.kill();
    ended.and_then(|status| status.code())
}

#[test]
fn a_log_in_json_is_an_object_a_line() {
    let mut node = Command::new(env!("CARGO_BIN_EXE_annulus"))
        .args(["node", "--listen", "127.0.0.1:0", "--log-format", "json", "--stop-at-eof"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    listens(&mut node);
    drop(node.stdin.take());
    let log = node.wait_with_output().expect("it ends");
    assert_eq!(log.status.code(), Some(0));
    let log = String::from_utf8(log.stderr).expect("words");
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}

#[test]
fn a_log_that_nobody_takes_harms_no_node() {
    let mut node = Command::new(env!("CARGO_BIN_EXE_annulus"))
        .args(["node", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let address = listens(&mut node);
    drop(node.stderr.take());
    assert_eq!(annulus(&["put", "k", "v", "--target", &address]).status.code(), Some(0));
    // What it logs of this, and when it stops, goes nowhere.
    let pid = i32::try_from(node.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(ends(&mut node), Some(0));
}

#[test]
fn a_node_that_waits_to_join_ends_with_its_standard_input() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let nobody = nobody.expect("there is a free port").to_string();
    let directory = std::env::temp_dir().join(format!("annulus-orphan-{}", std::process::id()));
    let mut node = Command::new(env!("CARGO_BIN_EXE_annulus"))
        .args(["node", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--stop-at-eof"])
        .args(["--id", "n1", "--join", &nobody, "--data-dir"])
        .arg(&directory)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let log = BufReader::new(node.stderr.take().expect("it was piped")).lines().map_while(Result::ok);
    assert!(log.into_iter().any(|line| line.contains("not let in yet")));
    drop(node.stdin.take());
    assert_eq!(ends(&mut node), Some(0));
    std::fs::remove_dir_all(&directory).expect("it is there");
}

#[test]
fn a_cluster_of_which_a_node_was_killed_stops_cleanly() {
    let mut local = Local::start();
    let status = local.json(&["cluster", "status"]);
    assert!(status["nodes"].as_array().is_some_and(|nodes| nodes.len() == 3), "{status}");
    let children = format!("/proc/{0}/task/{0}/children", local.child.id());
    let children = std::fs::read_to_string(children).expect("the system tells");
    let victim = children.split_whitespace().nth(1).and_then(|pid| pid.parse().ok());
    let victim = victim.and_then(rustix::process::Pid::from_raw).expect("it has three");
    rustix::process::kill_process(victim, rustix::process::Signal::KILL).expect("it runs");
    assert_eq!(local.interrupt(), Some(0), "at once, before anybody has looked");
}
