//! When a connection sends: a whole batch at once, or a request for every reply.
//!
//! The comparison reads this too, so that it offers the same choice. What is sent is not decided here.

use clap::ValueEnum;
use serde::Serialize;

/// What `--send` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sending {
    /// A batch when the one before it is answered in full.
    #[default]
    Batch,
    /// As many requests as each read answered, at once, and a quarter of the pipeline to a read: a trickle.
    Window,
}

impl Sending {
    /// Its name on the command line and in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Window => "window",
        }
    }
}
