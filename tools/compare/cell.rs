//! One measurement: the generator as a process of its own, and what it reports.
//!
//! Invariant: the generator is ended when the measurement is given up, and a report is returned only if it says that
//! nothing failed. The generator runs on the load's core and knows nothing of the comparison.

use std::io::{self, Read};
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use thiserror::Error;

use crate::cores::pinned;
use crate::interrupt::{Interrupt, Interrupted};
use crate::report::Report;
use crate::server::{Owned, beside_us};

/// How long a signal may go unnoticed while the generator runs.
const INTERRUPT_CHECK: Duration = Duration::from_millis(100);

/// A measurement did not come about.
#[derive(Debug, Error)]
pub(crate) enum CellError {
    #[error("annulus-load is not beside annulus-compare")]
    NoGenerator,
    #[error("cannot run annulus-load: {0}")]
    Run(#[from] io::Error),
    #[error("annulus-load gave no report: {0}")]
    NoReport(#[from] serde_json::Error),
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Runs the generator with `arguments` on `core` and returns its report.
pub(crate) fn measure(
    arguments: &[String],
    core: Option<usize>,
    interrupt: &Interrupt,
) -> Result<Report, CellError> {
    let program = beside_us("annulus-load").ok_or(CellError::NoGenerator)?;
    let mut child = Owned(
        pinned(program, core)
            .args(arguments)
            .args(["--json", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut output = child.0.stdout.take().expect("the output was asked to be piped");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let result = output.read_to_string(&mut text).map(|_| text);
        // Nobody listens any more if the measurement was given up.
        let _ = sender.send(result);
    });
    let text = loop {
        interrupt.check()?;
        match receiver.recv_timeout(INTERRUPT_CHECK) {
            Ok(text) => break text?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
            }
        }
    };
    child.0.wait()?;
    interrupt.check()?;
    let report: Report = serde_json::from_str(&text)?;
    match report.failure {
        Some(failure) => Err(CellError::Failed(failure)),
        None => Ok(report),
    }
}
