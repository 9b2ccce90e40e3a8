//! What tests of pinned bytes share.

use annulus::protocol::Limits;
use annulus::protocol::frame::{Frame, Split, split_frame};

/// Bytes as people read them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

/// The frame that `bytes` are, and nothing else.
pub(crate) fn only_frame(bytes: &[u8]) -> Frame<'_> {
    let Ok(Split::Frame(frame)) = split_frame(bytes, &Limits::default()) else { panic!("not a frame") };
    assert_eq!(frame.bytes_total(), bytes.len());
    frame
}
