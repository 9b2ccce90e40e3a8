//! The frames between clients and nodes: requests, responses, and the lists that stand in both.
//!
//! Invariant: what is encoded here decodes to the same message, and what decodes is laid out in one way only:
//! reserved bits are zero, nothing is missing and nothing is left over. Encoding appends to a vector; decoding
//! borrows. Pairing responses with requests is not done here.

mod list;
mod request;
mod response;

pub use list::{BatchWriter, Items, KeyList, PageWriter, RequestBatchWriter, Requests};
pub use request::{decode_request, encode_request};
pub use response::{
    VALUE_HEAD_BYTES_MAX, decode_response, encode_absent, encode_protocol_error, encode_refused,
    encode_response, encode_value, encode_value_head, encode_written,
};

/// What is asked, by number.
mod opcode {
    pub(super) const PING: u8 = 1;
    pub(super) const AUTHENTICATE: u8 = 2;
    pub(super) const STATS: u8 = 3;
    pub(super) const SCAN: u8 = 4;
    pub(super) const BATCH: u8 = 5;
    pub(super) const CLUSTER: u8 = 6;
    pub(super) const GET: u8 = 16;
    pub(super) const GET_RANGE: u8 = 17;
    pub(super) const PUT: u8 = 32;
    pub(super) const REMOVE: u8 = 33;
    pub(super) const INCREMENT: u8 = 34;
    pub(super) const APPEND: u8 = 35;
    pub(super) const EXPIRE: u8 = 36;
}

/// Optional fields of a request, by bit, in the order in which they stand.
mod request_flag {
    pub(super) const IF_ABSENT: u16 = 1 << 0;
    pub(super) const IF_PRESENT: u16 = 1 << 1;
    pub(super) const IF_VERSION: u16 = 1 << 2;
    pub(super) const KEEP_EXPIRY: u16 = 1 << 3;
    pub(super) const EXPIRES_AT: u16 = 1 << 4;
    pub(super) const EXPIRES_AFTER: u16 = 1 << 5;

    pub(super) const CONDITION: u16 = IF_ABSENT | IF_PRESENT | IF_VERSION;
    pub(super) const EXPIRY: u16 = KEEP_EXPIRY | EXPIRES_AT | EXPIRES_AFTER;
    pub(super) const DEFINED: u16 = CONDITION | EXPIRY;
}

/// Done, refused or unknown, by number.
mod outcome {
    pub(super) const DONE: u8 = 0;
    pub(super) const REFUSED: u8 = 1;
    pub(super) const UNKNOWN: u8 = 2;
}

/// What a reply is, by number.
mod reply_kind {
    pub(super) const PONG: u8 = 1;
    pub(super) const AUTHENTICATED: u8 = 2;
    pub(super) const STATS: u8 = 3;
    pub(super) const PAGE: u8 = 4;
    pub(super) const BATCH: u8 = 5;
    pub(super) const CLUSTER: u8 = 6;
    pub(super) const ABSENT: u8 = 16;
    pub(super) const VALUE: u8 = 17;
    pub(super) const WRITTEN: u8 = 32;
    pub(super) const REMOVED: u8 = 33;
    pub(super) const INTEGER: u8 = 34;
    pub(super) const LENGTH: u8 = 35;
}

/// Optional fields of a response, by bit, in the order in which they stand.
mod response_flag {
    pub(super) const VERSION: u16 = 1 << 0;
    pub(super) const EXPIRES_AT: u16 = 1 << 1;

    pub(super) const DEFINED: u16 = VERSION | EXPIRES_AT;
}

/// Whether a frame stands alone or in a batch, which holds neither batches nor what is the connection's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Alone,
    InBatch,
}
