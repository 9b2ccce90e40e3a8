//! Adding to a decimal number with a fraction, in the extended precision (64 bits of mantissa) that clients of string
//! stores have come to rely on: 0.1 and 0.2 make 0.3, not 0.30000000000000004.
//!
//! Invariant: no text makes it panic, and the result's length is bounded by the format's range (some 4,950 digits).
//! Reading and adding round to nearest, ties to even; writing keeps 17 places behind the point at most.

use rustc_apfloat::ieee::X87DoubleExtended;
use rustc_apfloat::{Float, Status};

use crate::operation::{Current, Effect, NewValue};

/// Longest text that is looked at, as in redis-server: what a number of the format can take, and some more.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Places behind the point that are written.
const PLACES: u32 = 17;

/// Why nothing was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FloatRejection {
    /// One of the two is not a decimal number.
    NotAFloat,
    /// The sum is infinite, or no number.
    NotFinite,
    /// The sum's text would be longer than the limit.
    ValueTooLarge,
}

/// Adds the decimal number `delta` to the one at the key; an absent key counts as 0. The expiry stays.
///
/// `text` holds the sum.
///
/// # Errors
/// [`FloatRejection::NotAFloat`], [`FloatRejection::NotFinite`], [`FloatRejection::ValueTooLarge`] beyond
/// `value_bytes_max`.
pub fn increment_float<'v>(
    current: Option<Current<'_>>,
    delta: &[u8],
    value_bytes_max: usize,
    text: &'v mut String,
) -> Result<Effect<'v>, FloatRejection> {
    let before = match current {
        None => X87DoubleExtended::ZERO,
        Some(current) => parse(current.value).ok_or(FloatRejection::NotAFloat)?,
    };
    let delta = parse(delta).ok_or(FloatRejection::NotAFloat)?;
    let sum = (before + delta).value;
    if !sum.is_finite() {
        return Err(FloatRejection::NotFinite);
    }
    text.clear();
    write(sum, text);
    if text.len() > value_bytes_max {
        return Err(FloatRejection::ValueTooLarge);
    }
    let expires_at = current.and_then(|current| current.expires_at);
    Ok(Effect::Store { value: NewValue::Bytes(text.as_bytes()), expires_at })
}

/// Reads a number as C's `strtold` does: an optional sign, then decimal or hexadecimal digits with a point and an
/// exponent, or an infinity. Not a number is no number here, and neither is one too large.
fn parse(text: &[u8]) -> Option<X87DoubleExtended> {
    if text.is_empty() || text.len() > TEXT_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    let (negative, magnitude) = match text {
        [b'-', magnitude @ ..] => (true, magnitude),
        [b'+', magnitude @ ..] => (false, magnitude),
        magnitude => (false, magnitude),
    };
    let value = match magnitude {
        _ if magnitude.eq_ignore_ascii_case(b"inf") || magnitude.eq_ignore_ascii_case(b"infinity") => {
            X87DoubleExtended::INFINITY
        }
        [b'0', b'x' | b'X', digits @ ..] => parse_digits(digits, true)?,
        digits => parse_digits(digits, false)?,
    };
    Some(if negative { -value } else { value })
}

/// Reads digits, a point, digits, an exponent; what the library would read more liberally is refused here.
fn parse_digits(text: &[u8], hexadecimal: bool) -> Option<X87DoubleExtended> {
    let marker = if hexadecimal { b'p' } else { b'e' };
    let is_digit = |byte: &u8| if hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let exponent_at = text.iter().position(|byte| byte.to_ascii_lowercase() == marker).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(exponent_at);
    let digits = mantissa.iter().filter(|byte| is_digit(byte)).count();
    let points = mantissa.iter().filter(|&&byte| byte == b'.').count();
    if digits == 0 || points > 1 || digits + points != mantissa.len() {
        return None;
    }
    let exponent = match exponent {
        [] => 0,
        [_, sign @ (b'+' | b'-'), digits @ ..] => {
            parse_exponent(digits)? * if *sign == b'-' { -1 } else { 1 }
        }
        [_, digits @ ..] => parse_exponent(digits)?,
    };
    let mantissa = std::str::from_utf8(mantissa).ok()?;
    let canonical =
        if hexadecimal { format!("0x{mantissa}p{exponent}") } else { format!("{mantissa}e{exponent}") };
    let read = X87DoubleExtended::from_str_r(&canonical, rustc_apfloat::Round::NearestTiesToEven).ok()?;
    // Out of range at either end, as C reports it.
    let lost = read.status.intersects(Status::OVERFLOW) || read.status.intersects(Status::UNDERFLOW);
    if lost { None } else { Some(read.value) }
}

/// An exponent; one far beyond the format's range stands for all that are.
fn parse_exponent(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number: i32, digit| (number * 10 + i32::from(digit - b'0')).min(100_000)))
}

