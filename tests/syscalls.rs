//! A readable batch costs a worker three system calls: it is told, it reads, it writes.
//!
//! The binary runs under strace, as its child, which needs no privilege; marked requests in the trace say where
//! counting begins and ends, and which thread is the worker. Every system call of that thread counts, whichever it
//! is, but for what it does ten times a second to keep house: polls that returned for that, and a look for connections.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const BATCHES: usize = 500;
const PIPELINE: usize = 16;
const CALLS_PER_BATCH_MAX: usize = 3;

const FIRST: &[u8] = b"*2\r\n$4\r\nECHO\r\n$5\r\nFIRST\r\n";
const LAST: &[u8] = b"*2\r\n$4\r\nECHO\r\n$4\r\nLAST\r\n";

struct Traced {
    strace: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Traced {
    /// A node under strace; why not, if it cannot be traced here.
    fn start() -> Result<Self, String> {
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("syscalls-{}", std::process::id()));
        let probe = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
        let probe = probe.map_err(|error| format!("strace cannot be run: {error}"))?;
        if !probe.status.success() {
            return Err(format!("strace may not trace: {}", String::from_utf8_lossy(&probe.stderr)));
        }
        let mut strace = Command::new("strace")
            .args(["-f", "-s", "64", "-o"])
            .arg(&log)
            .arg(env!("CARGO_BIN_EXE_annulus"))
            .args(["node", "--listen", "127.0.0.1:0", "--workers", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("strace ran a moment ago");
        let stdout = BufReader::new(strace.stdout.take().expect("piped"));
        Ok(Self { strace, stdout, log })
    }

    fn connect(&mut self) -> TcpStream {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the node prints its address");
        let address = line.trim().strip_prefix("listening on ").expect("its one line");
        let stream = TcpStream::connect(address).expect("the node listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        stream
    }

    /// Stops the node, and returns what was traced.
    fn stop(mut self) -> String {
        // The first call in the trace is the node's own, by its process id.
        let log = fs::read_to_string(&self.log).expect("strace writes as it goes");
        let id = log.split(' ').next().and_then(|id| id.parse().ok());
        let node = id.and_then(rustix::process::Pid::from_raw).expect("lines begin with a process id");
        rustix::process::kill_process(node, rustix::process::Signal::TERM).expect("the node runs");
        let status = self.strace.wait().expect("strace ends with the node");
        assert!(status.success(), "a clean stop: {status}");
        let log = fs::read_to_string(&self.log).expect("a trace");
        fs::remove_file(&self.log).expect("a trace");
        log
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// Sends a batch and waits for its answers, which are `bytes` long.
fn exchange(stream: &mut TcpStream, batch: &[u8], bytes: usize) {
    stream.write_all(batch).expect("sent");
    stream.read_exact(&mut vec![0; bytes]).expect("answered");
}

/// The calls of the worker between the marks, by name; polls that timed out are left out.
fn calls(log: &str) -> BTreeMap<&str, usize> {
    let lines: Vec<&str> = log.lines().collect();
    let marked = |mark: &str| {
        let is_marked = |line: &&str| line.contains("recv") && line.contains(mark);
        lines.iter().position(is_marked).expect("the trace shows what was received")
    };
    let (first, last) = (marked("FIRST"), marked("LAST"));
    let worker = lines[first].split(' ').next().expect("a thread's id");
    let mut calls = BTreeMap::new();
    for line in &lines[first..last] {
        let Some(rest) = line.strip_prefix(worker) else { continue };
        // A call that another thread's interrupted in the trace counts where it ends.
        if rest.contains("<unfinished") {
            continue;
        }
        let call = rest.trim_start().trim_start_matches("<... ");
        let name = call.split(['(', ' ']).next().expect("a name");
        if !(name == "epoll_wait" && call.trim_end().ends_with("= 0")) {
            *calls.entry(name).or_insert(0) += 1;
        }
    }
    calls
}

#[test]
fn a_readable_batch_costs_three_system_calls() {
    let mut node = match Traced::start() {
        Ok(node) => node,
        Err(reason) => {
            println!("SKIPPED: {reason}");
            assert!(std::env::var_os("CI").is_none(), "continuous integration has strace: {reason}");
            return;
        }
    };
    let mut stream = node.connect();
    let sets: Vec<u8> = (0..PIPELINE)
        .flat_map(|number| format!("*3\r\n$3\r\nSET\r\n$5\r\nkey{number:02}\r\n$1\r\nv\r\n").into_bytes())
        .collect();
    let gets: Vec<u8> = (0..PIPELINE)
        .flat_map(|number| format!("*2\r\n$3\r\nGET\r\n$5\r\nkey{number:02}\r\n").into_bytes())
        .collect();
    exchange(&mut stream, FIRST, b"$5\r\nFIRST\r\n".len());
    for batch in 0..BATCHES {
        if batch % 10 == 0 {
            exchange(&mut stream, &sets, PIPELINE * b"+OK\r\n".len());
        } else {
            exchange(&mut stream, &gets, PIPELINE * b"$1\r\nv\r\n".len());
        }
    }
    exchange(&mut stream, LAST, b"$4\r\nLAST\r\n".len());
    let log = node.stop();

    let mut calls = calls(&log);
    // A look at the listener each time it keeps house, 100 ms apart; there is far less than one for ten batches.
    let looks = calls.remove("accept4").unwrap_or(0);
    assert!(looks <= BATCHES / 10, "{looks} looks for connections are not a matter of keeping house");
    let total: usize = calls.values().sum();
    println!("{BATCHES} batches of {PIPELINE}: {total} calls: {calls:?}; {looks} looks for connections");
    // From the first mark's read to the last's poll there is one batch more than those between.
    let batches = BATCHES + 1;
    assert!(total <= batches * CALLS_PER_BATCH_MAX, "{total} calls for {batches} batches: {calls:?}");
    for name in ["epoll_wait", "sendto"] {
        assert!(calls.get(name).is_some_and(|&count| count >= BATCHES), "{name} was traced: {calls:?}");
    }
}
