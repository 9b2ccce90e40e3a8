//! Read-modify-write as pure functions: what a key holds now goes in, what it is to hold comes out.
//!
//! Invariant: a function here sees one key and no clock but the `now` it is given, so that a store's shard, a
//! coordinator and a replay compute the same. It neither stores, nor issues versions, nor allocates: a new value
//! is described by parts that the store lays down in one cell.

pub mod bits;
mod float;
pub mod glob;

pub use float::{FloatRejection, increment_float};

use crate::message::{Condition, ExpiryChange};
use crate::types::{Version, WallTime};

/// What a key holds now. An expired key is not there.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// The version of the cell.
    pub version: Version,
    /// When it expires, if ever.
    pub expires_at: Option<WallTime>,
    /// Its value.
    pub value: &'a [u8],
}

/// A value to be stored, in parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewValue<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// What is there, then these bytes.
    Appended(&'a [u8]),
    /// What is there, unchanged.
    Unchanged,
    /// This number as decimal text.
    Integer(i64),
}

/// What becomes of the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect<'a> {
    /// Nothing changes, not even the version.
    Keep,
    /// The key goes.
    Remove,
    /// The key holds this, in a new version.
    Store {
        /// The value.
        value: NewValue<'a>,
        /// When it expires, if ever.
        expires_at: Option<WallTime>,
    },
}

/// Why an operation was not done. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// The condition did not hold.
    ConditionFailed,
    /// The value is not a 64-bit signed decimal number.
    NotAnInteger,
    /// The result does not fit 64 bits.
    Overflow,
    /// The value would be longer than the limit.
    ValueTooLarge,
}

/// Whether `condition` holds of what is there.
#[must_use]
pub fn holds(condition: Condition, current: Option<Current<'_>>) -> bool {
    match (condition, current) {
        (Condition::Always, _) | (Condition::Absent, None) | (Condition::Present, Some(_)) => true,
        (Condition::VersionIs(version), Some(current)) => current.version == version,
        (Condition::Absent, Some(_)) | (Condition::Present | Condition::VersionIs(_), None) => false,
    }
}

/// The expiry that `change` leaves. Saturates at the end of time.
#[must_use]
pub fn expiry(change: ExpiryChange, before: Option<WallTime>, now: WallTime) -> Option<WallTime> {
    match change {
        ExpiryChange::Clear => None,
        ExpiryChange::Keep => before,
        ExpiryChange::At(at) => Some(at),
        ExpiryChange::AfterMs(delay_ms) => Some(WallTime(now.0.saturating_add(delay_ms))),
    }
}

/// A key that would be expired at once goes instead of being stored.
fn store_unless_expired(value: NewValue<'_>, expires_at: Option<WallTime>, now: WallTime) -> Effect<'_> {
    match expires_at {
        Some(at) if at <= now => Effect::Remove,
        _ => Effect::Store { value, expires_at },
    }
}

/// Puts `value`, if `condition` holds.
///
/// # Errors
/// [`Rejection::ConditionFailed`].
pub fn put<'v>(
    current: Option<Current<'_>>,
    value: &'v [u8],
    condition: Condition,
    change: ExpiryChange,
    now: WallTime,
) -> Result<Effect<'v>, Rejection> {
    if !holds(condition, current) {
        return Err(Rejection::ConditionFailed);
    }
    let expires_at = expiry(change, current.and_then(|current| current.expires_at), now);
    Ok(store_unless_expired(NewValue::Bytes(value), expires_at, now))
}

