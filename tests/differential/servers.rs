//! The two servers, each in a process of its own, and connections that keep replies as the bytes they are.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A server that ends with the test.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is lost: the server has no data that anybody wants.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts redis-server 7, if it is installed.
    pub(crate) fn redis() -> Option<Self> {
        let version = Command::new("redis-server").arg("--version").output();
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        if !version.as_ref().is_ok_and(|version| version.contains("v=7.")) {
            let found = version.unwrap_or_else(|error| error.to_string());
            let text =
                format!("NOT RUN: this test needs redis-server 7 (Debian: redis-server); found: {found}");
            assert!(std::env::var_os("CI").is_none(), "{text}");
            println!("{text}");
            return None;
        }
        let address = annulus::local::free_addresses(1).expect("there is a free port")[0];
        let port = address.port().to_string();
        let process = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--databases", "1"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let server = Self { process, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < DEADLINE, "redis-server did not listen in time");
            // Polls until it listens, with the deadline above.
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(server)
    }

    /// Starts Annulus, with the limits that redis-server has.
    pub(crate) fn annulus() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_annulus"))
            .args(["node", "--listen", "127.0.0.1:0", "--value-max", "512MiB", "--workers", "2"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("annulus starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().parse().expect("it says where it listens");
        Self { process, address }
    }
}

/// A connection; replies come in the order of the commands.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects, and chooses a version of RESP.
    pub(crate) fn open(server: &Server, version: u8) -> Self {
        let stream = TcpStream::connect(server.address).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut connection = Self { stream: BufReader::with_capacity(1 << 16, stream) };
        let hello = connection.ask(&[b"HELLO".to_vec(), version.to_string().into_bytes()]);
        assert!(!hello.starts_with(b"-"), "{}", hello.escape_ascii());
        connection
    }

    /// Sends commands at once.
    pub(crate) fn send(&mut self, commands: &[Vec<Vec<u8>>]) {
        let mut bytes = Vec::new();
        for command in commands {
            bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for word in command {
                bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                bytes.extend_from_slice(word);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        self.stream.get_mut().write_all(&bytes).expect("the server reads");
    }

    /// The next reply, as bytes.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        let mut reply = Vec::new();
        let mut wanted = 1_i64;
        while wanted > 0 {
            wanted -= 1;
            let start = reply.len();
            self.stream.read_until(b'\n', &mut reply).expect("a reply in time");
            assert!(reply.ends_with(b"\r\n"), "the server closed the connection: {}", reply.escape_ascii());
            let line = reply[start + 1..reply.len() - 2].to_vec();
            let count = || std::str::from_utf8(&line).unwrap().parse::<i64>().expect("a length");
            match reply[start] {
                b'$' | b'=' if count() >= 0 => {
                    let from = reply.len();
                    reply.resize(from + count() as usize + 2, 0);
                    self.stream.read_exact(&mut reply[from..]).expect("a whole reply in time");
                }
                b'*' | b'~' | b'>' => wanted += count().max(0),
                b'%' => wanted += 2 * count(),
                _ => {}
            }
        }
        reply
    }

    pub(crate) fn ask(&mut self, command: &[Vec<u8>]) -> Vec<u8> {
        self.send(&[command.to_vec()]);
        self.receive()
    }

    /// All keys, in order, by SCAN.
    pub(crate) fn scan(&mut self) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let mut cursor = b"0".to_vec();
        loop {
            let reply = self.ask(&[b"SCAN".to_vec(), cursor, b"COUNT".to_vec(), b"7".to_vec()]);
            let mut words = bulks(&reply);
            cursor = words.remove(0);
            keys.append(&mut words);
            if cursor == b"0" {
                break;
            }
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// The bulk strings in a reply, however deep.
pub(crate) fn bulks(reply: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = reply;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, behind) = (&rest[..end], &rest[end + 2..]);
        rest = behind;
        if let Some(length) = line.strip_prefix(b"$") {
            let length = std::str::from_utf8(length).unwrap().parse::<i64>().expect("a length");
            if let Ok(length) = usize::try_from(length) {
                found.push(rest[..length].to_vec());
                rest = &rest[length + 2..];
            }
        }
    }
    found
}
