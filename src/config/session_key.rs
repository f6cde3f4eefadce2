//! What a session key is: at least 256 bits, however they are written, and not plainly weak.

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// The fewest bytes a key may have: as many as the strongest cipher and the hash that derives from it take.
pub const MIN_KEY_BYTES: usize = SHA256_OUTPUT_LEN;

/// The fewest different bytes a key may have. Of 32 random ones, fewer than 16 are different about never.
const MIN_DIFFERENT_BYTES: usize = 8;

/// A text that is too weak for a session key. Holds none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// Fewer than [`MIN_KEY_BYTES`].
    #[error("the session key is shorter than 32 bytes")]
    Short,
    /// The same few bytes over and over.
    #[error("the session key repeats the same few bytes")]
    Repetitive,
}

/// The bytes of a session key: hexadecimal, base64url or base64 when they decode to enough bytes, else the text's own.
///
/// # Errors
/// When no reading gives 32 bytes, or the bytes are plainly not random.
pub fn decode(text: &SecretString) -> Result<Zeroizing<Vec<u8>>, WeakKey> {
    let text = text.expose_secret().trim();
    let readings = [hexadecimal(text), base64(text), Some(Zeroizing::new(text.as_bytes().to_vec()))];
    let key = readings.into_iter().flatten().find(|bytes| bytes.len() >= MIN_KEY_BYTES).ok_or(WeakKey::Short)?;
    let mut seen = [false; 256];
    for byte in key.iter() {
        if let Some(flag) = seen.get_mut(usize::from(*byte)) {
            *flag = true;
        }
    }
    if seen.iter().filter(|flag| **flag).count() < MIN_DIFFERENT_BYTES {
        return Err(WeakKey::Repetitive);
    }
    Ok(key)
}

fn base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    [URL_SAFE_NO_PAD, STANDARD, URL_SAFE, STANDARD_NO_PAD]
        .iter()
        .find_map(|engine| engine.decode(text).ok())
        .map(Zeroizing::new)
}

fn hexadecimal(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2);
    let bytes = digits.map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()));
    bytes.collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, WeakKey> {
        decode(&SecretString::from(text.to_owned())).map(|key| key.to_vec())
    }

    #[test]
    fn one_key_reads_the_same_however_it_is_written() {
        let bytes: Vec<u8> = (0_u8..32).map(|n| n.wrapping_mul(37).wrapping_add(251)).collect();
        let digit = |four: u8| char::from_digit(four.into(), 16).unwrap();
        let hex: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        for written in [URL_SAFE_NO_PAD.encode(&bytes), URL_SAFE.encode(&bytes), STANDARD.encode(&bytes), hex] {
            assert_eq!(read(&written).unwrap(), bytes, "{written}");
        }
        let raw = "correct horse battery staple, and more!";
        assert_eq!(read(raw).unwrap(), raw.as_bytes());
    }

    #[test]
    fn weak_keys_are_refused() {
        assert_eq!(read("short"), Err(WeakKey::Short));
        assert_eq!(read(&"ab".repeat(15)), Err(WeakKey::Short));
        assert_eq!(read(&"00".repeat(32)), Err(WeakKey::Repetitive));
        assert_eq!(read(&URL_SAFE_NO_PAD.encode([7_u8; 32])), Err(WeakKey::Repetitive));
        assert_eq!(read(&"x".repeat(64)), Err(WeakKey::Repetitive));
    }

    #[test]
    fn what_keygen_writes_is_a_key() {
        assert_eq!(read(&crate::base::random::token().unwrap()).unwrap().len(), 32);
    }
}
