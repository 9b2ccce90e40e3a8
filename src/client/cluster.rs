//! A client of a whole cluster: several addresses, the nodes that have a key first, another when one fails.
//!
//! Invariant: a request is repeated only if it surely was not applied, or if it changes nothing; what may have been
//! applied is told to the caller, who alone knows whether it may be done twice.
#![expect(clippy::disallowed_methods, reason = "how long to go on is a matter of the caller's time")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use super::{Client, Error, Operations, Options};
use crate::cluster::ring::{Member, Ring};
use crate::message::description::{Cluster, Node};
use crate::message::{Reply, Request};
use crate::types::{KeyHash, Level, NodeNumber, Token, Zone};

/// How long what is known of the cluster is taken to be so.
const KNOWLEDGE_LASTS: Duration = Duration::from_secs(10);

/// The first pause after all nodes that are known have failed; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long a connection may be unused and still be taken to be there.
const UNUSED_MAX: Duration = Duration::from_millis(50);

/// On which nodes keys are.
#[derive(Debug)]
pub struct Placement {
    /// Who holds what.
    pub ring: Ring,
    hash_seed: u64,
}

/// Where keys are.
#[derive(Debug)]
struct Map {
    placement: Placement,
    addresses: BTreeMap<NodeNumber, SocketAddr>,
}

/// A connection to each node that is needed, made when it is. One request at a time.
#[derive(Debug)]
pub struct ClusterClient {
    seeds: Vec<SocketAddr>,
    options: Options,
    level: Option<Level>,
    clients: BTreeMap<SocketAddr, (Client, Instant)>,
    map: Option<Map>,
    /// When the map was last asked for.
    asked: Instant,
}

impl ClusterClient {
    /// Connects to the first of `seeds` that answers, and learns of the others from it.
    ///
    /// # Errors
    ///
    /// None of them answers, or they refuse.
    pub fn connect(seeds: impl ToSocketAddrs) -> Result<Self, Error> {
        Self::connect_with(seeds, Options::default())
    }

    /// The same with other options than the default ones.
    ///
    /// # Errors
    ///
    /// None of them answers, or they refuse.
    pub fn connect_with(seeds: impl ToSocketAddrs, options: Options) -> Result<Self, Error> {
        let seeds = seeds.to_socket_addrs().map_err(|source| Error::Connect { source })?.collect();
        let mut client =
            Self { seeds, options, level: None, clients: BTreeMap::new(), map: None, asked: Instant::now() };
        client.learn()?;
        Ok(client)
    }

    /// The same client, its requests from now on at `level`.
    #[must_use]
    pub fn with_level(mut self, level: Level) -> Self {
        self.set_level(Some(level));
        self
    }

    /// The level of requests from now on; `None` for the nodes' default.
    pub fn set_level(&mut self, level: Option<Level>) {
        self.level = level;
        self.clients.values_mut().for_each(|(client, _)| client.set_level(level));
    }

    /// Asks the first node that answers who the others are.
    fn learn(&mut self) -> Result<(), Error> {
        self.asked = Instant::now();
        let mut failed = None;
        for address in self.others(&[]) {
            match self.client(address).and_then(Operations::cluster) {
                Ok(cluster) => {
                    self.map = cluster.as_ref().and_then(Map::of);
                    return Ok(());
                }
                Err(error) => {
                    self.clients.remove(&address);
                    failed = Some(error);
                }
            }
        }
        Err(failed.unwrap_or_else(|| Error::Connect {
            source: std::io::Error::new(std::io::ErrorKind::InvalidInput, "no address was given"),
        }))
    }

    /// Every address that is known but these, the connected ones first.
    fn others(&self, but: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut others: Vec<SocketAddr> = Vec::new();
        let told = self.map.iter().flat_map(|map| map.addresses.values());
        for address in self.clients.keys().chain(told).chain(&self.seeds) {
            if !others.contains(address) && !but.contains(address) {
                others.push(*address);
            }
        }
        others
    }

    /// Whom to ask, in order: those who have the key, then the others.
    fn candidates(&self, key: Option<&[u8]>) -> Vec<SocketAddr> {
        let mut candidates = Vec::new();
        if let (Some(map), Some(key)) = (&self.map, key) {
            let list = map.placement.ring.preference_list(map.placement.token(key));
            candidates.extend(list.iter().filter_map(|node| map.addresses.get(node)).copied());
        }
        candidates.extend(self.others(&candidates));
        candidates
    }

