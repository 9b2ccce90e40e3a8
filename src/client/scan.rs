//! All keys of a cluster, one by one.
//!
//! Invariant: every key that is there from the first page to the last is returned; one that comes, goes or is
//! moved meanwhile may be missing or returned twice. Nothing is asked for before it is needed.

use super::{Error, Operations, wrong_kind};
use crate::message::{Reply, Request};

/// Keys asked for at a time.
const PAGE_COUNT: u32 = 512;

/// An iterator over keys. An error ends it.
#[derive(Debug)]
pub struct Scan<'c, C> {
    client: &'c mut C,
    /// Where the next page begins; `None` after the last.
    cursor: Option<u64>,
    page: std::vec::IntoIter<Vec<u8>>,
}

impl<'c, C: Operations> Scan<'c, C> {
    pub(super) fn new(client: &'c mut C) -> Self {
        Self { client, cursor: Some(0), page: Vec::new().into_iter() }
    }

    fn turn_page(&mut self, cursor: u64) -> Result<(), Error> {
        match self.client.call(Request::Scan { cursor, count: PAGE_COUNT })? {
            Reply::Page { cursor, keys } => {
                self.cursor = Some(cursor).filter(|&cursor| cursor != 0);
                self.page = keys.list().map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter();
                Ok(())
            }
            _ => Err(wrong_kind()),
        }
    }
}

impl<C: Operations> Iterator for Scan<'_, C> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            let cursor = self.cursor.take()?;
            if let Err(error) = self.turn_page(cursor) {
                return Some(Err(error));
            }
        }
    }
}
