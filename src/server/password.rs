//! The one password of a node, and how a guess is compared with it.
//!
//! Invariant: how long comparing takes tells nothing of the password: both are laid out in blocks of one size, which
//! are compared to the end whatever is in them. It knows neither connections nor delays.

use subtle::ConstantTimeEq;

use crate::config::{PASSWORD_BYTES_MAX, Password};

/// Whether `guess` is the password. One that is longer than any password may be is none.
pub(super) fn is_right(password: &Password, guess: &[u8]) -> bool {
    let same_length = (password.bytes().len() as u64).ct_eq(&(guess.len() as u64));
    bool::from(block(password.bytes()).ct_eq(&block(guess)) & same_length)
}

/// The bytes at the front of a block of zeros; what does not fit is left out.
fn block(bytes: &[u8]) -> [u8; PASSWORD_BYTES_MAX] {
    let mut block = [0; PASSWORD_BYTES_MAX];
    let length = bytes.len().min(PASSWORD_BYTES_MAX);
    block[..length].copy_from_slice(&bytes[..length]);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_itself_is_right() {
        let password = Password::new(b"open sesame").unwrap();
        assert!(is_right(&password, b"open sesame"));
        for guess in [&b""[..], b"open sesam", b"open sesame\0", b"Open sesame", &[b'o'; 5000]] {
            assert!(!is_right(&password, guess), "{guess:?}");
        }
        let longest = vec![b'x'; PASSWORD_BYTES_MAX];
        let password = Password::new(&longest).unwrap();
        assert!(is_right(&password, &longest));
        assert!(!is_right(&password, &[&longest[..], b"x"].concat()));
    }
}
