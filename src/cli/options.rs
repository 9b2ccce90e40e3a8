//! Every option of a node: on the command line, or in a file under the same names.
//!
//! Invariant: what comes out is a valid [`Config`]; whatever is wrong is said with what to do about it, and nothing
//! is started. What the command line says goes before what the file says.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::values::{Shards, Size, Whole};
use crate::config::topology::{DRIFT_MS_BOUNDS, NODES_MAX, OPERATION_TIMEOUT_MS_BOUNDS, VIRTUAL_NODES_MAX};
use crate::config::{
    BUFFERED_BYTES_MAX_DEFAULT, CONNECTIONS_MAX_DEFAULT, ClusterConfig, Config, CoordinatorConfig,
    DRIFT_MAX_DEFAULT, FIRST_BYTE_TIMEOUT_DEFAULT, LISTEN_DEFAULT, Limits, OPERATION_TIMEOUT_DEFAULT,
    PASSWORD_BYTES_MAX, PEER_LISTEN_DEFAULT, Password, REPLICAS_MAX, REPLICATION_FACTOR_DEFAULT,
    STALLED_TIMEOUT_DEFAULT, ShardCount, StoreConfig, VALUE_BYTES_MAX_BOUND, VALUE_BYTES_MAX_DEFAULT,
    VIRTUAL_NODES_DEFAULT, WorkerCount, ZONE_DEFAULT, settings,
};
use crate::message::topology::Name;
use crate::types::WORKERS_MAX;

type Millis =
    Whole<{ *OPERATION_TIMEOUT_MS_BOUNDS.start() as i64 }, { *OPERATION_TIMEOUT_MS_BOUNDS.end() as i64 }>;
type Memory = Size<0, { u64::MAX }>;

/// What a node can be told. `annulus config default` shows the defaults.
#[derive(Args, Serialize, Deserialize, Clone, Default, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    /// Address to listen on; port 0 lets the system choose. Loopback only, unless there is a password
    /// [default: 127.0.0.1:7400].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Event loops [default: one for each core].
    #[arg(long, value_name = "COUNT")]
    workers: Option<Whole<1, { WORKERS_MAX as i64 }>>,

    /// Memory for keys, values and tables, such as 4GiB; a write beyond it is refused [default: no limit].
    #[arg(long, value_name = "SIZE")]
    memory_max: Option<Memory>,

    /// The longest value [default: 16MiB].
    #[arg(long, value_name = "SIZE")]
    value_max: Option<Size<1, { VALUE_BYTES_MAX_BOUND as u64 }>>,

    /// Connections at once; one more is told so and closed [default: 10000].
    #[arg(long, value_name = "COUNT")]
    connections_max: Option<Whole<0, { u32::MAX as i64 }>>,

    /// Seconds after which a silent connection is closed; 0: never [default: 0].
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<Whole<0, { u32::MAX as i64 }>>,

    /// Seconds that a new connection may take for its first byte [default: 60].
    #[arg(long, value_name = "SECONDS")]
    first_byte_timeout: Option<Whole<0, { u32::MAX as i64 }>>,

    /// Seconds for which nothing may move in the middle of a request, or of an answer that waits to be taken
    /// [default: 60].
    #[arg(long, value_name = "SECONDS")]
    stalled_timeout: Option<Whole<0, { u32::MAX as i64 }>>,

    /// Bytes that connections may have buffered in all, both ways; the one that needs more is closed
    /// [default: 1GiB].
    #[arg(long, value_name = "SIZE")]
    buffered_max: Option<Memory>,

    /// Shards of the store: a power of two [default: 4096].
    #[arg(long, value_name = "COUNT")]
    shards: Option<Shards>,

    /// Let the kernel back memory with huge pages: less CPU for each request, but a write that touches a new one may
    /// wait milliseconds for it while the store grows.
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    huge_pages: bool,

    /// File with the password that clients must give, to AUTH for example. A line break at its end does not count.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Name of this node in its cluster; without it the node is alone. The first one makes a new cluster.
    #[arg(long, value_name = "NAME")]
    id: Option<Name>,

    /// Nodes of the cluster to join through, as they listen for other nodes; tried until one lets this node in.
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    join: Vec<String>,

    /// Take the place of the node of this name, which is dead and whose metadata are lost.
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    replace: bool,

    /// Address to listen on for other nodes; loopback only, unless --insecure: links between nodes know no password
    /// [default: 127.0.0.1:7500].
    #[arg(long, value_name = "ADDRESS:PORT")]
    peer_listen: Option<SocketAddr>,

    /// Address that other nodes are told to connect to [default: the one of --peer-listen].
    #[arg(long, value_name = "ADDRESS:PORT")]
    peer_advertise: Option<SocketAddr>,

    /// Address that clients are told to connect to [default: the one of --listen].
    #[arg(long, value_name = "ADDRESS:PORT")]
    advertise: Option<SocketAddr>,

    /// Where this node's metadata are [default: annulus/NAME in $XDG_STATE_HOME or ~/.local/state].
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,

    /// Replicas of each key, if there are so many nodes; counts when a cluster is made [default: 3].
    #[arg(long, value_name = "COUNT")]
    replication_factor: Option<Whole<1, { REPLICAS_MAX as i64 }>>,

    /// Nodes with which a new cluster opens [default: as many as --replication-factor]. With fewer than those, each
    /// key has as many replicas as there are nodes, until more have come.
    #[arg(long, value_name = "COUNT")]
    bootstrap_expect: Option<Whole<1, { NODES_MAX as i64 }>>,

    /// Milliseconds that a new version may be ahead of a replica's clock; counts when a cluster is made
    /// [default: 500].
    #[arg(long, value_name = "MILLISECONDS")]
    drift_max_ms: Option<Whole<{ *DRIFT_MS_BOUNDS.start() as i64 }, { *DRIFT_MS_BOUNDS.end() as i64 }>>,

    /// Milliseconds that an operation may take; counts when a cluster is made [default: 1000].
    #[arg(long, value_name = "MILLISECONDS")]
    operation_timeout_ms: Option<Millis>,

    /// What fails together with this node, such as a rack: replicas of a key are in different zones first
    /// [default: default].
    #[arg(long, value_name = "NAME")]
    zone: Option<Name>,

    /// Weight of this node: how many places it takes on the ring [default: 256].
    #[arg(long, value_name = "COUNT")]
    virtual_nodes: Option<Whole<1, { VIRTUAL_NODES_MAX as i64 }>>,

    /// How each line of the log looks, on standard error [default: text].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,

    /// Listen beyond loopback without a password: whoever reaches the port reads and writes everything.
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    insecure: bool,
}

