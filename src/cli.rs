//! The command line of the node.
//!
//! Invariant: what comes out is a valid [`Config`]; whatever is wrong is said with what to do about it, and nothing
//! is started.

mod operator;

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use clap::Parser;

use crate::config::topology::VIRTUAL_NODES_MAX;
use crate::config::{
    BUFFERED_BYTES_MAX_DEFAULT, CONNECTIONS_MAX_DEFAULT, ClusterConfig, ClusterError, Config,
    CoordinatorConfig, FIRST_BYTE_TIMEOUT_DEFAULT, LISTEN_DEFAULT, Limits, PASSWORD_BYTES_MAX,
    PEER_LISTEN_DEFAULT, Password, REPLICATION_FACTOR_DEFAULT, SHARDS_DEFAULT, STALLED_TIMEOUT_DEFAULT,
    ShardCount, StoreConfig, VALUE_BYTES_MAX_BOUND, VALUE_BYTES_MAX_DEFAULT, VIRTUAL_NODES_DEFAULT,
    WorkerCount, settings,
};
use crate::message::topology::Name;
use crate::types::WORKERS_MAX;

pub use operator::{Command, OperatorError, Request};

/// A node of Annulus, an in-memory key-value store.
///
/// Without options it serves Redis clients and its own protocol on 127.0.0.1:7400, in memory.
#[derive(Parser, Debug)]
#[command(name = "annulus", version, about, long_about, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What is to be done instead of running a node.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Address to listen on; port 0 lets the system choose. Loopback only, unless there is a password.
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = LISTEN_DEFAULT)]
    listen: SocketAddr,

    /// Event loops [default: one for each core].
    #[arg(long, value_name = "COUNT", value_parser = parse_workers)]
    workers: Option<WorkerCount>,

    /// Memory for keys, values and tables, such as 4GiB; a write beyond it is refused [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory_max: Option<ByteSize>,

    /// The longest value.
    #[arg(long, value_name = "SIZE", value_parser = parse_value_size,
          default_value_t = ByteSize(VALUE_BYTES_MAX_DEFAULT as u64))]
    value_max: ByteSize,

    /// Connections at once; one more is told so and closed.
    #[arg(long, value_name = "COUNT", default_value_t = CONNECTIONS_MAX_DEFAULT)]
    connections_max: usize,

    /// Seconds after which a silent connection is closed; 0: never.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    idle_timeout: u64,

    /// Seconds that a new connection may take for its first byte.
    #[arg(long, value_name = "SECONDS", default_value_t = FIRST_BYTE_TIMEOUT_DEFAULT.as_secs())]
    first_byte_timeout: u64,

    /// Seconds for which nothing may move in the middle of a request, or of an answer that waits to be taken.
    #[arg(long, value_name = "SECONDS", default_value_t = STALLED_TIMEOUT_DEFAULT.as_secs())]
    stalled_timeout: u64,

    /// Bytes that connections may have buffered in all, both ways; the one that needs more is closed.
    #[arg(long, value_name = "SIZE", value_parser = parse_size,
          default_value_t = ByteSize(BUFFERED_BYTES_MAX_DEFAULT as u64))]
    buffered_max: ByteSize,

    /// Shards of the store: a power of two.
    #[arg(long, value_name = "COUNT", value_parser = parse_shards, default_value_t = SHARDS_DEFAULT)]
    shards: usize,

    /// Let the kernel back memory with huge pages: less CPU for each request, but a write that touches a new one may
    /// wait milliseconds for it while the store grows.
    #[arg(long)]
    pub huge_pages: bool,

    /// File with the password that clients must give, to AUTH for example. A line break at its end does not count.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Name of this node in its cluster; without it the node is alone. The first one makes a new cluster.
    #[arg(long, value_name = "NAME")]
    id: Option<Name>,

    /// Nodes of the cluster to join through, as they listen for other nodes; tried until one lets this node in.
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',', requires = "id")]
    join: Vec<String>,

    /// Take the place of the node of this name, which is dead and whose metadata are lost.
    #[arg(long, requires = "join")]
    replace: bool,

    /// Address to listen on for other nodes; loopback only, unless --insecure: links between nodes know no password.
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = PEER_LISTEN_DEFAULT)]
    peer_listen: SocketAddr,

    /// Address that other nodes are told to connect to [default: the one of --peer-listen].
    #[arg(long, value_name = "ADDRESS:PORT", requires = "id")]
    peer_advertise: Option<SocketAddr>,

    /// Address that clients are told to connect to [default: the one of --listen].
    #[arg(long, value_name = "ADDRESS:PORT", requires = "id")]
    advertise: Option<SocketAddr>,

    /// Where this node's metadata are [default: annulus/NAME in $XDG_STATE_HOME or ~/.local/state].
    #[arg(long, value_name = "DIRECTORY", requires = "id")]
    data_dir: Option<PathBuf>,

    /// Replicas of each key, if there are so many nodes. Counts when a cluster is made.
    #[arg(long, value_name = "COUNT", default_value_t = REPLICATION_FACTOR_DEFAULT)]
    replication_factor: usize,

    /// Nodes with which a new cluster opens [default: as many as --replication-factor]. With fewer than those, each
    /// key has as many replicas as there are nodes, until more have come.
    #[arg(long, value_name = "COUNT", requires = "id")]
    bootstrap_expect: Option<u16>,

    /// What fails together with this node, such as a rack: replicas of a key are in different zones first.
    #[arg(long, value_name = "NAME", default_value = "default")]
    zone: Name,

    /// Weight of this node: how many places it takes on the ring.
    #[arg(long, value_name = "COUNT", default_value_t = VIRTUAL_NODES_DEFAULT)]
    virtual_nodes: u16,

    /// Listen beyond loopback without a password: whoever reaches the port reads and writes everything.
    #[arg(long)]
    insecure: bool,
}

