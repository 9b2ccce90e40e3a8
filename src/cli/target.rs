//! Whom a command speaks to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Failure;
use super::options::read_password;
use crate::client::{ClusterClient, Options};
use crate::config::LISTEN_DEFAULT;

/// Nodes, and how they are spoken to.
#[derive(Args, Debug, Clone)]
pub struct Target {
    /// Addresses for clients of one or more nodes; the first that answers will do.
    #[arg(long, value_name = "ADDRESS:PORT,…", value_delimiter = ',', default_values_t = [LISTEN_DEFAULT])]
    pub target: Vec<SocketAddr>,

    /// File with the password that clients must give.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// Seconds after which to give up.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,

    /// Answer with JSON.
    #[arg(long)]
    pub json: bool,
}

impl Target {
    /// Connects.
    pub(super) fn connect(&self) -> Result<ClusterClient, Failure> {
        let password = self.password_file.as_deref().map(read_password).transpose();
        let password = password.map_err(|error| Failure::Usage(error.to_string()))?;
        let timeout = Duration::from_secs(self.timeout);
        let options = Options {
            connect_timeout: timeout,
            read_timeout: Some(timeout),
            write_timeout: Some(timeout),
            password: password.map(|password| password.bytes().to_vec()),
            retry_for: timeout,
            ..Options::default()
        };
        ClusterClient::connect_with(self.target.as_slice(), options).map_err(|error| {
            let targets: Vec<String> = self.target.iter().map(ToString::to_string).collect();
            Failure::NotDone(format!("{}: {error}; is a node running there?", targets.join(", ")))
        })
    }
}
