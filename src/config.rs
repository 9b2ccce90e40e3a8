//! Every knob, its default and its bounds.
//!
//! Invariant: a value of these types is valid; who builds one from text (`cli`) goes through the constructors here,
//! so nothing is validated later. Units come last in the names.

pub mod gossip;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::message::topology::{Name, Settings};
use crate::types::WORKERS_MAX;

pub use gossip::MembershipConfig;

/// Where clients connect by default.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7400);

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 64 << 10;

/// The longest value by default, in bytes.
pub const VALUE_BYTES_MAX_DEFAULT: usize = 16 << 20;

/// The longest value that may be configured, in bytes.
pub const VALUE_BYTES_MAX_BOUND: usize = 512 << 20;

/// Shards of the store by default.
pub const SHARDS_DEFAULT: usize = 4096;

/// Connections of a node by default.
pub const CONNECTIONS_MAX_DEFAULT: usize = 10_000;

/// How long a new connection may stay silent by default.
pub const FIRST_BYTE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// How long nothing may move in the middle of a request or an answer by default.
pub const STALLED_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Bytes that connections may have buffered in all by default.
pub const BUFFERED_BYTES_MAX_DEFAULT: usize = 1 << 30;

/// How long a command may take by default before it is logged as slow.
pub const SLOW_LOG_THRESHOLD_DEFAULT: Duration = Duration::from_millis(10);

/// Slow commands that each worker's log keeps by default.
pub const SLOW_LOG_ENTRIES_DEFAULT: usize = 128;

/// Requests in one native batch.
pub const BATCH_COUNT_MAX: u32 = 4096;

/// Room in a request for its names, numbers and framing, beside its keys and values.
const REQUEST_OVERHEAD_BYTES: usize = 64 << 10;

/// Number of shards: a power of two from 2 to 2^16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardCount(usize);

impl ShardCount {
    /// `None` unless `shards` is a power of two from 2 to 65,536.
    #[must_use]
    pub const fn new(shards: usize) -> Option<Self> {
        if shards.is_power_of_two() && shards >= 2 && shards <= 1 << 16 { Some(Self(shards)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

impl Default for ShardCount {
    fn default() -> Self {
        Self(SHARDS_DEFAULT)
    }
}

/// The store's knobs.
#[derive(Clone, Debug, Default)]
pub struct StoreConfig {
    /// Shards.
    pub shards: ShardCount,
    /// Seed of the key hash; one for the whole cluster.
    pub hash_seed: u64,
    /// Bytes of cells and tables; `None`: no limit.
    pub memory_bytes_max: Option<u64>,
}

/// Number of workers: 1 to [`WORKERS_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerCount(NonZeroUsize);

impl WorkerCount {
    /// `None` unless `workers` is from 1 to [`WORKERS_MAX`].
    #[must_use]
    pub fn new(workers: usize) -> Option<Self> {
        NonZeroUsize::new(workers).filter(|workers| workers.get() <= WORKERS_MAX as usize).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0.get()
    }
}

impl Default for WorkerCount {
    /// One for each core that the process may run on.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self::new(cores.get()).unwrap_or(Self(NonZeroUsize::MIN))
    }
}

/// What is bounded, and at what.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of the node; one more is told so and closed.
    pub connections_max: usize,
    /// Bytes of a key.
    pub key_bytes_max: usize,
    /// Bytes of a value.
    pub value_bytes_max: usize,
    /// Bytes of one request, and so of what a connection may have buffered unread.
    pub request_bytes_max: usize,
    /// Output waiting beyond which a connection is no longer read from.
    pub output_bytes_high: usize,
    /// Output waiting beyond which a reply of many values is refused.
    pub output_bytes_max: usize,
    /// Bytes that connections may have buffered in all, both ways; each worker's hold its share.
    pub buffered_bytes_max: usize,
    /// How long a connection may stay silent; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a connection may stay without its first byte.
    pub first_byte_timeout: Duration,
    /// How long nothing may move while half a request is here or an answer waits to be taken.
    pub stalled_timeout: Duration,
}

impl Limits {
    /// The defaults, for values of up to `value_bytes_max` bytes.
    #[must_use]
    pub fn for_values_of(value_bytes_max: usize) -> Self {
        Self {
            connections_max: CONNECTIONS_MAX_DEFAULT,
            key_bytes_max: KEY_BYTES_MAX,
            value_bytes_max,
            request_bytes_max: 4 * value_bytes_max + KEY_BYTES_MAX + REQUEST_OVERHEAD_BYTES,
            output_bytes_high: 1 << 20,
            output_bytes_max: 16 * value_bytes_max + (16 << 20),
            buffered_bytes_max: BUFFERED_BYTES_MAX_DEFAULT,
            idle_timeout: None,
            first_byte_timeout: FIRST_BYTE_TIMEOUT_DEFAULT,
            stalled_timeout: STALLED_TIMEOUT_DEFAULT,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::for_values_of(VALUE_BYTES_MAX_DEFAULT)
    }
}

/// Bytes of a password at most.
pub const PASSWORD_BYTES_MAX: usize = 512;

/// Bytes of a request of a client that has not given the password.
pub const STRANGER_REQUEST_BYTES_MAX: usize = 16 << 10;

/// How long the answer to a wrong password is held back.
pub const WRONG_PASSWORD_DELAY: Duration = Duration::from_millis(500);

/// What clients must say before anything else: 1 to [`PASSWORD_BYTES_MAX`] bytes. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<[u8]>);

impl Password {
    /// `None` if it is empty or too long.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=PASSWORD_BYTES_MAX).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password(hidden)")
    }
}

/// Replicas of a key at most.
pub const REPLICAS_MAX: usize = 9;

/// The knobs of what carries out operations at several replicas.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Operations of one worker that may be under way.
    pub operations_max: usize,
    /// How long an operation may take.
    pub timeout: Duration,
    /// How long a replica may take before others are asked too, and it is asked again.
    pub patience: Duration,
    /// How often a write is tried with a higher version because a higher one was there.
    pub retries_max: u8,
    /// The share of reads, 0 to 1, that ask every replica and repair those that are behind.
    pub repair_share: f64,
    /// Keys for which it is remembered what the last change by agreement left behind.
    pub proposers_max: usize,
    /// Buffers kept for operations to come.
    pub spare_buffers_max: usize,
    /// Bytes of a buffer that is kept, at most.
    pub spare_bytes_max: usize,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            operations_max: 16 << 10,
            timeout: Duration::from_secs(1),
            patience: Duration::from_millis(10),
            retries_max: 16,
            repair_share: 0.1,
            proposers_max: 4 << 10,
            spare_buffers_max: 1024,
            spare_bytes_max: 4 << 10,
        }
    }
}

