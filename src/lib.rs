//! Annulus: a distributed in-memory key-value store.
//!
//! A tour, in reading order: [`types`] and [`message`] say what is spoken of, [`protocol`] turns it into bytes
//! and back, [`operation`] computes what a read-modify-write leaves behind, [`store`] keeps the cells,
//! [`metrics`] counts and times, [`server`] is the only part that touches sockets, threads and clocks, and
//! [`client`] is the other end of the wire. [`cluster`] holds the first machines of a cluster, which nothing serves
//! through yet; [`history`] judges what clients were told.

pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod history;
pub mod hybrid_clock;
pub mod message;
pub mod metrics;
pub mod operation;
pub mod protocol;
pub mod server;
pub mod slewed_clock;
pub mod store;
pub mod types;
