//! How a node begins: with the metadata that it finds, with a cluster that it makes, or with one that lets it in.
//!
//! Invariant: metadata that are there win over the command line; a node that was told to join never makes a cluster;
//! what it begins with is on disk before it says anything.

use std::io;
use std::net::SocketAddr;

use mio::Poll;

use super::file::{MetadataFile, MetadataFileError};
use super::join::join;
use crate::config::ClusterConfig;
use crate::message::consensus::Image;
use crate::message::metadata::Metadata;
use crate::message::topology::{Denial, Entrance, Topology};
use crate::types::{ClusterId, NodeNumber, RunId, WallTime};

/// What a node begins with.
pub(crate) struct Beginning {
    pub(crate) poll: Poll,
    pub(crate) file: MetadataFile,
    pub(crate) metadata: Metadata,
    /// How it asks for its life to be taken into the log.
    pub(crate) entrance: Entrance,
    /// What is left to chance.
    pub(crate) seed: u64,
}

/// Why a node cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The metadata cannot be used.
    #[error(transparent)]
    File(#[from] MetadataFileError),
    /// They are another node's.
    #[error("the metadata in {directory} are of the node {found}: give --id {found}, or another --data-dir")]
    OtherNode {
        /// Where.
        directory: String,
        /// Whose.
        found: String,
    },
    /// They cannot be written.
    #[error("cannot write the metadata to {directory}: {source}")]
    Write {
        /// Where.
        directory: String,
        /// What the system says.
        source: io::Error,
    },
    /// The cluster does not let it in.
    #[error("the cluster does not let this node in: {0}")]
    Denied(#[from] Denial),
    /// An event loop cannot be made.
    #[error("cannot start the control thread: {0}")]
    Poll(#[from] io::Error),
}

impl Beginning {
    /// What was agreed on, as far as is known.
    pub(crate) fn topology(&self) -> &Topology {
        &self.metadata.image.snapshot.topology
    }
}

/// Finds out what the node begins with. `peers` and `clients` are the addresses that it listens on.
///
/// It waits for as long as the cluster that it is to join does not answer.
///
/// # Errors
/// [`BeginError`].
pub(crate) fn begin(
    config: &ClusterConfig,
    run: RunId,
    peers: SocketAddr,
    clients: SocketAddr,
) -> Result<Beginning, BeginError> {
    let directory = config.data_dir.display().to_string();
    let poll = Poll::new()?;
    let (mut file, found) = MetadataFile::open(&config.data_dir)?;
    let mut entrance = Entrance {
        name: config.name.clone(),
        run,
        was: found.as_ref().map(|metadata| metadata.number),
        keeps_data: false,
        replaces: config.replace,
        peer_address: config.peer_advertise.unwrap_or(peers),
        client_address: config.advertise.unwrap_or(clients),
        zone: config.zone.clone(),
        virtual_nodes: config.virtual_nodes,
    };
    let metadata = match found {
        Some(metadata) if metadata.name != config.name => {
            return Err(BeginError::OtherNode { directory, found: metadata.name.to_string() });
        }
        Some(metadata) => {
            tracing::info!("found the metadata of {} in {directory}", metadata.name);
            metadata
        }
        None => {
            let metadata = if config.join.is_empty() {
                found_cluster(config, &entrance)?
            } else {
                enter(config, &entrance)?
            };
            file.write(&metadata).map_err(|source| BeginError::Write { directory, source })?;
            entrance.was = Some(metadata.number);
            metadata
        }
    };
    Ok(Beginning { poll, file, metadata, entrance, seed: fastrand::u64(..) })
}

fn found_cluster(config: &ClusterConfig, founder: &Entrance) -> Result<Metadata, Denial> {
    let cluster = ClusterId(fastrand::u64(1..));
    let topology = Topology::new(cluster, fastrand::u64(..), config.settings.clone());
    let number = topology.next_node;
    let image = Image::founding(topology, founder.clone())?;
    tracing::info!(
        "made the cluster {:016x}: it opens with {} nodes, the others start with --join {}",
        cluster.0,
        config.settings.opens_with,
        founder.peer_address
    );
    Ok(Metadata { name: config.name.clone(), number, ceiling: WallTime(0), image })
}

fn enter(config: &ClusterConfig, entrance: &Entrance) -> Result<Metadata, Denial> {
    let topology = join(&config.join, entrance)?;
    let number = topology.node_named(&config.name).map_or(NodeNumber(0), |(number, _)| number);
    tracing::info!("let into the cluster {:016x} as node {}", topology.cluster.0, number.0);
    Ok(Metadata { name: config.name.clone(), number, ceiling: WallTime(0), image: Image::admitted(topology) })
}
