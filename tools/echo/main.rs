//! The floor: answers requests of RESP's shape with canned replies, on the event loop that the node uses.
//!
//! What a server that speaks the protocol over a socket spends at least: one readiness wait a turn, one read and one
//! write per connection and turn, no store and no parsing worth the name. Invariant: nothing is allocated per
//! request, and whatever bytes arrive, the worst that happens is that their connection is closed.
//! It does not store, does not check what it skips over, and has no second thread.

mod canned;
mod connection;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::canned::Canned;
use crate::connection::{Connection, Scratch};

/// Answers GET and SET with canned replies: the least that any server of this protocol can cost.
#[derive(Parser)]
#[command(name = "annulus-echo", version)]
struct Options {
    /// Address to listen on; port 0 takes a free one. The address taken is the first line printed.
    #[arg(long, default_value = "127.0.0.1:7390")]
    listen: SocketAddr,
    /// Bytes of the value that every GET is answered with.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=VALUE_BYTES_MAX))]
    value_bytes: u32,
}

/// Largest canned value: a turn's output must stay a sensible buffer.
const VALUE_BYTES_MAX: i64 = 1 << 20;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;

/// The token of the listening socket; connections count from 0.
const LISTENER: Token = Token(usize::MAX);

fn main() -> ExitCode {
    match serve(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("annulus-echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options) -> io::Result<()> {
    let mut listener = TcpListener::bind(options.listen)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    announce(listener.local_addr()?)?;

    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut connections = Slab::new();
    let mut scratch = Scratch::new(Canned::new(options.value_bytes as usize));
    loop {
        match poll.poll(&mut events, None) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
            } else {
                turn(event, &poll, &mut connections, &mut scratch);
            }
        }
    }
}

/// One line, flushed at once: whoever started us on port 0 waits for it.
fn announce(address: SocketAddr) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "listening on {address}")?;
    output.flush()
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Slab<Connection>) -> io::Result<()> {
    loop {
        let mut socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(()),
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                // Out of descriptors, say: the listener is edge-triggered, so going on would strand whoever waits.
                _ => return Err(error),
            },
        };
        socket.set_nodelay(true)?;
        let entry = connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, Token(entry.key()), interest)?;
        entry.insert(Connection::new(socket));
    }
}

fn turn(event: &Event, poll: &Poll, connections: &mut Slab<Connection>, scratch: &mut Scratch) {
    let key = event.token().0;
    // A connection closed earlier in this batch of events has no entry any more.
    let Some(connection) = connections.get_mut(key) else { return };
    let hung_up = event.is_read_closed() || event.is_error();
    if connection.turn(event.is_readable(), hung_up, scratch).is_err() {
        let mut connection = connections.remove(key);
        // The socket is closed on the next line in any case, which deregisters it too.
        let _ = poll.registry().deregister(connection.socket());
    }
}
