//! Listening sockets: one for each worker on the same port, so that the kernel spreads the connections.
//!
//! Invariant: all sockets of a node share one address; a port of 0 is chosen once, by the first of them.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds for each worker until it accepts them.
const BACKLOG: i32 = 1024;

/// Binds `count` listeners to `address`; returns them with the address they are bound to.
///
/// # Errors
/// What the kernel says; the address is in use, most likely.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    // Without SO_REUSEPORT first: another process on that port must be an error, not a silent share of its clients.
    drop(listening_socket(address, false)?);
    let first = listening_socket(address, true)?;
    let bound = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(listening_socket(bound, true)?);
    }
    Ok((listeners, bound))
}

fn listening_socket(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if share {
        socket.listen(BACKLOG)?;
    }
    Ok(TcpListener::from_std(socket.into()))
}
