//! The `annulus` binary: reads the command line, does what it says, and runs a node until SIGTERM or SIGINT.
//!
//! Exit codes: those of [`annulus::cli`]; a node's are 0 after a clean stop, 1 if it could not start or go on, 2 for
//! wrong options.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annulus::cli::{Arguments, Command, LogFormat};
use annulus::server::{Node, Stopper};
use clap::Parser;
use clap::error::ErrorKind;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.run() {
        Some(Ok(code)) => return code,
        Some(Err(failure)) => {
            eprintln!("error: {failure}");
            return failure.code().into();
        }
        None => {}
    }
    let Command::Node(node) = &arguments.command else { return ExitCode::SUCCESS };
    let wrong = |error: String| -> ! {
        clap::Command::new("annulus node").error(ErrorKind::ValueValidation, error).exit()
    };
    let options = node.options().unwrap_or_else(|error| wrong(error.to_string()));
    let config = options.config().unwrap_or_else(|error| wrong(error.to_string()));
    begin_log(options.log_format());
    options.warn_of_readers();
    if !options.huge_pages()
        && let Err(error) = rustix::thread::disable_transparent_huge_pages(true)
    {
        tracing::debug!(%error, "the kernel keeps its setting of huge pages");
    }
    match run(&config, node.stops_at_eof()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn begin_log(format: LogFormat) {
    // A log that nobody takes, or for which a disk has no room, is no reason to end.
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false);
    let log = log.with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

fn run(config: &annulus::config::Config, stops_at_eof: bool) -> Result<(), Box<dyn std::error::Error>> {
    raise_descriptor_limit(config.limits.connections_max as u64);
    // Before the first thread, so that no signal goes past it.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    // Until the node runs there is nothing to be stopped: it may be waiting for a cluster to let it in.
    let starting = Arc::new(AtomicBool::new(true));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::clone(&starting))?;
    }
    let (started, node_started) = std::sync::mpsc::channel::<Stopper>();
    if stops_at_eof {
        std::thread::Builder::new().name("standard input".into()).spawn(move || {
            // Nothing is expected there, so an error is an end as well.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            tracing::info!("standard input has ended: answering what was read, then stopping");
            match node_started.try_recv() {
                Ok(stopper) => stopper.stop(),
                // There is nothing to be stopped yet.
                Err(_) => std::process::exit(0),
            }
        })?;
    }
    let node = Node::start(config)?;
    // Nobody hears it unless standard input matters.
    let _ = started.send(node.stopper());
    starting.store(false, Ordering::SeqCst);
    // The one line on standard output: scripts that let the system choose the port read it.
    if let Err(error) = writeln!(std::io::stdout(), "listening on {}", node.address()) {
        tracing::warn!("cannot say on standard output where this node listens: {error}");
    }
    tracing::info!(
        "{} workers serve RESP and the native protocol; try: redis-cli -p {}",
        config.workers.get(),
        node.address().port()
    );
    let stopper = node.stopper();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            tracing::info!("signal {signal}: answering what was read, then stopping");
            stopper.stop();
        }
    })?;
    node.wait()?;
    Ok(())
}

/// Descriptors beside those of connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// Raises the soft limit of open files as far as connections need and the hard limit allows.
fn raise_descriptor_limit(connections_max: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = connections_max + OTHER_DESCRIPTORS;
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    limit.current = Some(allowed);
    if setrlimit(Resource::Nofile, limit).is_err() || allowed < wanted {
        tracing::warn!(
            "the limit of open files is {allowed}, too low for {connections_max} connections: \
             raise it with `ulimit -n {wanted}`"
        );
    }
}