/// Ballots that a node has promised and not yet used, at most: 2 MiB of memory, once one is.
pub const PROMISES_MAX: usize = 64 << 10;

/// Where other nodes connect by default.
pub const PEER_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7500);

/// Replicas of a key by default.
pub const REPLICATION_FACTOR_DEFAULT: usize = 3;

/// Virtual nodes of a node by default.
pub const VIRTUAL_NODES_DEFAULT: u16 = 256;

/// How far ahead of a replica's clock a new version may be.
pub const DRIFT_MAX_DEFAULT: Duration = Duration::from_millis(500);

/// How long an operation may take by default.
pub const OPERATION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);

/// What fails together with a node that was not told so.
pub const ZONE_DEFAULT: &str = "default";

/// What makes a node one of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// What the node is called.
    pub name: Name,
    /// Where its metadata are, locked against a second process.
    pub data_dir: PathBuf,
    /// Where other nodes connect.
    pub peer_listen: SocketAddr,
    /// What other nodes are told to connect to, if it is another address.
    pub peer_advertise: Option<SocketAddr>,
    /// What clients are told to connect to, if it is another address than they are listened for on.
    pub advertise: Option<SocketAddr>,
    /// Nodes to join through, as host and port; none: without metadata, a new cluster is made.
    pub join: Vec<String>,
    /// It takes the place of the node of its name, which is dead.
    pub replace: bool,
    /// What fails together with it.
    pub zone: Name,
    /// Its weight: how many places it takes on the ring.
    pub virtual_nodes: u16,
    /// What a new cluster is told.
    pub settings: Settings,
    /// How operations are carried out.
    pub coordinator: CoordinatorConfig,
}

/// The settings of a new cluster of so many replicas that opens with `opens_with` nodes, or with as many as replicas.
#[must_use]
pub fn settings(replication_factor: u8, opens_with: Option<u16>) -> Settings {
    let ms = |time: Duration| u32::try_from(time.as_millis()).expect("it is less");
    Settings {
        replication_factor,
        opens_with: opens_with.unwrap_or(u16::from(replication_factor)),
        drift_max_ms: ms(DRIFT_MAX_DEFAULT),
        operation_timeout_ms: ms(OPERATION_TIMEOUT_DEFAULT),
    }
}

