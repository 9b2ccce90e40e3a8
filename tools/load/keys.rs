//! The text of keys.
//!
//! Invariant: each index below the key space has one key, always of the same width, and no two share one. Writing a
//! key allocates nothing. Which index comes next is not decided here.

use thiserror::Error;

/// What keys start with where the width leaves room for it.
const PREFIX: [u8; 4] = *b"key:";
/// What counters start with: a value that was set is no number.
const COUNTER_PREFIX: [u8; 4] = *b"cnt:";

/// The keys do not fit the width.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{keys} keys need {digits} digits, and a key of {key_bytes} bytes has no room for them")]
pub(crate) struct TooNarrow {
    keys: u64,
    digits: usize,
    key_bytes: usize,
}

/// A key's text, rewritten in place for each index: a prefix, zeros, the index in decimal.
#[derive(Clone)]
pub(crate) struct KeyText {
    text: Vec<u8>,
    /// Where the digits that can differ from 0 start.
    digits_at: usize,
}

impl KeyText {
    /// Keys of `key_bytes` bytes for indexes below `keys`.
    pub(crate) fn new(key_bytes: usize, keys: u64) -> Result<Self, TooNarrow> {
        let digits = keys.saturating_sub(1).max(1).ilog10() as usize + 1;
        let Some(digits_at) = key_bytes.checked_sub(digits) else {
            return Err(TooNarrow { keys, digits, key_bytes });
        };
        let mut text = vec![b'0'; key_bytes];
        if digits_at >= PREFIX.len() {
            text[..PREFIX.len()].copy_from_slice(&PREFIX);
        }
        Ok(Self { text, digits_at })
    }

    /// Counters for the same indexes: other keys of the same width; `None` if there is no room to tell them apart.
    pub(crate) fn counters(&self) -> Option<Self> {
        let mut counters = self.clone();
        let prefix = counters.text.first_chunk_mut::<4>().filter(|prefix| **prefix == PREFIX)?;
        *prefix = COUNTER_PREFIX;
        Some(counters)
    }

    /// The key of `index`.
    #[inline]
    pub(crate) fn of(&mut self, mut index: u64) -> &[u8] {
        for byte in self.text[self.digits_at..].iter_mut().rev() {
            *byte = b'0' + (index % 10) as u8;
            index /= 10;
        }
        debug_assert!(index == 0, "the index is beyond the key space");
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_width() {
        let mut keys = KeyText::new(15, 1_000_000).unwrap();
        assert_eq!(keys.of(0), b"key:00000000000");
        assert_eq!(keys.of(999_999), b"key:00000999999");
        assert_eq!(keys.of(7), b"key:00000000007");
    }

    #[test]
    fn narrow_keys_go_without_the_prefix() {
        assert_eq!(KeyText::new(6, 1_000_000).unwrap().of(42), b"000042");
        assert_eq!(KeyText::new(1, 1).unwrap().of(0), b"0");
    }

    #[test]
    fn counters_are_other_keys() {
        assert_eq!(KeyText::new(8, 10_000).unwrap().counters().unwrap().of(42), b"cnt:0042");
        assert!(KeyText::new(7, 10_000).unwrap().counters().is_none());
    }

    #[test]
    fn too_many_keys_for_the_width_are_refused() {
        assert!(KeyText::new(6, 1_000_001).is_err());
        assert!(KeyText::new(6, 1_000_000).is_ok());
    }
}
