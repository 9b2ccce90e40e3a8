//! The processes that tests start: floors, nodes, and the generator with what it printed.
//!
//! Invariant: whatever is started ends with its owner, by its id. It judges nothing: tests do.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A server that ends with its owner: the floor, mostly.
pub(crate) struct Floor {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Floor {
    pub(crate) fn start() -> Self {
        Self::of(env!("CARGO_BIN_EXE_annulus-echo"), &["--listen", "127.0.0.1:0", "--value-bytes", "64"])
    }

    /// A node, which stores what it is sent.
    pub(crate) fn node(arguments: &[&str]) -> Self {
        let listen = ["node", "--listen", "127.0.0.1:0", "--workers", "1"];
        Self::of(env!("CARGO_BIN_EXE_annulus"), &[&listen, arguments].concat())
    }

    fn of(program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().strip_prefix("listening on ").expect("the first line says where").to_owned();
        Self { child, address }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }
}

/// Sends a signal to a child that runs.
pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, signal).unwrap();
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

pub(crate) fn load(target: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_annulus-load"))
        .args(["--target", target, "--json", "-"])
        .args(arguments)
        .output()
        .unwrap()
}

pub(crate) fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("the report is JSON, whatever happened")
}

/// The one line that a failed run says.
pub(crate) fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "a failed run says so in its exit code");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// Waits until `holds`, and fails the test if that takes too long.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited too long until {what}");
        // Polls a condition, with the deadline above.
        std::thread::sleep(Duration::from_millis(2));
    }
}
