//! Threads bound to cores.
//!
//! Invariant: whether threads can be bound is found out before a run, on a thread that ends with it; after that it is
//! taken for granted. How many cores there are, and what else runs on them, is the caller's to know.

use std::io;
use std::thread;

use rustix::thread::{CpuSet, sched_setaffinity};
use thiserror::Error;

/// No thread can be bound to the core. The caller's fault: there is none, or it is not ours.
#[derive(Debug, Error)]
#[error("cannot bind a thread to core {core}: {source}")]
pub(crate) struct Unpinnable {
    core: usize,
    source: io::Error,
}

/// The core of the thread `number`, if threads are bound to any.
pub(crate) fn core(pins: &[usize], number: usize) -> Option<usize> {
    (!pins.is_empty()).then(|| pins[number % pins.len()])
}

/// Binds this thread to `core`; that it can be was found out before.
pub(crate) fn pin(core: Option<usize>) {
    if let Some(core) = core {
        let _ = bind(core);
    }
}

fn bind(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// Whether threads can be bound to all of `pins`: tried on a thread that ends with it.
pub(crate) fn can_pin(pins: &[usize]) -> Result<(), Unpinnable> {
    for &core in pins {
        thread::spawn(move || bind(core))
            .join()
            .expect("binding does not panic")
            .map_err(|source| Unpinnable { core, source })?;
    }
    Ok(())
}