/// The options exclude each other or the environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// Anyone could read and write everything.
    #[error(
        "--listen {0} can be reached from other machines and there is no password: \
         listen on 127.0.0.1, set one with --password-file, or say --insecure if the network itself is trusted"
    )]
    Exposed(SocketAddr),
    /// Anyone could speak for a node.
    #[error(
        "--peer-listen {0} can be reached from other machines, and links between nodes know no password yet: \
         say --insecure if the network itself is trusted"
    )]
    PeersExposed(SocketAddr),
    /// A knob of the cluster is out of bounds.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is no place for metadata.
    #[error("there is no home directory for this node's metadata: name a place with --data-dir")]
    NoDirectory,
    /// The file of the password cannot be read.
    #[error("--password-file {path}: {reason}")]
    PasswordFile {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// What the file holds is no password.
    #[error(
        "--password-file {0} must hold 1 to {PASSWORD_BYTES_MAX} bytes and one line: \
         try `head -c 24 /dev/urandom | base64`"
    )]
    Password(String),
}

impl Arguments {
    /// Logs a warning if others than its owner may read the password's file.
    pub fn warn_of_readers(&self) {
        #[cfg(unix)]
        if let Some(path) = &self.password_file
            && let Ok(metadata) = std::fs::metadata(path)
            && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
        {
            tracing::warn!("others than its owner may read {}: chmod 600 it", path.display());
        }
    }

    /// The configuration that they describe.
    ///
    /// # Errors
    /// [`ArgumentsError`].
    pub fn config(&self) -> Result<Config, ArgumentsError> {
        let password = self.password_file.as_deref().map(read_password).transpose()?;
        if !self.listen.ip().is_loopback() && !self.insecure && password.is_none() {
            return Err(ArgumentsError::Exposed(self.listen));
        }
        let cluster = self.cluster()?;
        // Both were bounded when they were parsed.
        let value_bytes_max = usize::try_from(self.value_max.0).unwrap_or(VALUE_BYTES_MAX_BOUND);
        let mut limits = Limits::for_values_of(value_bytes_max);
        limits.connections_max = self.connections_max;
        limits.idle_timeout = (self.idle_timeout > 0).then(|| Duration::from_secs(self.idle_timeout));
        limits.first_byte_timeout = Duration::from_secs(self.first_byte_timeout);
        limits.stalled_timeout = Duration::from_secs(self.stalled_timeout);
        limits.buffered_bytes_max = usize::try_from(self.buffered_max.0).unwrap_or(usize::MAX);
        Ok(Config {
            listen: self.listen,
            workers: self.workers.unwrap_or_default(),
            store: StoreConfig {
                shards: ShardCount::new(self.shards).unwrap_or_default(),
                memory_bytes_max: self.memory_max.map(|size| size.0),
                // In a cluster, all nodes have the one that was drawn when it was made.
                hash_seed: random_seed(),
            },
            limits,
            password,
            cluster,
        })
    }

