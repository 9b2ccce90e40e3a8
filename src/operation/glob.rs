//! Patterns of keys: `*`, `?`, `[a-z]`, `[^a]`, and `\` before what is meant literally.
//!
//! Invariant: the time is bounded by pattern length times text length, whatever the pattern: on a mismatch only the
//! last `*` is tried again.

/// Whether the whole of `text` matches `pattern`.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where to go on after the last star, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, from));
            at += 1;
            continue;
        }
        let step = text.get(from).and_then(|&byte| match_one(&pattern[at..], byte));
        match (step, star) {
            (Some(length), _) => (at, from) = (at + length, from + 1),
            (None, _) if at == pattern.len() && from == text.len() => return true,
            (None, Some((after, taken))) if taken < text.len() => {
                star = Some((after, taken + 1));
                (at, from) = (after, taken + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Matches one byte against the element at the pattern's beginning; returns the element's length.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', class @ ..] => match_class(class, byte).map(|length| length + 1),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Matches a class whose bracket was opened; an unclosed one ends with the pattern.
fn match_class(class: &[u8], byte: u8) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        let (low, high, length) = match &class[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => (*literal, *literal, 2),
            [one, b'-', other, ..] => {
                let (low, high) = if signed(*one) <= signed(*other) { (one, other) } else { (other, one) };
                (*low, *high, 3)
            }
            [literal, ..] => (*literal, *literal, 1),
        };
        found |= (signed(low)..=signed(high)).contains(&signed(byte));
        at += length;
    }
    (found != negated).then_some(at)
}

/// A byte as redis-server on x86-64 compares it in a range: there, bytes beyond ASCII come before it.
const fn signed(byte: u8) -> i8 {
    byte.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn ranges_are_of_signed_bytes() {
        assert!(matches(b"[\x84-~]", b"a") && matches(b"[~-\x84", b"a"));
        assert!(!matches(b"[\x84-~]", b"\x7f") && matches(b"[\x80-\xff]", b"\xc3"));
    }

    #[test]
    fn patterns_match_as_people_expect() {
        let good = [
            ("*", ""),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("a*b*c", "aXbYbZc"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("\\*", "*"),
            ("", ""),
            ("a\\?", "a?"),
            ("**", "x"),
        ];
        for (pattern, text) in good {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        let bad = [
            ("h?llo", "hllo"),
            ("h[^e]llo", "hello"),
            ("a*b", "ac"),
            ("", "a"),
            ("a", ""),
            ("[a", "b"),
            ("?", ""),
        ];
        for (pattern, text) in bad {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = b"a*".repeat(200);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &[b'a'; 5000]));
    }
}
