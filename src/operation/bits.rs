//! A value as a string of bits, the first bit of a byte being its highest.
//!
//! Invariant: bits beyond the end of a value count as 0, and reading never lengthens one.

use crate::operation::{Current, Effect, NewValue, Rejection};

/// What a range of a value is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Bytes.
    Byte,
    /// Bits.
    Bit,
}

/// The bit at `offset`.
#[must_use]
pub fn bit(value: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|index| value.get(index));
    byte.is_some_and(|byte| byte & mask(offset) != 0)
}

/// Sets the bit at `offset`, lengthening the value by zeros if need be; returns what it was. The expiry stays.
///
/// `scratch` holds the new value.
///
/// # Errors
/// [`Rejection::ValueTooLarge`] beyond `value_bytes_max`.
pub fn set_bit<'v>(
    current: Option<Current<'_>>,
    offset: u64,
    on: bool,
    value_bytes_max: usize,
    scratch: &'v mut Vec<u8>,
) -> Result<(Effect<'v>, bool), Rejection> {
    let index = usize::try_from(offset / 8).map_err(|_| Rejection::ValueTooLarge)?;
    if index >= value_bytes_max {
        return Err(Rejection::ValueTooLarge);
    }
    let before = current.map_or(&[][..], |current| current.value);
    let was = bit(before, offset);
    scratch.clear();
    scratch.extend_from_slice(before);
    if scratch.len() <= index {
        scratch.resize(index + 1, 0);
    }
    if on {
        scratch[index] |= mask(offset);
    } else {
        scratch[index] &= !mask(offset);
    }
    let expires_at = current.and_then(|current| current.expires_at);
    Ok((Effect::Store { value: NewValue::Bytes(scratch), expires_at }, was))
}

/// How many bits are set from `start` to `end`, both inclusive and counted from the end if negative; none if both are
/// and stand the wrong way round, even where the value's beginning would cut them to a range.
#[must_use]
pub fn count(value: &[u8], start: i64, end: i64, unit: Unit) -> u64 {
    if start < 0 && end < 0 && start > end {
        return 0;
    }
    let Some((first, last)) = bit_range(value, start, end, unit) else { return 0 };
    let (head, tail) = ((first / 8) as usize, (last / 8) as usize);
    let whole: u64 = value[head..=tail].iter().map(|byte| u64::from(byte.count_ones())).sum();
    let before = value[head] & !(0xFF >> (first % 8));
    let behind = value[tail] & (0x7F_u8 >> (last % 8));
    whole - u64::from(before.count_ones()) - u64::from(behind.count_ones())
}