/// Removes the key, if `condition` holds; a key that is not there stays so.
///
/// # Errors
/// [`Rejection::ConditionFailed`].
pub fn remove(current: Option<Current<'_>>, condition: Condition) -> Result<Effect<'static>, Rejection> {
    if !holds(condition, current) {
        return Err(Rejection::ConditionFailed);
    }
    Ok(if current.is_some() { Effect::Remove } else { Effect::Keep })
}

/// Adds `delta` to the number at the key; an absent key counts as 0. The expiry stays.
///
/// # Errors
/// [`Rejection::NotAnInteger`], [`Rejection::Overflow`].
pub fn increment(current: Option<Current<'_>>, delta: i64) -> Result<(Effect<'static>, i64), Rejection> {
    let before = match current {
        None => 0,
        Some(current) => parse_integer(current.value).ok_or(Rejection::NotAnInteger)?,
    };
    let after = before.checked_add(delta).ok_or(Rejection::Overflow)?;
    let expires_at = current.and_then(|current| current.expires_at);
    Ok((Effect::Store { value: NewValue::Integer(after), expires_at }, after))
}

/// Appends `suffix`; an absent key counts as empty. The expiry stays. Returns the new length in bytes.
///
/// # Errors
/// [`Rejection::ValueTooLarge`] beyond `value_bytes_max`.
pub fn append<'v>(
    current: Option<Current<'_>>,
    suffix: &'v [u8],
    value_bytes_max: usize,
) -> Result<(Effect<'v>, usize), Rejection> {
    let before = current.map_or(0, |current| current.value.len());
    let after = before.checked_add(suffix.len()).ok_or(Rejection::ValueTooLarge)?;
    if after > value_bytes_max {
        return Err(Rejection::ValueTooLarge);
    }
    let effect = match current {
        Some(_) if suffix.is_empty() => Effect::Keep,
        Some(current) => Effect::Store { value: NewValue::Appended(suffix), expires_at: current.expires_at },
        None => Effect::Store { value: NewValue::Bytes(suffix), expires_at: None },
    };
    Ok((effect, after))
}

/// Overwrites the value from `offset` on by `part`, behind zeros if it ends before that; an absent key counts as empty.
/// The expiry stays. Returns the new length in bytes. `scratch` holds the new value.
///
/// # Errors
/// [`Rejection::ValueTooLarge`] beyond `value_bytes_max`.
pub fn set_range<'v>(
    current: Option<Current<'_>>,
    offset: usize,
    part: &[u8],
    value_bytes_max: usize,
    scratch: &'v mut Vec<u8>,
) -> Result<(Effect<'v>, usize), Rejection> {
    let before = current.map_or(&[][..], |current| current.value);
    if part.is_empty() {
        return Ok((Effect::Keep, before.len()));
    }
    let end = offset.checked_add(part.len()).filter(|&end| end <= value_bytes_max);
    let end = end.ok_or(Rejection::ValueTooLarge)?;
    scratch.clear();
    scratch.extend_from_slice(before);
    scratch.resize(before.len().max(end), 0);
    scratch[offset..end].copy_from_slice(part);
    let length = scratch.len();
    let expires_at = current.and_then(|current| current.expires_at);
    Ok((Effect::Store { value: NewValue::Bytes(scratch), expires_at }, length))
}

/// Changes the expiry of a key that is there, and leaves its value.
#[must_use]
pub fn expire(current: Option<Current<'_>>, change: ExpiryChange, now: WallTime) -> Effect<'static> {
    let Some(current) = current else { return Effect::Keep };
    let expires_at = expiry(change, current.expires_at, now);
    if expires_at == current.expires_at {
        return Effect::Keep;
    }
    store_unless_expired(NewValue::Unchanged, expires_at, now)
}

/// The part of `value` from `start` to `end`, both inclusive and counted from the end if negative.
#[must_use]
pub fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let from_end = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index };
    let backwards = start < 0 && end < 0 && start > end;
    let (first, last) = (from_end(start), from_end(end).min(length - 1));
    if backwards || first > last {
        return &[];
    }
    // Both lie within 0..length, so they fit an index.
    &value[first as usize..=last as usize]
}

