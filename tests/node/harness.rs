//! A node under test, in this process or in its own, and clients that speak RESP and the native protocol as bytes.
//!
//! Invariant: nothing here waits without a deadline, so a node that hangs is a failed test. The clients share no
//! code with the node's RESP; native frames are written and read by the library, whose bytes golden tests pin.
//! It judges nothing: tests do.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use annulus::config::{Config, WorkerCount};
use annulus::message::{Envelope, Request, RequestId};
use annulus::protocol::Limits as FrameLimits;
use annulus::protocol::client::encode_request;
use annulus::protocol::frame::{Split, split_frame};
use annulus::protocol::preamble::{Greeting, PREAMBLE_BYTES, Preamble, decode_greeting, encode_preamble};
use annulus::server::Node;

/// How long a test waits for anything before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A node in this process: two workers, a port of the kernel's choice, and what `change` does to the defaults.
pub(crate) fn node(change: impl FnOnce(&mut Config)) -> Node {
    let mut config = Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        workers: WorkerCount::new(2).expect("in bounds"),
        ..Config::default()
    };
    change(&mut config);
    Node::start(&config).expect("the node starts")
}

/// Waits until `holds`, and fails the test if that takes too long.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "waited too long until {what}");
        // Polls a condition, with the deadline above.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A RESP reply.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    List(Vec<Self>),
}

impl Debug for Reply {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Simple(text) => write!(out, "+{text}"),
            Self::Error(text) => write!(out, "-{text}"),
            Self::Integer(number) => write!(out, ":{number}"),
            Self::Bulk(bytes) if bytes.len() > 200 => write!(out, "{} bytes", bytes.len()),
            Self::Bulk(bytes) => write!(out, "\"{}\"", bytes.escape_ascii()),
            Self::Null => out.write_str("null"),
            Self::List(items) => items.fmt(out),
        }
    }
}

impl Reply {
    pub(crate) fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    pub(crate) fn ok() -> Self {
        Self::Simple("OK".into())
    }

    /// The text of an error; anything else fails the test.
    #[track_caller]
    pub(crate) fn error(self) -> String {
        match self {
            Self::Error(text) => text,
            other => panic!("no error: {other:?}"),
        }
    }

    /// The reply at the beginning of `bytes` and its length; `None` if it is not whole.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let line_end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[1..line_end]).expect("lines are text");
        let at = line_end + 2;
        let number = || line.parse::<i64>().expect("a number");
        let counted = |count: i64| {
            let end = at + usize::try_from(count).expect("a length");
            let body = bytes.get(at..end + 2)?;
            assert!(body.ends_with(b"\r\n"), "a bulk string ends with CR LF");
            Some((body[..body.len() - 2].to_vec(), end + 2))
        };
        let list = |count: i64| {
            let (mut items, mut at) = (Vec::new(), at);
            for _ in 0..count {
                let (item, length) = Self::decode(&bytes[at..])?;
                items.push(item);
                at += length;
            }
            Some((Self::List(items), at))
        };
        match bytes[0] {
            b'+' => Some((Self::Simple(line.into()), at)),
            b'-' => Some((Self::Error(line.into()), at)),
            b':' => Some((Self::Integer(number()), at)),
            b'_' => Some((Self::Null, at)),
            b'$' | b'*' if number() == -1 => Some((Self::Null, at)),
            b'$' => counted(number()).map(|(bytes, end)| (Self::Bulk(bytes), end)),
            b'=' => counted(number()).map(|(bytes, end)| (Self::Bulk(bytes[4..].to_vec()), end)),
            b'*' | b'~' => list(number()),
            b'%' => list(2 * number()),
            other => panic!("no reply begins with {:?}", char::from(other)),
        }
    }
}