/// The first bit that is `on` from `start` to `end`, both inclusive and counted from the end if negative.
#[must_use]
pub fn position(value: &[u8], on: bool, start: i64, end: i64, unit: Unit) -> Option<u64> {
    let (first, last) = bit_range(value, start, end, unit)?;
    let uninteresting = if on { 0x00 } else { 0xFF };
    let mut at = first;
    while at <= last {
        if at % 8 == 0 && value[(at / 8) as usize] == uninteresting {
            at += 8;
        } else if bit(value, at) == on {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

/// How values are combined, bit by bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Combination {
    /// Set where all are.
    And,
    /// Set where one is.
    Or,
    /// Set where an odd number is.
    ExclusiveOr,
}

/// Combines `combined`, nothing before the first, with one value more; the shorter of the two counts as followed by
/// zeros.
pub fn combine(combination: Combination, combined: &mut Option<Vec<u8>>, value: &[u8]) {
    let Some(combined) = combined else {
        *combined = Some(value.to_vec());
        return;
    };
    if combined.len() < value.len() {
        combined.resize(value.len(), 0);
    }
    let pairs = combined.iter_mut().zip(value);
    match combination {
        Combination::And => {
            pairs.for_each(|(byte, other)| *byte &= other);
            combined[value.len()..].fill(0);
        }
        Combination::Or => pairs.for_each(|(byte, other)| *byte |= other),
        Combination::ExclusiveOr => pairs.for_each(|(byte, other)| *byte ^= other),
    }
}

/// The first and the last bit of a range; `None` if it is empty.
fn bit_range(value: &[u8], start: i64, end: i64, unit: Unit) -> Option<(u64, u64)> {
    let per_unit = if unit == Unit::Bit { 1 } else { 8 };
    let total = i64::try_from(value.len()).ok()?.checked_mul(8 / per_unit)?;
    let from_end = |index: i64| if index < 0 { index.saturating_add(total).max(0) } else { index };
    let (first, last) = (from_end(start), from_end(end).min(total - 1));
    let in_bits = |index: i64| u64::try_from(index).ok().map(|index| index * per_unit as u64);
    if first > last { None } else { Some((in_bits(first)?, in_bits(last)? + per_unit as u64 - 1)) }
}

fn mask(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits of a range, one by one.
    fn listed(value: &[u8], start: i64, end: i64, unit: Unit) -> Vec<(u64, bool)> {
        let total = value.len() as i64 * if unit == Unit::Bit { 8 } else { 1 };
        let index = |index: i64| if index < 0 { (index + total).max(0) } else { index };
        let units = index(start)..=index(end).min(total - 1);
        let width = if unit == Unit::Bit { 1 } else { 8 };
        let bits = units.flat_map(|unit| unit * width..(unit + 1) * width);
        bits.map(|at| (at as u64, bit(value, at as u64))).collect()
    }

    #[test]
    fn counts_and_positions_are_those_of_the_listed_bits() {
        for value in [&b""[..], b"\x00", b"\xff\xf0\x00", b"\x01\x80\x7f"] {
            for (start, end) in (-30..30).flat_map(|start| (-30..30).map(move |end| (start, end))) {
                for unit in [Unit::Byte, Unit::Bit] {
                    let bits = listed(value, start, end, unit);
                    let reversed = start < 0 && end < 0 && start > end;
                    let set = bits.iter().filter(|(_, on)| *on).count() as u64;
                    let set = if reversed { 0 } else { set };
                    assert_eq!(count(value, start, end, unit), set, "{value:?} {start} {end} {unit:?}");
                    for on in [false, true] {
                        let first = bits.iter().find(|(_, bit)| *bit == on).map(|(at, _)| *at);
                        assert_eq!(
                            position(value, on, start, end, unit),
                            first,
                            "{value:?} {start} {end} {unit:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_combined_counts_as_followed_by_zeros() {
        let combined = |combination, values: &[&[u8]]| {
            let mut combined = None;
            for value in values {
                combine(combination, &mut combined, value);
            }
            combined
        };
        let values: [&[u8]; 3] = [b"\xF0\x0F", b"\xFF\xFF\xFF", b"\x3C"];
        for turned in 0..3 {
            let values = [values[turned], values[(turned + 1) % 3], values[(turned + 2) % 3]];
            assert_eq!(combined(Combination::And, &values), Some(b"\x30\x00\x00".to_vec()));
            assert_eq!(combined(Combination::Or, &values), Some(b"\xFF\xFF\xFF".to_vec()));
            assert_eq!(combined(Combination::ExclusiveOr, &values), Some(b"\x33\xF0\xFF".to_vec()));
        }
        assert_eq!(combined(Combination::And, &[b"", b"\xFF"]), Some(b"\x00".to_vec()));
        assert_eq!(combined(Combination::Or, &[]), None);
    }

    #[test]
    fn a_bit_beyond_the_limit_is_refused_before_anything_is_allocated() {
        let mut scratch = Vec::new();
        assert_eq!(set_bit(None, u64::MAX, true, 1 << 20, &mut scratch), Err(Rejection::ValueTooLarge));
        assert_eq!(set_bit(None, 8, true, 1, &mut scratch), Err(Rejection::ValueTooLarge));
        assert_eq!(scratch.capacity(), 0);
        let (effect, was) = set_bit(None, 7, true, 1, &mut scratch).unwrap();
        assert_eq!(
            (effect, was),
            (Effect::Store { value: NewValue::Bytes(b"\x01"), expires_at: None }, false)
        );
    }
}