/// A node's knobs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Event loops.
    pub workers: WorkerCount,
    /// The store.
    pub store: StoreConfig,
    /// The bounds.
    pub limits: Limits,
    /// What clients must say before anything else; `None`: nothing.
    pub password: Option<Password>,
    /// The cluster it is a node of; `None`: it is alone.
    pub cluster: Option<ClusterConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: LISTEN_DEFAULT,
            workers: WorkerCount::default(),
            store: StoreConfig::default(),
            limits: Limits::default(),
            password: None,
            cluster: None,
        }
    }
}

/// Bounds and times of the topology log.
pub mod topology {
    use std::ops::RangeInclusive;
    use std::time::Duration;

    /// Nodes of a cluster at most.
    pub const NODES_MAX: u16 = 128;
    /// Places that a node may take on the ring.
    pub const VIRTUAL_NODES_MAX: u16 = 4096;
    /// How far ahead of a replica's clock a new version may be made possible.
    pub const DRIFT_MS_BOUNDS: RangeInclusive<u32> = 1..=60_000;
    /// How long operations may be let take.
    pub const OPERATION_TIMEOUT_MS_BOUNDS: RangeInclusive<u32> = 10..=60_000;
    /// Voters at most; the others learn.
    pub const VOTERS_MAX: usize = 5;

    /// The library counts time in these.
    pub const TICK: Duration = Duration::from_millis(1);
    /// How often a leader says that it is there.
    pub const HEARTBEAT_TICKS: usize = 75;
    /// How long a voter hears of no leader before it calls an election: a random time from this on …
    pub const ELECTION_TICKS_MIN: usize = 300;
    /// … and below this.
    pub const ELECTION_TICKS_MAX: usize = 600;
    /// How much later than planned a machine may be looked at and still count the time: beyond it, it was stopped
    /// itself, and what it would have heard may be waiting.
    pub const LATE_TICKS_MAX: u64 = 75;
    /// Entries of the log that are kept before a snapshot takes their place.
    pub const ENTRIES_MAX: usize = 64;
    /// Bytes of entries in one message, about.
    pub const MESSAGE_BYTES_MAX: u64 = 256 << 10;
    /// Entries in one message that is still plausible.
    pub const MESSAGE_ENTRIES_MAX: usize = 4096;
    /// Commands that a leader may have under way.
    pub const UNCOMMITTED_BYTES_MAX: u64 = 1 << 20;

    const _: () =
        assert!(ELECTION_TICKS_MIN > 3 * HEARTBEAT_TICKS && ELECTION_TICKS_MAX > ELECTION_TICKS_MIN);
}

/// Bounds of the thread that speaks of the cluster itself.
pub mod control {
    use std::time::Duration;

    /// How often a node asks to be let in, and what it has not been told is asked for again.
    pub const ASK_PAUSE: Duration = Duration::from_millis(100);
    /// How long somebody who is asked may take to answer a node that joins.
    pub const JOIN_TIMEOUT: Duration = Duration::from_secs(2);
    /// Links that others may have to it.
    pub const GUESTS_MAX: usize = 1024;
    /// Messages that wait for it at most.
    pub const MAILBOX_MESSAGES: usize = 4096;
    /// How far ahead of the latest version the clock's ceiling is put on disk.
    pub const CEILING_AHEAD: Duration = Duration::from_secs(3);
    /// How near the latest version may come to it before it is raised.
    pub const CEILING_NEAR: Duration = Duration::from_secs(2);
    /// How often it is looked at.
    pub const CEILING_INTERVAL: Duration = Duration::from_millis(200);
    /// How often the clocks of other nodes are asked for.
    pub const CLOCK_INTERVAL: Duration = Duration::from_millis(200);
    /// How long a node that hands over the lead waits for another to take it before it stops.
    pub const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(300);

    const _: () = assert!(CEILING_AHEAD.as_millis() > CEILING_NEAR.as_millis());
}

/// How nodes that lost their data get it back.
pub mod recovery {
    use std::time::Duration;

    /// Bytes of a page, about.
    pub const PAGE_BYTES: usize = 64 << 10;
    /// How long a page may take before it is asked for again.
    pub const PATIENCE: Duration = Duration::from_millis(500);
    /// How long a source is left alone between two pages: some 60 MB/s each.
    pub const PAUSE: Duration = Duration::from_millis(1);
}

/// Bounds of the links between nodes.
pub mod link {
    use std::time::Duration;

