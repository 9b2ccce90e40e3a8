//! The servers that are compared: how each is started, and that each is ended.
//!
//! Invariant: every process started here is ended by its own id when its [`Server`] is dropped, whatever the reason.
//! Each server keeps everything in memory, writes nothing to disk and serves with one thread. What is measured is not
//! decided here.

use std::env;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;
use thiserror::Error;

use crate::cores::pinned;
use crate::interrupt::{Interrupt, Interrupted};

/// How long a server may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two attempts to connect.
const START_PAUSE: Duration = Duration::from_millis(20);

/// The servers that can be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The floor.
    Echo,
    /// redis-server: what excesses are shares of.
    Redis,
    /// valkey-server.
    Valkey,
    /// memcached.
    Memcached,
    /// Annulus.
    Annulus,
}

/// A server could not be started. The machine's fault, or the server's.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("cannot start {program}: {source}")]
    Spawn { program: String, source: io::Error },
    #[error("{program} ended before it listened ({status}); its output is in {log}")]
    Ended { program: String, status: ExitStatus, log: String },
    #[error("{program} does not listen on {address} after {} s", START_TIMEOUT.as_secs())]
    Late { program: String, address: SocketAddr },
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Kind {
    /// What the table calls it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Echo => "floor (canned replies)",
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
            Self::Memcached => "memcached",
            Self::Annulus => "Annulus",
        }
    }

    /// The protocol it is first of all compared over.
    pub(crate) const fn protocol(self) -> &'static str {
        match self {
            Self::Memcached => "memcached",
            Self::Echo | Self::Redis | Self::Valkey | Self::Annulus => "resp",
        }
    }

    /// Whether it keeps what it is sent.
    pub(crate) const fn stores(self) -> bool {
        !matches!(self, Self::Echo)
    }

    /// Its executable: ours beside our own, the others wherever PATH has them.
    pub(crate) fn program(self) -> Option<PathBuf> {
        match self {
            Self::Echo => beside_us("annulus-echo"),
            Self::Annulus => beside_us("annulus"),
            Self::Redis => on_path("redis-server"),
            Self::Valkey => on_path("valkey-server"),
            Self::Memcached => on_path("memcached"),
        }
    }

    fn arguments(self, port: u16, value_bytes: u32) -> Vec<String> {
        let listen = format!("127.0.0.1:{port}");
        let line = match self {
            Self::Echo => format!("--listen {listen} --value-bytes {value_bytes}"),
            Self::Annulus => format!("node --listen {listen} --workers 1"),
            Self::Redis | Self::Valkey => {
                format!("--bind 127.0.0.1 --port {port} --appendonly no --io-threads 1 --save")
            }
            Self::Memcached => format!("-t 1 -m 8192 -U 0 -l 127.0.0.1 -p {port}"),
        };
        let mut arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match self {
            Self::Redis | Self::Valkey => arguments.push(String::new()),
            // memcached refuses to run as root unless told who to be; for anyone else the option has no effect.
            Self::Memcached => arguments.extend(["-u".to_owned(), "root".to_owned()]),
            Self::Echo | Self::Annulus => {}
        }
        arguments
    }
}

/// A child that ends with its owner.
pub(crate) struct Owned(pub(crate) Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // Both fail only if it has ended and was waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    child: Owned,
}

impl Server {
    /// Starts `kind` on a free port of the loopback and waits until it listens. Its output goes to a file in `logs`.
    pub(crate) fn start(
        kind: Kind,
        core: Option<usize>,
        value_bytes: u32,
        logs: &Path,
        interrupt: &Interrupt,
    ) -> Result<Self, StartError> {
        let program = kind.program().unwrap_or_else(|| PathBuf::from(kind.title()));
        let spawn = || -> io::Result<(Owned, SocketAddr, PathBuf)> {
            let address = free_address()?;
            let log_path = logs.join(format!("{}.log", kind.title().replace(' ', "-")));
            let log = File::create(&log_path)?;
            let child = pinned(&program, core)
                .args(kind.arguments(address.port(), value_bytes))
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()?;
            Ok((Owned(child), address, log_path))
        };
        let program = program.display().to_string();
        let (child, address, log_path) =
            spawn().map_err(|source| StartError::Spawn { program: program.clone(), source })?;
        let mut server = Self { kind, address, child };
        server.wait_until_it_listens(program, &log_path, interrupt)?;
        Ok(server)
    }

    fn wait_until_it_listens(
        &mut self,
        program: String,
        log_path: &Path,
        interrupt: &Interrupt,
    ) -> Result<(), StartError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            interrupt.check()?;
            if let Ok(Some(status)) = self.child.0.try_wait() {
                let log = log_path.display().to_string();
                return Err(StartError::Ended { program, status, log });
            }
            if TcpStream::connect_timeout(&self.address, START_PAUSE).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(StartError::Late { program, address: self.address });
            }
            // What four programs print when they listen differs: an attempt to connect is what they share.
            thread::sleep(START_PAUSE);
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }
}

/// A port that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The executable `name` in the directory of our own.
pub(crate) fn beside_us(name: &str) -> Option<PathBuf> {
    let path = env::current_exe().ok()?.with_file_name(name);
    path.is_file().then_some(path)
}

/// The executable `name` in a directory of PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(|path| path.is_file())
}