/// How each line of the log looks.
#[derive(ValueEnum, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object of JSON.
    Json,
}

/// The options exclude each other or the environment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
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
    /// What is for nodes of a cluster was said to one that is alone.
    #[error("{0} is for a node of a cluster: name this one with --id")]
    NeedsId(&'static str),
    /// Nobody is there to tell that the node takes another's place.
    #[error("--replace needs --join: a node takes another's place in a cluster that is there")]
    NeedsJoin,
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

impl Options {
    /// Every option with its default, or with an example where there is none.
    pub(super) fn example() -> Self {
        let whole = |seconds: Duration| seconds.as_secs().cast_signed();
        let name = |text: &str| text.parse().ok();
        Self {
            listen: Some(LISTEN_DEFAULT),
            workers: number(WorkerCount::default().get() as i64),
            memory_max: Some(Size::of(4 << 30)),
            value_max: Some(Size::of(VALUE_BYTES_MAX_DEFAULT as u64)),
            connections_max: number(CONNECTIONS_MAX_DEFAULT as i64),
            idle_timeout: number(0),
            first_byte_timeout: number(whole(FIRST_BYTE_TIMEOUT_DEFAULT)),
            stalled_timeout: number(whole(STALLED_TIMEOUT_DEFAULT)),
            buffered_max: Some(Size::of(BUFFERED_BYTES_MAX_DEFAULT as u64)),
            shards: Some(Shards(ShardCount::default())),
            huge_pages: true,
            password_file: Some("/etc/annulus/password".into()),
            id: name("n1"),
            join: vec!["127.0.0.1:7501".into(), "127.0.0.1:7502".into()],
            replace: true,
            peer_listen: Some(PEER_LISTEN_DEFAULT),
            peer_advertise: Some(PEER_LISTEN_DEFAULT),
            advertise: Some(LISTEN_DEFAULT),
            data_dir: Some("/var/lib/annulus".into()),
            replication_factor: number(REPLICATION_FACTOR_DEFAULT as i64),
            bootstrap_expect: number(REPLICATION_FACTOR_DEFAULT as i64),
            drift_max_ms: number(DRIFT_MAX_DEFAULT.as_millis() as i64),
            operation_timeout_ms: number(OPERATION_TIMEOUT_DEFAULT.as_millis() as i64),
            zone: name(ZONE_DEFAULT),
            virtual_nodes: number(i64::from(VIRTUAL_NODES_DEFAULT)),
            log_format: Some(LogFormat::Text),
            insecure: true,
        }
    }

    /// Whether huge pages are wanted.
    #[must_use]
    pub const fn huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// How each line of the log looks.
    #[must_use]
    pub fn log_format(&self) -> LogFormat {
        self.log_format.unwrap_or_default()
    }

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
    /// [`OptionsError`].
    pub fn config(&self) -> Result<Config, OptionsError> {
        let password = self.password_file.as_deref().map(read_password).transpose()?;
        let listen = self.listen.unwrap_or(LISTEN_DEFAULT);
        if !listen.ip().is_loopback() && !self.insecure && password.is_none() {
            return Err(OptionsError::Exposed(listen));
        }
        let cluster = self.cluster()?;
        Ok(Config {
            listen,
            workers: self.workers.and_then(|count| WorkerCount::new(count.get())).unwrap_or_default(),
            store: StoreConfig {
                shards: self.shards.map_or_else(ShardCount::default, |shards| shards.0),
                memory_bytes_max: self.memory_max.map(Size::bytes),
                // In a cluster, all nodes have the one that was drawn when it was made.
                hash_seed: random_seed(),
            },
            limits: self.limits(),
            password,
            cluster,
        })
    }

    fn limits(&self) -> Limits {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let seconds = |seconds: Whole<0, { u32::MAX as i64 }>| Duration::from_secs(seconds.get());
        let mut limits =
            self.value_max.map_or_else(Limits::default, |size| Limits::for_values_of(bytes(size.bytes())));
        limits.connections_max = self.connections_max.map_or(limits.connections_max, Whole::get);
        limits.idle_timeout = self.idle_timeout.map(seconds).filter(|timeout| !timeout.is_zero());
        limits.first_byte_timeout = self.first_byte_timeout.map_or(limits.first_byte_timeout, seconds);
        limits.stalled_timeout = self.stalled_timeout.map_or(limits.stalled_timeout, seconds);
        limits.buffered_bytes_max =
            self.buffered_max.map_or(limits.buffered_bytes_max, |size| bytes(size.bytes()));
        limits
    }

    /// The cluster that the node is to be part of, if any.
    fn cluster(&self) -> Result<Option<ClusterConfig>, OptionsError> {
        let Some(name) = &self.id else {
            return self.only_for_clusters().map_or(Ok(None), |option| Err(OptionsError::NeedsId(option)));
        };
        if self.replace && self.join.is_empty() {
            return Err(OptionsError::NeedsJoin);
        }
        let peer_listen = self.peer_listen.unwrap_or(PEER_LISTEN_DEFAULT);
        if !peer_listen.ip().is_loopback() && !self.insecure {
            return Err(OptionsError::PeersExposed(peer_listen));
        }
        let data_dir = self.data_dir.clone().or_else(|| state_directory(name));
        let mut settings = settings(
            self.replication_factor.map_or(REPLICATION_FACTOR_DEFAULT as u8, Whole::get),
            self.bootstrap_expect.map(Whole::get),
        );
        settings.drift_max_ms = self.drift_max_ms.map_or(settings.drift_max_ms, Whole::get);
        settings.operation_timeout_ms =
            self.operation_timeout_ms.map_or(settings.operation_timeout_ms, Whole::get);
        Ok(Some(ClusterConfig {
            name: name.clone(),
            data_dir: data_dir.ok_or(OptionsError::NoDirectory)?,
            peer_listen,
            peer_advertise: self.peer_advertise,
            advertise: self.advertise,
            join: self.join.clone(),
            replace: self.replace,
            zone: self.zone.clone().or_else(|| ZONE_DEFAULT.parse().ok()).expect("the default is a name"),
            virtual_nodes: self.virtual_nodes.map_or(VIRTUAL_NODES_DEFAULT, Whole::get),
            settings,
            coordinator: CoordinatorConfig::default(),
        }))
    }

    /// An option that was given and says nothing to a node that is alone, if one was.
    fn only_for_clusters(&self) -> Option<&'static str> {
        let given = [
            (!self.join.is_empty(), "--join"),
            (self.replace, "--replace"),
            (self.peer_listen.is_some(), "--peer-listen"),
            (self.peer_advertise.is_some(), "--peer-advertise"),
            (self.advertise.is_some(), "--advertise"),
            (self.data_dir.is_some(), "--data-dir"),
            (self.replication_factor.is_some(), "--replication-factor"),
            (self.bootstrap_expect.is_some(), "--bootstrap-expect"),
            (self.drift_max_ms.is_some(), "--drift-max-ms"),
            (self.operation_timeout_ms.is_some(), "--operation-timeout-ms"),
            (self.zone.is_some(), "--zone"),
            (self.virtual_nodes.is_some(), "--virtual-nodes"),
        ];
        given.into_iter().find_map(|(given, option)| given.then_some(option))
    }
}

