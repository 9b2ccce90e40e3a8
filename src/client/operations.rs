//! What a client can ask for, whoever carries it to a node.
//!
//! Invariant: all of it goes through [`Operations::call`], and says no more than that does.

use super::{Conditional, Entry, Error, Scan, wrong_kind};
use crate::message::description::Cluster;
use crate::message::{Condition, ExpiryChange, Refusal, Reply, Request, Stats};
use crate::protocol::{Fault, Field, ProtocolError};
use crate::types::Version;

/// The requests of the native protocol, typed.
pub trait Operations {
    /// Sends any request; returns its reply.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn call(&mut self, request: Request<'_>) -> Result<Reply<'_>, Error>;

    /// Asks for nothing but an answer.
    ///
    /// # Errors
    ///
    /// See [`Error`]; so for every request below.
    fn ping(&mut self) -> Result<(), Error> {
        match self.call(Request::Ping)? {
            Reply::Pong => Ok(()),
            _ => Err(wrong_kind()),
        }
    }

    /// What `key` holds, if it is there.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn get(&mut self, key: &[u8]) -> Result<Option<Entry>, Error> {
        read(self, Request::Get { key })
    }

    /// A part of what `key` holds, from `start` to `end`, both included, and counted from the end if negative.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn get_range(&mut self, key: &[u8], start: i64, end: i64) -> Result<Option<Entry>, Error> {
        read(self, Request::GetRange { key, start, end })
    }

    /// Stores `value` under `key`, which then does not expire.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Version, Error> {
        write(self, Request::Put { key, value, condition: Condition::Always, expiry: ExpiryChange::Clear })?
            .ok_or_else(wrong_kind)
    }

    /// Stores `value` under `key` if `condition` holds, and changes the expiry.
    ///
    /// # Errors
    ///
    /// See [`Error`]. A condition that does not hold is none.
    fn put_with(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: Condition,
        expiry: ExpiryChange,
    ) -> Result<Conditional, Error> {
        match write(self, Request::Put { key, value, condition, expiry }) {
            Ok(version) => version.map(Conditional::Written).ok_or_else(wrong_kind),
            Err(Error::Refused { reason: Refusal::ConditionFailed { current }, .. }) => {
                Ok(Conditional::NotWritten { current })
            }
            Err(error) => Err(error),
        }
    }

    /// Stores `value` under `key` if the key is not there.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn put_if_absent(&mut self, key: &[u8], value: &[u8]) -> Result<Conditional, Error> {
        self.put_with(key, value, Condition::Absent, ExpiryChange::Clear)
    }

    /// Stores `value` under `key` if it holds exactly the version `expected`. The expiry stays.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn compare_and_set(&mut self, key: &[u8], expected: Version, value: &[u8]) -> Result<Conditional, Error> {
        self.put_with(key, value, Condition::VersionIs(expected), ExpiryChange::Keep)
    }

    /// Removes `key`; returns whether it was there.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn remove(&mut self, key: &[u8]) -> Result<bool, Error> {
        match self.call(Request::Remove { key, condition: Condition::Always })? {
            Reply::Removed { existed } => Ok(existed),
            _ => Err(wrong_kind()),
        }
    }

    /// Adds `delta` to the number that `key` holds; returns the sum. An absent key counts as 0.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, Error> {
        match self.call(Request::Increment { key, delta })? {
            Reply::Integer { value, .. } => Ok(value),
            _ => Err(wrong_kind()),
        }
    }

    /// Appends `value` to what `key` holds; returns its length now. An absent key counts as empty.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn append(&mut self, key: &[u8], value: &[u8]) -> Result<u64, Error> {
        match self.call(Request::Append { key, value })? {
            Reply::Length { bytes, .. } => Ok(bytes),
            _ => Err(wrong_kind()),
        }
    }

    /// Changes when `key` expires; returns the version written, or `None` if the key is not there.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn expire(&mut self, key: &[u8], expiry: ExpiryChange) -> Result<Option<Version>, Error> {
        write(self, Request::Expire { key, expiry })
    }

    /// All keys, a page at a time. Keys that come or go meanwhile may or may not be among them.
    fn scan(&mut self) -> Scan<'_, Self>
    where
        Self: Sized,
    {
        Scan::new(self)
    }

    /// What the node has counted and timed since it started.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn stats(&mut self) -> Result<Stats<'_>, Error> {
        match self.call(Request::Stats)? {
            Reply::Stats(stats) => Ok(stats),
            _ => Err(wrong_kind()),
        }
    }

    /// The cluster, as the node knows it; `None` if the node is alone.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    fn cluster(&mut self) -> Result<Option<Cluster>, Error> {
        match self.call(Request::Cluster) {
            Ok(Reply::Cluster { json }) => {
                let malformed = ProtocolError {
                    field: Field::Description,
                    fault: Fault::Undefined,
                    id: None,
                    ends_connection: true,
                };
                serde_json::from_str(json).map(Some).map_err(|_| Error::Protocol(malformed))
            }
            Ok(_) => Err(wrong_kind()),
            Err(Error::Refused { reason: Refusal::Alone, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn read<C: Operations + ?Sized>(client: &mut C, request: Request<'_>) -> Result<Option<Entry>, Error> {
    match client.call(request)? {
        Reply::Absent => Ok(None),
        Reply::Value { version, expires_at, value } => {
            Ok(Some(Entry { version, expires_at, value: value.to_vec() }))
        }
        _ => Err(wrong_kind()),
    }
}

fn write<C: Operations + ?Sized>(client: &mut C, request: Request<'_>) -> Result<Option<Version>, Error> {
    match client.call(request)? {
        Reply::Absent => Ok(None),
        Reply::Written { version } => Ok(Some(version)),
        _ => Err(wrong_kind()),
    }
}
