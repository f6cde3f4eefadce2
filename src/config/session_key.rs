//! What a session key is: at least 256 bits, however they are written, and not plainly weak.

use aws_lc_rs::digest::SHA256_OUTPUT_LEN;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// The fewest bytes a key may have: as many as the strongest cipher and the hash that derives from it take.
pub const MIN_KEY_BYTES: usize = SHA256_OUTPUT_LEN;

/// The fewest different bytes a key may have. Of 32 random ones, more than 25 differ, practically always.
const MIN_DIFFERENT_BYTES: usize = 12;

/// A text that is too weak for a session key; reads on after its name: "session key 1 is shorter than …". Holds none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// Fewer than [`MIN_KEY_BYTES`].
    #[error("is shorter than 32 bytes")]
    Short,
    /// The same few bytes, or the same piece, over and over.
    #[error("repeats itself, so it can be guessed")]
    Repetitive,
}

/// The keys in a text, such as a file's, one a line. White space around a line is not part of its key; an empty line holds none, nor does
/// one that begins with `#`. Each with the number of its line, from 1.
pub fn lines(text: &SecretString) -> Vec<(usize, SecretString)> {
    let lines = text.expose_secret().lines().map(str::trim).enumerate();
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    keys.map(|(index, line)| (index + 1, SecretString::from(line.to_owned()))).collect()
}

/// The bytes of a session key: text of hexadecimal digits alone is hexadecimal whatever its length, base64url or base64 is
/// decoded when that gives enough bytes, and any other text is its own bytes.
///
/// # Errors
/// When there are fewer than 32 bytes, or they are plainly not random.
pub fn decode(text: &SecretString) -> Result<Zeroizing<Vec<u8>>, WeakKey> {
    let text = text.expose_secret().trim();
    let key = hexadecimal(text)
        .or_else(|| base64(text).filter(|bytes| bytes.len() >= MIN_KEY_BYTES))
        .unwrap_or_else(|| Zeroizing::new(text.as_bytes().to_vec()));
    if key.len() < MIN_KEY_BYTES {
        return Err(WeakKey::Short);
    }
    if different_bytes(&key) < MIN_DIFFERENT_BYTES || repeats(&key) || repeats(text.as_bytes()) {
        return Err(WeakKey::Repetitive);
    }
    Ok(key)
}

fn different_bytes(bytes: &[u8]) -> usize {
    bytes.iter().collect::<std::collections::BTreeSet<_>>().len()
}

/// Whether `bytes` is one shorter piece over and over, half of the second time at least.
fn repeats(bytes: &[u8]) -> bool {
    (1..=bytes.len() * 2 / 3).any(|period| bytes.iter().zip(bytes.iter().skip(period)).all(|(one, other)| one == other))
}

fn base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    [alphabet::URL_SAFE, alphabet::STANDARD]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(text).ok())
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
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

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
        assert_eq!(read("0123456789abcdef0123456789abcde0"), Err(WeakKey::Short), "32 hex digits are 16 bytes");
        assert_eq!(read("correct horse battery staple! correct horse battery staple!"), Err(WeakKey::Repetitive));
        assert_eq!(read(&"00".repeat(32)), Err(WeakKey::Repetitive));
        assert_eq!(read(&URL_SAFE_NO_PAD.encode([7_u8; 32])), Err(WeakKey::Repetitive));
        assert_eq!(read(&"x".repeat(64)), Err(WeakKey::Repetitive));
    }

    #[test]
    fn a_text_holds_a_key_a_line() {
        let text = SecretString::from("# the new one\nnew key \r\n\n\told key\n".to_owned());
        let found: Vec<(usize, String)> =
            lines(&text).into_iter().map(|(line, key)| (line, key.expose_secret().to_owned())).collect();
        assert_eq!(found, [(2, "new key".to_owned()), (4, "old key".to_owned())]);
        assert!(lines(&SecretString::from("\n# nothing\n")).is_empty());
    }

    #[test]
    fn what_keygen_writes_is_a_key() {
        assert_eq!(read(&crate::base::random::token().unwrap()).unwrap().len(), 32);
    }
}