fn number<const MIN: i64, const MAX: i64>(number: i64) -> Option<Whole<MIN, MAX>> {
    Whole::try_from(number).ok()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Where a node's metadata are unless somebody says otherwise, as the XDG Base Directory Specification has it.
fn state_directory(name: &Name) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).and_then(absolute);
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("annulus").join(name.text()))
}

/// The password in a file, without the line break that editors leave at the end.
pub(super) fn read_password(path: &Path) -> Result<Password, OptionsError> {
    let name = path.display().to_string();
    let unreadable =
        |error: std::io::Error| OptionsError::PasswordFile { path: name.clone(), reason: error.to_string() };
    // No more is read than could be a password and a line break, whatever the file is.
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(PASSWORD_BYTES_MAX as u64 + 3).read_to_end(&mut bytes).map_err(unreadable)?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let one_line = !line.contains(&b'\n');
    Password::new(line).filter(|_| one_line).ok_or(OptionsError::Password(name))
}

/// A seed that nobody outside can know, so that nobody can choose keys that all fall into one shard.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        options: Options,
    }

    fn config(arguments: &[&str]) -> Result<Config, String> {
        let parsed = Alone::try_parse_from([&["annulus"], arguments].concat());
        let parsed = parsed.map_err(|error| error.to_string())?;
        parsed.options.config().map_err(|error| error.to_string())
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