/// Reads a 64-bit signed decimal number in its one canonical form: no blanks, no `+`, no leading zeros.
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // At most 19 digits: below 10^19, which fits.
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(value: &[u8]) -> Option<Current<'_>> {
        Some(Current { version: Version::default(), expires_at: Some(WallTime(9)), value })
    }

    #[test]
    fn integers_have_one_form() {
        for number in [0, 1, -1, 42, i64::MAX, i64::MIN, -900] {
            assert_eq!(parse_integer(number.to_string().as_bytes()), Some(number));
        }
        for text in [
            "",
            "-",
            "-0",
            "00",
            "01",
            "+1",
            " 1",
            "1 ",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn increment_counts_from_zero_and_refuses_what_does_not_fit() {
        let store = |value| Effect::Store { value: NewValue::Integer(value), expires_at: None };
        assert_eq!(increment(None, -3), Ok((store(-3), -3)));
        assert_eq!(increment(current(b"9223372036854775807"), 1), Err(Rejection::Overflow));
        assert_eq!(increment(current(b"ten"), 1), Err(Rejection::NotAnInteger));
        let kept = Effect::Store { value: NewValue::Integer(8), expires_at: Some(WallTime(9)) };
        assert_eq!(increment(current(b"7"), 1), Ok((kept, 8)));
    }

    #[test]
    fn ranges_count_from_either_end() {
        let value = b"This is a string";
        assert_eq!(range(value, 0, 3), b"This");
        assert_eq!(range(value, -3, -1), b"ing");
        assert_eq!(range(value, 0, -1), value);
        assert_eq!(range(value, 10, 100), b"string");
        assert_eq!(range(value, 5, 3), b"");
        assert_eq!(range(value, -1, -3), b"");
        assert_eq!(range(value, i64::MIN, i64::MAX), value);
        assert_eq!(range(b"", 0, -1), b"");
        assert_eq!(range(b"", i64::MIN, i64::MIN), b"");
    }

    #[test]
    fn conditions_are_judged_by_what_is_there() {
        let other = Version { stamp: crate::types::Stamp(1), ..Version::default() };
        assert!(holds(Condition::VersionIs(Version::default()), current(b"")));
        assert!(!holds(Condition::VersionIs(other), current(b"")));
        assert!(!holds(Condition::VersionIs(other), None));
        assert!(holds(Condition::Absent, None) && !holds(Condition::Absent, current(b"")));
        assert!(holds(Condition::Present, current(b"")) && !holds(Condition::Present, None));
    }

    #[test]
    fn what_expires_at_once_is_removed() {
        let now = WallTime(100);
        assert_eq!(put(None, b"x", Condition::Always, ExpiryChange::At(now), now), Ok(Effect::Remove));
        assert_eq!(expire(current(b"x"), ExpiryChange::AfterMs(0), now), Effect::Remove);
        let later = Effect::Store { value: NewValue::Unchanged, expires_at: Some(WallTime(150)) };
        assert_eq!(expire(current(b"x"), ExpiryChange::AfterMs(50), now), later);
        assert_eq!(expire(None, ExpiryChange::Clear, now), Effect::Keep);
        assert_eq!(expire(current(b"x"), ExpiryChange::Keep, now), Effect::Keep);
    }

    #[test]
    fn append_is_bounded_and_keeps_the_expiry() {
        assert_eq!(append(current(b"ab"), b"c", 2), Err(Rejection::ValueTooLarge));
        let appended = Effect::Store { value: NewValue::Appended(b"c"), expires_at: Some(WallTime(9)) };
        assert_eq!(append(current(b"ab"), b"c", 3), Ok((appended, 3)));
        assert_eq!(append(current(b"ab"), b"", 3), Ok((Effect::Keep, 2)));
    }

    #[test]
    fn a_part_is_overwritten_behind_zeros_if_need_be() {
        let mut scratch = Vec::new();
        type Case = (&'static [u8], usize, &'static [u8], &'static [u8]);
        let cases: [Case; 5] = [
            (b"Hello World", 6, b"Redis", b"Hello Redis"),
            (b"abc", 0, b"x", b"xbc"),
            (b"abc", 2, b"xy", b"abxy"),
            (b"abc", 5, b"x", b"abc\0\0x"),
            (b"", 0, b"x", b"x"),
        ];
        for (before, offset, part, after) in cases {
            let stored = Effect::Store { value: NewValue::Bytes(after), expires_at: Some(WallTime(9)) };
            let done = set_range(current(before), offset, part, 11, &mut scratch);
            assert_eq!(done, Ok((stored, after.len())), "{part:?} at {offset} of {before:?}");
        }
        let created = Effect::Store { value: NewValue::Bytes(b"\0x"), expires_at: None };
        assert_eq!(set_range(None, 1, b"x", 2, &mut scratch), Ok((created, 2)));
        // Nothing to write makes no key and breaks no limit, wherever it would stand.
        assert_eq!(set_range(None, usize::MAX, b"", 2, &mut scratch), Ok((Effect::Keep, 0)));
        assert_eq!(set_range(current(b"abc"), 9, b"", 2, &mut scratch), Ok((Effect::Keep, 3)));
    }

    #[test]
    fn a_part_beyond_the_limit_is_refused_before_anything_is_allocated() {
        let mut scratch = Vec::new();
        for offset in [2, 1 << 40, usize::MAX] {
            assert_eq!(set_range(None, offset, b"x", 2, &mut scratch), Err(Rejection::ValueTooLarge));
        }
        assert_eq!(scratch.capacity(), 0);
    }
}