/// The bytes of a RESP request.
pub(crate) fn request<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A socket, and what was read from it and not yet taken.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    taken: usize,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("the node accepts"))
    }

    /// A client with small buffers in the kernel, whose slowness the node feels soon.
    pub(crate) fn narrow(address: SocketAddr) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)
            .expect("a socket");
        socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
        socket.connect(&address.into()).expect("the node accepts");
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, buffer: Vec::new(), taken: 0 }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the node takes what is sent");
    }

    /// Sends, as a client does that does not care if it is cut off.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends no more.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// Reads once; `false` at the end, however it came.
    #[track_caller]
    fn fill(&mut self) -> bool {
        if self.taken > 1 << 20 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// The next `count` bytes.
    #[track_caller]
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() - self.taken < count {
            assert!(self.fill(), "the connection ended within {count} bytes");
        }
        self.taken += count;
        self.buffer[self.taken - count..self.taken].to_vec()
    }

    /// The next reply; `None` at the end of the connection, which must come between replies.
    #[track_caller]
    pub(crate) fn next_reply(&mut self) -> Option<Reply> {
        loop {
            if let Some((reply, length)) = Reply::decode_some(&self.buffer[self.taken..]) {
                self.taken += length;
                return Some(reply);
            }
            if !self.fill() {
                let rest = &self.buffer[self.taken..];
                assert!(rest.is_empty(), "cut off in a reply of which {} bytes came", rest.len());
                return None;
            }
        }
    }

    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        self.next_reply().expect("a reply before the connection ends")
    }

    #[track_caller]
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Reply {
        self.send(&request(arguments));
        self.reply()
    }

    /// Reads to the end of the connection; fails if it does not end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        let rest = self.buffer.split_off(self.taken);
        self.buffer.clear();
        self.taken = 0;
        rest
    }

    /// A number that INFO tells.
    #[track_caller]
    pub(crate) fn info(&mut self, field: &str) -> u64 {
        let value = self.info_text(field);
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("INFO has no number {field}"))
    }

    /// What INFO tells of something, if it does.
    #[track_caller]
    pub(crate) fn info_text(&mut self, field: &str) -> Option<String> {
        let Reply::Bulk(text) = self.call(&["INFO", "everything"]) else { panic!("INFO is a text") };
        let text = String::from_utf8(text).expect("INFO is UTF-8");
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.map(ToString::to_string)
    }

    /// A connection of the native protocol, opened and greeted.
    pub(crate) fn native(address: SocketAddr) -> Self {
        let mut client = Self::connect(address);
        client.send(&encode_preamble(Preamble::default()));
        assert_eq!(client.greeting(), Greeting::Welcome { authentication_required: false });
        client
    }

    #[track_caller]
    pub(crate) fn greeting(&mut self) -> Greeting {
        let bytes = self.bytes(PREAMBLE_BYTES);
        decode_greeting(*bytes.first_chunk().expect("so many were read")).expect("a greeting")
    }

    /// The next native frame, its length included.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        let limits = FrameLimits { frame_bytes_max: u32::MAX, ..FrameLimits::default() };
        loop {
            match split_frame(&self.buffer[self.taken..], &limits).expect("a frame") {
                Split::Frame(frame) => return self.bytes(frame.bytes_total()),
                Split::Incomplete { .. } => assert!(self.fill(), "the connection ended within a frame"),
            }
        }
    }
}

impl Reply {
    fn decode_some(bytes: &[u8]) -> Option<(Self, usize)> {
        if bytes.is_empty() { None } else { Self::decode(bytes) }
    }
}

/// The bytes of a native request.
pub(crate) fn frame(id: u32, request: Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_request(&Envelope { id: RequestId(id), level: None, request }, &mut bytes);
    bytes
}

/// A client that is not to be harmed by others gets its answers.
#[track_caller]
pub(crate) fn assert_serves(address: SocketAddr) {
    let mut client = Client::connect(address);
    assert_eq!(client.call(&["SET", "healthy", "yes"]), Reply::ok());
    assert_eq!(client.call(&["GET", "healthy"]), Reply::bulk("yes"));
}

/// A node in a process of its own, killed if the test does not end it.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_logging(arguments, Stdio::null())
    }

    /// The same, with its log going to `log`.
    pub(crate) fn start_logging(arguments: &[&str], log: Stdio) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annulus"));
        command.arg("node");
        if !arguments.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        if !arguments.contains(&"--workers") {
            command.args(["--workers", "2"]);
        }
        command.args(arguments);
        Self::spawn(command.stderr(log))
    }

    /// Starts a command that ends up as a node.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("it was piped");
        BufReader::new(output).read_line(&mut line).expect("its output can be read");
        let address = line.trim().strip_prefix("listening on ").expect("it says where it listens");
        let address = address.parse().expect("an address");
        Self { child, address }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a pid"), signal).expect("it runs");
    }

    /// Open files of the process.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        let kilobytes = line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number");
        kilobytes << 10
    }

    /// Waits for the end; returns the exit code and how long it took.
    pub(crate) fn exit(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        let mut code = None;
        wait_until("the process ends", || {
            code = self.child.try_wait().expect("it is our child");
            code.is_some()
        });
        (code.and_then(|status| status.code()), started.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