/// Writes a finite number without an exponent, rounded to [`PLACES`] places, without zeros at the end.
fn write(number: X87DoubleExtended, text: &mut String) {
    let bits = number.to_bits();
    let mantissa = bits as u64;
    let exponent = (bits >> 64) as i32 & 0x7FFF;
    // The value is the mantissa, a whole number, times 2 to this power; a denormal has the least exponent.
    let power = exponent.max(1) - 16383 - 63;
    let (whole, places) =
        if power >= 0 { (shifted(mantissa, power as u32), 0) } else { split(mantissa, -power) };
    // Zero has no sign here, not even when a tiny number was rounded to it.
    if number.is_negative() && (places != 0 || whole != "0") {
        text.push('-');
    }
    text.push_str(&whole);
    if places != 0 {
        let fraction = format!(".{places:0width$}", width = PLACES as usize);
        text.push_str(fraction.trim_end_matches('0'));
    }
}

/// The whole part of `mantissa / 2^shift`, and the rest in units of the last place, rounded to nearest, ties to even.
fn split(mantissa: u64, shift: i32) -> (String, u64) {
    let unit = 10_u64.pow(PLACES);
    let (mut whole, fraction) = match shift {
        0..64 => (mantissa >> shift, mantissa & ((1 << shift) - 1)),
        _ => (0, mantissa),
    };
    // Less than 2^64 times 10^17, which is below 2^121.
    let scaled = u128::from(fraction) * u128::from(unit);
    let mut places = match shift {
        0 => 0,
        1..=127 => {
            let floor = (scaled >> shift) as u64;
            let rest = scaled & ((1 << shift) - 1);
            let half = 1_u128 << (shift - 1);
            floor + u64::from(rest > half || (rest == half && floor % 2 == 1))
        }
        _ => 0,
    };
    if places == unit {
        (whole, places) = (whole + 1, 0);
    }
    (whole.to_string(), places)
}

/// `mantissa * 2^shift` in decimal.
fn shifted(mantissa: u64, shift: u32) -> String {
    const BASE: u64 = 1_000_000_000;
    /// Shifting by so many bits at once keeps a product of a digit below 2^64.
    const STEP: u32 = 32;
    // Digits to the base of a thousand millions, the lowest first.
    let mut digits = vec![mantissa % BASE, mantissa / BASE % BASE, mantissa / BASE / BASE];
    let mut rest = shift;
    while rest > 0 {
        let step = rest.min(STEP);
        let mut carry = 0;
        for digit in &mut digits {
            let product = (*digit << step) + carry;
            (*digit, carry) = (product % BASE, product / BASE);
        }
        while carry > 0 {
            digits.push(carry % BASE);
            carry /= BASE;
        }
        rest -= step;
    }
    while digits.len() > 1 && digits.last() == Some(&0) {
        digits.pop();
    }
    let (highest, lower) = digits.split_last().expect("it began with three");
    lower.iter().rev().fold(highest.to_string(), |text, digit| format!("{text}{digit:09}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(before: &str, delta: &str) -> Result<String, FloatRejection> {
        let current = Current { version: Default::default(), expires_at: None, value: before.as_bytes() };
        let mut text = String::new();
        increment_float(Some(current), delta.as_bytes(), 4933, &mut text)?;
        Ok(text)
    }

    #[test]
    fn sums_are_those_of_extended_precision() {
        for (before, delta, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "-3", "0"),
            ("-0", "0", "0"),
            ("-1", "0.999999999999999999999", "0"),
            ("1.5", "-3", "-1.5"),
            ("0x10", ".5", "16.5"),
            ("0x1p-3", "+1.", "1.125"),
            ("1e-4000", "1", "1"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("18446744073709551616", "0", "18446744073709551616"),
            ("1e30", "0", "1000000000000000000024696061952"),
            ("0.99999999999999999999", "0", "1"),
        ] {
            assert_eq!(sum(before, delta).as_deref(), Ok(expected), "{before} + {delta}");
        }
    }

    #[test]
    fn the_largest_number_is_written_whole() {
        let text = sum("1e4932", "0").unwrap();
        assert_eq!(text.len(), 4933);
        assert!(text.starts_with("1000000000000000000006018949387963891323837"), "{text}");
    }

    #[test]
    fn what_is_no_number_or_has_no_finite_sum_is_refused() {
        for text in [
            "", " 1", "1 ", "1e", "e1", ".", "1.2.3", "0x", "nan", "abc", "1e5000", "1e-5000", "--1", "1e+-1",
        ] {
            assert_eq!(sum(text, "1"), Err(FloatRejection::NotAFloat), "{text:?}");
        }
        assert_eq!(sum("1", "inf"), Err(FloatRejection::NotFinite));
        assert_eq!(sum("inf", "-inf"), Err(FloatRejection::NotFinite));
        assert_eq!(sum("1.1e4932", "1.1e4932"), Err(FloatRejection::NotFinite));
        assert_eq!(sum("-1e4932", "0"), Err(FloatRejection::ValueTooLarge));
    }
}