    /// How long a link that ended, or could not be made, is left alone: about so long at first, and twice as long after
    /// each failure. What tells that the other end may be back ends the pause.
    pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
    /// See [`RETRY_PAUSE_MIN`].
    pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);
    const _: () = assert!(RETRY_PAUSE_MIN.as_nanos() < RETRY_PAUSE_MAX.as_nanos());
    /// How long the other end may be silent while something of it is waited for.
    pub const SILENCE_MAX: Duration = Duration::from_secs(2);
    /// How long a link may be idle before the other end is asked whether it is there. A node that stands still is known
    /// after this and `SILENCE_MAX` at most.
    pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);
    /// How long the other end may take to introduce itself.
    pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long nothing may come on a link before the kernel asks whether the other end is there, how long it waits for
    /// an answer, and how often it asks: who is gone without a word is known to the kernel after all that.
    pub const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
    /// See [`KEEPALIVE_AFTER`].
    pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
    /// See [`KEEPALIVE_AFTER`].
    pub const KEEPALIVE_RETRIES: u32 = 3;
    /// How long what was sent may stay unconfirmed by the other end's kernel.
    pub const UNCONFIRMED_MAX: Duration = Duration::from_secs(25);
    /// Bytes that wait to be sent to a peer at most; one that takes no more is given up.
    pub const OUTPUT_BYTES_MAX: usize = 64 << 20;
    /// Bytes read of a link in one turn, about.
    pub const TURN_BYTES: usize = 1 << 20;
    /// Links that other nodes may have to one worker.
    pub const GUESTS_MAX: usize = 4096;
    /// Refused links that one thread logs a second.
    pub const COMPLAINTS_A_SECOND_MAX: u32 = 20;
    /// A buffer that grew beyond this gives its memory back when it is empty.
    pub const KEPT_BYTES_MAX: usize = 1 << 20;
}

/// Bounds of an event loop's turn: fixed, because they are tuned to caches and not to deployments.
pub mod turn {
    use std::time::Duration;

    /// How many requests ahead a key's slot is asked for, and then its cell: as many as the processor can have
    /// outstanding cache misses for, about; 8 to 64 measured the same.
    pub const SLOTS_AHEAD: usize = 16;
    /// See [`SLOTS_AHEAD`].
    pub const CELLS_AHEAD: usize = SLOTS_AHEAD / 2;
    /// Commands of one connection in one turn; then the others have theirs.
    pub const CONNECTION_COMMANDS_MAX: usize = 512;
    /// Bytes asked of a socket at once.
    pub const READ_BYTES: usize = 64 << 10;
    /// Bytes of all sockets together that a worker takes in before it executes.
    pub const INPUT_BYTES: usize = 512 << 10;
    /// Events taken from the kernel at once.
    pub const EVENTS: usize = 256;
    /// How often deadlines are looked at and expired cells swept.
    pub const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(100);
    /// Requests taken in before they are executed, of however many connections.
    pub const REQUESTS_MAX: usize = 512;
    /// Bytes of keys in a page of a scan, about.
    pub const PAGE_KEY_BYTES: usize = 1 << 20;
    /// Keys that a page of a scan visits at most, whatever is asked for.
    pub const PAGE_KEYS_MAX: usize = 100_000;
    /// Scans in one native batch: each may walk a whole shard, and a batch is run in one turn.
    pub const SCANS_PER_BATCH_MAX: usize = 16;
    /// Slots that one step of sweeping looks at, about: tens of microseconds.
    pub const SWEEP_SLOTS: usize = 8 << 10;
    /// If more than one in so many of the slots looked at had expired, sweeping goes on.
    pub const SWEEP_YIELD_MIN: u64 = 16;
    /// How long sweeping goes on at once, and then pauses if there is more.
    pub const SWEEP_TIME_MAX: Duration = Duration::from_millis(1);
    /// The pause. A worker spends a tenth of its time on sweeping at most.
    pub const SWEEP_PAUSE: Duration = Duration::from_millis(10);
    /// How long a stopping worker waits for its clients to take what was answered.
    pub const STOP_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long a client that was told of the end of its connection must be silent until it is closed.
    pub const PARTING_SILENCE: Duration = Duration::from_millis(500);
    /// How long a client that was told of the end of its connection is listened to at most.
    pub const PARTING_TIMEOUT: Duration = Duration::from_secs(2);
    /// Messages that wait for a worker at most.
    pub const MAILBOX_MESSAGES: usize = 1024;

    const _: () = assert!(INPUT_BYTES >= 2 * READ_BYTES);
    const _: () = assert!(REQUESTS_MAX >= SLOTS_AHEAD && CELLS_AHEAD < SLOTS_AHEAD);
}
