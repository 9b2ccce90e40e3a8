//! What ends a run before its time: SIGINT, SIGTERM, or a failure that leaves nothing to measure.
//!
//! Invariant: a signal ends no thread by itself, so that what was measured is reported; a second one ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_default};

/// Whether a run is to end now.
pub(crate) struct Stop {
    /// For whatever reason: no lane goes on.
    abort: Arc<AtomicBool>,
    interrupted: Arc<AtomicBool>,
}

impl Stop {
    /// Takes over the signals that ask a process to end.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let stop = Self { abort: Arc::default(), interrupted: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset, the second does not.
            register_conditional_default(signal, Arc::clone(&stop.interrupted))?;
            register(signal, Arc::clone(&stop.interrupted))?;
            register(signal, Arc::clone(&stop.abort))?;
        }
        Ok(stop)
    }

    /// What lanes look at.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.abort
    }

    /// Ends the run.
    pub(crate) fn abort(&self) {
        self.abort.store(true, Ordering::Relaxed);
    }

    /// Whether a signal ended it.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
