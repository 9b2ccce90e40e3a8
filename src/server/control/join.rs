//! How a process without metadata gets into a cluster: it asks whoever it was told of, and whomever that one names,
//! until it is let in or told that it cannot be.
//!
//! Invariant: nothing of the node runs yet, so this waits and blocks; it never makes a cluster of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use crate::config::DRIFT_MAX_DEFAULT;
use crate::config::control::{ASK_PAUSE, JOIN_TIMEOUT};
use crate::message::control::{Control, TimeTold, Told};
use crate::message::topology::{Command, Denial, Entrance, Topology};
use crate::protocol::Limits;
use crate::protocol::control::{CONTROL_BYTES_MAX, decode_control, encode_control};
use crate::protocol::frame::{Split, split_frame};
use crate::protocol::handshake::{HANDSHAKE_BYTES, Handshake, Purpose, decode_handshake, encode_handshake};
use crate::server::clock::{Clock, pause};
use crate::server::control::clocks::{ahead_ms, clocks_apart};
use crate::types::{ClusterId, NodeNumber};

/// What a node that joins is told, when it is let in.
pub(crate) fn join(addresses: &[String], entrance: &Entrance) -> Result<Topology, Denial> {
    let mut told = String::new();
    let mut named: Option<SocketAddr> = None;
    loop {
        for address in addresses {
            let answer = match named.take() {
                Some(leader) => ask(leader, entrance),
                None => resolve(address).and_then(|address| ask(address, entrance)),
            };
            let waits_for = match answer {
                Ok(Told::Done(topology)) => return Ok(topology),
                Ok(Told::Denied(Denial::HolderAlive(name))) => format!("{}", Denial::HolderAlive(name)),
                Ok(Told::Denied(denial)) => return Err(denial),
                Ok(Told::Elsewhere(leader)) => {
                    named = Some(leader);
                    continue;
                }
                Ok(Told::Later) => "it is being agreed on".into(),
                Err(error) => format!("{address}: {error}"),
            };
            if waits_for != told {
                tracing::warn!("not let in yet, trying on: {waits_for}");
                told = waits_for;
            }
            pause(ASK_PAUSE);
        }
    }
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "no such address");
    address.to_socket_addrs()?.next().ok_or_else(unknown)
}

fn ask(address: SocketAddr, entrance: &Entrance) -> io::Result<Told> {
    let mut stream = TcpStream::connect_timeout(&address, JOIN_TIMEOUT)?;
    stream.set_read_timeout(Some(JOIN_TIMEOUT))?;
    stream.set_write_timeout(Some(JOIN_TIMEOUT))?;
    let own =
        Handshake { purpose: Purpose::Join, cluster: ClusterId(0), node: NodeNumber(0), run: entrance.run };
    stream.write_all(&encode_handshake(&own))?;
    let mut bytes = [0; HANDSHAKE_BYTES];
    stream.read_exact(&mut bytes)?;
    match decode_handshake(&bytes).map_err(io::Error::other)?.purpose {
        Purpose::Welcome => {}
        Purpose::Refused(reason) => return Err(io::Error::other(reason)),
        _ => return Err(io::Error::other("it is no node")),
    }
    let mut request = Vec::new();
    let asked_at = Clock::start().wall();
    encode_control(&Control::Time(TimeTold { asked_at, answered_at: None }), &mut request);
    stream.write_all(&request)?;
    if let Control::Time(told) = hear(&mut stream)?
        && let Some(ahead_ms) = ahead_ms(told, Clock::start().wall())
        && ahead_ms.unsigned_abs() > DRIFT_MAX_DEFAULT.as_millis() as u64
    {
        let apart = clocks_apart(ahead_ms);
        return Err(io::Error::other(format!(
            "its clock is {apart} this one's: correct the one that is wrong"
        )));
    }
    request.clear();
    encode_control(&Control::Ask(Box::new(Command::Enter(entrance.clone()))), &mut request);
    stream.write_all(&request)?;
    match hear(&mut stream)? {
        Control::Told(told) => Ok(*told),
        _ => Err(io::Error::other("it answered something else")),
    }
}

/// One message.
fn hear(stream: &mut TcpStream) -> io::Result<Control> {
    let limits = Limits { frame_bytes_max: CONTROL_BYTES_MAX, ..Limits::default() };
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        if let Split::Frame(frame) = split_frame(&answer, &limits).map_err(io::Error::other)? {
            return decode_control(frame).map_err(io::Error::other);
        }
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&part[..count]),
        }
    }
}
