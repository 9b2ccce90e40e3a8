//! One socket to a node: the greeting, and bytes out against frames in.
//!
//! Invariant: received bytes are kept as they arrive, never for a length that was merely declared; an answer is
//! matched by its id and decoded once before anyone is given it. After any error the connection is of no use.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::thread;

use super::{Error, Options};
use crate::message::{Refusal, RequestId};
use crate::protocol::Limits;
use crate::protocol::client::decode_response;
use crate::protocol::frame::{Split, split_frame};
use crate::protocol::preamble::{Greeting, PREAMBLE_BYTES, Preamble, decode_greeting, encode_preamble};

/// Bytes of requests that surely fit the socket's buffer, so that sending them cannot wait for answers to be
/// read.
const SENT_AT_ONCE_BYTES_MAX: usize = 16 << 10;

/// Bytes taken from the socket at a time.
const CHUNK_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    limits: Limits,
    chunk: Box<[u8]>,
}

/// Where answers stand among the received bytes: request `first_id + i` at `places[i]`.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) first_id: u32,
    pub(super) places: Vec<Option<Range<usize>>>,
}

impl Places {
    pub(super) fn awaiting(first_id: RequestId, count: u32) -> Self {
        Self { first_id: first_id.0, places: vec![None; count as usize] }
    }

    fn take(&mut self, id: RequestId, place: Range<usize>) -> Result<(), Error> {
        let index = id.0.wrapping_sub(self.first_id) as usize;
        match self.places.get_mut(index) {
            Some(empty @ None) => {
                *empty = Some(place);
                Ok(())
            }
            _ => Err(Error::UnexpectedAnswer),
        }
    }
}

impl Connection {
    pub(super) fn open(addresses: &[SocketAddr], options: &Options) -> Result<Self, Error> {
        let stream = connect(addresses, options).map_err(|source| Error::Connect { source })?;
        let greeting =
            greet(&stream, options).map_err(|source| Error::Connect { source }).map(decode_greeting)??;
        match greeting {
            Greeting::Welcome { .. } => {}
            Greeting::VersionUnsupported { spoken } => return Err(Error::VersionUnsupported { spoken }),
            Greeting::Overloaded => {
                let message = "too many connections".to_owned();
                return Err(Error::Refused { reason: Refusal::Overloaded, message });
            }
        }
        Ok(Self { stream, limits: options.limits, chunk: vec![0; CHUNK_BYTES].into() })
    }

    /// Whether there is anything to be read, or the end, while nothing was asked.
    pub(super) fn is_stale(&self) -> bool {
        let peeked = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
        let idle = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).is_err() || !idle
    }

    /// Sends one frame, then receives its answer.
    pub(super) fn exchange(
        &mut self,
        sent: &[u8],
        received: &mut Vec<u8>,
        answers: &mut Places,
    ) -> Result<(), Error> {
        let written = (&self.stream).write_all(sent).map_err(Error::of_socket);
        // A node may refuse a frame before it has read all of it.
        let read = self.receive(received, answers);
        if read.is_ok() { Ok(()) } else { written.and(read) }
    }

    /// Sends any number of frames while receiving their answers.
    pub(super) fn exchange_many(
        &mut self,
        sent: &[u8],
        received: &mut Vec<u8>,
        answers: &mut Places,
    ) -> Result<(), Error> {
        if sent.len() <= SENT_AT_ONCE_BYTES_MAX {
            return self.exchange(sent, received, answers);
        }
        let sender = self.stream.try_clone().map_err(|source| Error::Thread { source })?;
        thread::scope(|scope| {
            let writer = thread::Builder::new()
                .name("annulus-client-send".to_owned())
                .spawn_scoped(scope, move || send(&sender, sent))
                .map_err(|source| Error::Thread { source })?;
            let read = self.receive(received, answers);
            if read.is_err() {
                // Wakes the writer; that it is gone already is as good.
                let _ = self.stream.shutdown(Shutdown::Both);
            }
            let written = writer.join().expect("sending does not panic");
            match (read, written) {
                (Err(Error::Disconnected { .. }), Err(Error::TimedOut)) => Err(Error::TimedOut),
                (read, _) => read,
            }
        })
    }

    fn receive(&mut self, received: &mut Vec<u8>, answers: &mut Places) -> Result<(), Error> {
        let mut at = 0;
        let mut missing = answers.places.len();
        while missing > 0 {
            match split_frame(&received[at..], &self.limits)? {
                Split::Frame(frame) => {
                    let (id, _) = decode_response(frame)?;
                    answers.take(id, at..at + frame.bytes_total())?;
                    at += frame.bytes_total();
                    missing -= 1;
                }
                Split::Incomplete { .. } => self.fill(received).map_err(Error::of_socket)?,
            }
        }
        if at == received.len() { Ok(()) } else { Err(Error::UnexpectedAnswer) }
    }

    fn fill(&mut self, received: &mut Vec<u8>) -> io::Result<()> {
        loop {
            match self.stream.read(&mut self.chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => {
                    received.extend_from_slice(&self.chunk[..bytes]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn connect(addresses: &[SocketAddr], options: &Options) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(address, options.connect_timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(options.read_timeout)?;
                stream.set_write_timeout(options.write_timeout)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn greet(mut stream: &TcpStream, options: &Options) -> io::Result<[u8; PREAMBLE_BYTES]> {
    stream.write_all(&encode_preamble(Preamble { level: options.level }))?;
    let mut greeting = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut greeting)?;
    Ok(greeting)
}

fn send(mut stream: &TcpStream, sent: &[u8]) -> Result<(), Error> {
    let written = stream.write_all(sent).map_err(Error::of_socket);
    if written.is_err() {
        // Wakes the reader; that it is gone already is as good.
        let _ = stream.shutdown(Shutdown::Both);
    }
    written
}

/// Finds the answers in a batch's frames, which are the end of `received` from `at` on.
pub(super) fn place_items(
    received: &[u8],
    mut at: usize,
    limits: &Limits,
    answers: &mut Places,
) -> Result<(), Error> {
    while let Split::Frame(frame) = split_frame(&received[at..], limits)? {
        let (id, _) = decode_response(frame)?;
        answers.take(id, at..at + frame.bytes_total())?;
        at += frame.bytes_total();
    }
    Ok(())
}