    /// A connection to a node that is not known to be broken.
    fn client(&mut self, address: SocketAddr) -> Result<&mut Client, Error> {
        let now = Instant::now();
        let stale = self.clients.get(&address).is_some_and(|(client, used)| {
            !client.is_connected() || (now.duration_since(*used) > UNUSED_MAX && client.is_stale())
        });
        if stale {
            self.clients.remove(&address);
        }
        if !self.clients.contains_key(&address) {
            let mut client = Client::connect_with(address, self.options.clone())?;
            client.set_level(self.level);
            self.clients.insert(address, (client, now));
        }
        let (client, used) = self.clients.get_mut(&address).expect("it was inserted");
        *used = now;
        Ok(client)
    }

    /// Sends a request to whoever takes it; returns whose client has the answer.
    fn carry(&mut self, request: Request<'_>) -> Result<SocketAddr, Error> {
        let deadline = Instant::now() + self.options.retry_for;
        let mut pause = PAUSE_MIN;
        loop {
            if self.asked.elapsed() > KNOWLEDGE_LASTS {
                // Who knows nothing newer goes on with what was so.
                let _ = self.learn();
            }
            let mut failed = None;
            for address in self.candidates(request.key()) {
                match self.client(address).and_then(|client| client.exchange(request)) {
                    Ok(()) => return Ok(address),
                    Err(error) if may_be_repeated(&error, &request) => {
                        if self.clients.get(&address).is_some_and(|(client, _)| !client.is_connected()) {
                            self.clients.remove(&address);
                        }
                        failed = Some(error);
                    }
                    Err(error) => return Err(error),
                }
                if Instant::now() >= deadline {
                    break;
                }
            }
            let error = failed.unwrap_or(Error::NotConnected);
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            // All that are known have failed: sooner than after a moment none of them will do.
            thread::sleep(pause);
            pause = PAUSE_MAX.min(pause * 2);
            let _ = self.learn();
        }
    }
}

impl Operations for ClusterClient {
    fn call(&mut self, request: Request<'_>) -> Result<Reply<'_>, Error> {
        let address = self.carry(request)?;
        self.clients.get(&address).map_or(Err(Error::NotConnected), |(client, _)| client.reply())
    }
}

impl Map {
    /// `None` if nothing can be told from it, such as before the cluster is open.
    fn of(cluster: &Cluster) -> Option<Self> {
        let alive = cluster.nodes.iter().filter(|node| node.is_alive());
        let addresses = alive.map(|node| (NodeNumber(node.number), node.clients)).collect();
        Some(Self { placement: Placement::of(cluster)?, addresses })
    }
}

impl Placement {
    /// Where the nodes of a cluster keep what; `None` if the description does not tell.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Option<Self> {
        // Zones are told apart, whatever their numbers are.
        let zone = |name: &str| cluster.nodes.iter().position(|node| node.zone == name).unwrap_or(0) as u16;
        let owners = cluster.nodes.iter().filter(|node| node.owns());
        let member = |node: &Node| Member {
            node: NodeNumber(node.number),
            seat: NodeNumber(node.seat),
            zone: Zone(zone(&node.zone)),
            virtual_nodes: node.virtual_nodes,
        };
        let members: Vec<Member> = owners.map(member).collect();
        let hash_seed = cluster.hash_seed.parse().ok()?;
        let copies = NonZeroUsize::new(cluster.copies.into())?;
        Some(Self { ring: Ring::new(&members, copies, hash_seed), hash_seed })
    }

    /// A key's place on the ring.
    #[must_use]
    pub fn token(&self, key: &[u8]) -> Token {
        KeyHash::of(key, self.hash_seed).token()
    }
}

/// Whether a request that ended so may be sent to another node.
const fn may_be_repeated(error: &Error, request: &Request<'_>) -> bool {
    match error {
        Error::Connect { .. } | Error::NotConnected | Error::Thread { .. } => true,
        Error::Refused { reason, .. } => reason.is_the_nodes_state(),
        Error::VersionUnsupported { .. } | Error::TooLarge { .. } => false,
        Error::Unknown { .. }
        | Error::TimedOut
        | Error::Disconnected { .. }
        | Error::Protocol(_)
        | Error::UnexpectedAnswer => changes_nothing(request),
    }
}

const fn changes_nothing(request: &Request<'_>) -> bool {
    match request {
        Request::Ping
        | Request::Authenticate { .. }
        | Request::Stats
        | Request::Cluster
        | Request::Scan { .. }
        | Request::Get { .. }
        | Request::GetRange { .. } => true,
        Request::Put { .. }
        | Request::Remove { .. }
        | Request::Increment { .. }
        | Request::Append { .. }
        | Request::Expire { .. }
        | Request::Batch(_) => false,
    }
}
