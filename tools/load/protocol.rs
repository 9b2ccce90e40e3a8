//! The names of the protocols that the generator speaks.
//!
//! The comparison reads this list too, so that it asks for no protocol that the generator does not know. What a
//! protocol is stands in its dialect.

use clap::ValueEnum;

/// The protocols that the generator speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Protocol {
    /// Redis' protocol, version 2.
    Resp,
    /// memcached's text protocol.
    Memcached,
    /// Annulus' own protocol.
    Native,
}

impl Protocol {
    /// Its name on the command line and in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Resp => "resp",
            Self::Memcached => "memcached",
            Self::Native => "native",
        }
    }
}
