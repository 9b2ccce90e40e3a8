//! Annulus: a distributed in-memory key-value store.
//!
//! A tour, in reading order: [`types`] and [`message`] say what is spoken of, [`protocol`] turns it into bytes
//! and back, [`operation`] computes what a read-modify-write leaves behind, [`store`] keeps the cells,
//! [`metrics`] counts and times, [`server`] is the only part that touches sockets, threads and clocks, and
//! [`client`] is the other end of the wire. [`cluster`] holds what decides in a cluster: where keys live, how replicas
//! agree on one, and how nodes agree on who they are; [`history`] judges what clients were told.

pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod history;
pub mod hybrid_clock;
pub mod local;
pub mod message;
pub mod metrics;
pub mod operation;
pub mod protocol;
pub mod server;
pub mod slewed_clock;
pub mod store;
pub mod types;