    /// The cluster that the node is to be part of, if any.
    fn cluster(&self) -> Result<Option<ClusterConfig>, ArgumentsError> {
        let Some(name) = &self.id else { return Ok(None) };
        if !self.peer_listen.ip().is_loopback() && !self.insecure {
            return Err(ArgumentsError::PeersExposed(self.peer_listen));
        }
        if !(1..=VIRTUAL_NODES_MAX).contains(&self.virtual_nodes) {
            return Err(ClusterError::VirtualNodes(self.virtual_nodes).into());
        }
        let data_dir = self.data_dir.clone().or_else(|| state_directory(name));
        Ok(Some(ClusterConfig {
            name: name.clone(),
            data_dir: data_dir.ok_or(ArgumentsError::NoDirectory)?,
            peer_listen: self.peer_listen,
            peer_advertise: self.peer_advertise,
            advertise: self.advertise,
            join: self.join.clone(),
            replace: self.replace,
            zone: self.zone.clone(),
            virtual_nodes: self.virtual_nodes,
            settings: settings(self.replication_factor, self.bootstrap_expect)?,
            coordinator: CoordinatorConfig::default(),
        }))
    }
}

/// Where a node's metadata are unless somebody says otherwise, as the XDG Base Directory Specification has it.
fn state_directory(name: &Name) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).and_then(absolute);
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("annulus").join(name.text()))
}

/// The password in a file, without the line break that editors leave at the end.
fn read_password(path: &Path) -> Result<Password, ArgumentsError> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| ArgumentsError::PasswordFile {
        path: name.clone(),
        reason: error.to_string(),
    };
    // No more is read than could be a password and a line break, whatever the file is.
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(PASSWORD_BYTES_MAX as u64 + 3).read_to_end(&mut bytes).map_err(unreadable)?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let one_line = !line.contains(&b'\n');
    Password::new(line).filter(|_| one_line).ok_or(ArgumentsError::Password(name))
}

/// A seed that nobody outside can know, so that nobody can choose keys that all fall into one shard.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn parse_workers(text: &str) -> Result<WorkerCount, String> {
    let count = text.parse().ok().and_then(WorkerCount::new);
    count.ok_or_else(|| format!("a number from 1 to {WORKERS_MAX} is needed"))
}

fn parse_shards(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().and_then(ShardCount::new).map(ShardCount::get);
    count.ok_or_else(|| "a power of two from 2 to 65536 is needed, such as 4096".into())
}

fn parse_size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "a size is needed, such as 512MiB or 4GiB".into())
}

fn parse_value_size(text: &str) -> Result<ByteSize, String> {
    let size = parse_size(text)?;
    if size.0 == 0 || size.0 > VALUE_BYTES_MAX_BOUND as u64 {
        return Err(format!("a size up to {} is needed", ByteSize(VALUE_BYTES_MAX_BOUND as u64)));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arguments: &[&str]) -> Result<Config, String> {
        let parsed = Arguments::try_parse_from([&["annulus"], arguments].concat());
        parsed.map_err(|error| error.to_string())?.config().map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_need_nothing() {
        let config = config(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:7400");
        assert_eq!(config.store.memory_bytes_max, None);
        assert_eq!(config.limits.value_bytes_max, 16 << 20);
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        let config = config(&["--memory-max", "2GiB", "--value-max", "1MiB", "--workers", "3"]).unwrap();
        assert_eq!(config.store.memory_bytes_max, Some(2 << 30));
        assert_eq!(config.limits.value_bytes_max, 1 << 20);
        assert_eq!(config.workers.get(), 3);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases: [(&[&str], &str); 6] = [
            (&["--listen", "0.0.0.0:7400"], "--insecure"),
            (&["--workers", "0"], "from 1 to 1024"),
            (&["--shards", "1000"], "power of two"),
            (&["--memory-max", "lots"], "512MiB"),
            (&["--value-max", "1GiB"], "up to"),
            (&["--no-such"], "unexpected argument"),
        ];
        for (arguments, expected) in cases {
            let error = config(arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
        assert!(config(&["--listen", "0.0.0.0:0", "--insecure"]).is_ok());
    }

    #[test]
    fn a_password_is_one_line_of_a_file() {
        let path = std::env::temp_dir().join(format!("annulus-password-{}", std::process::id()));
        let name = path.to_str().unwrap();
        for (content, password) in [("secret\n", "secret"), ("secret", "secret"), (" a b \r\n", " a b ")] {
            std::fs::write(&path, content).unwrap();
            let config = config(&["--listen", "0.0.0.0:0", "--password-file", name]).unwrap();
            assert_eq!(config.password.unwrap().bytes(), password.as_bytes());
        }
        for content in ["", "\n", "two\nlines\n", &"x".repeat(PASSWORD_BYTES_MAX + 1)] {
            std::fs::write(&path, content).unwrap();
            assert!(config(&["--password-file", name]).unwrap_err().contains("one line"));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(config(&["--password-file", name]).unwrap_err().contains("No such file"));
    }
}
