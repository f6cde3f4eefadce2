//! The keys of all seals: the first seals, every one opens, so that a key can be replaced without signing anyone out.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::aead::{Purpose, RingKey, SealError, Sealed};
use crate::base::random;
use crate::config::secret::{SecretError, SecretSource};

/// The fewest bytes of a key: 256 bits.
const MIN_KEY_BYTES: usize = 32;
/// The fewest different bytes in a key. Of 32 random bytes more than 25 differ, practically always.
const MIN_DIFFERENT_BYTES: usize = 12;

/// The keys of all seals, the sealing one first. Its `Debug` shows key ids only; they tell nothing of the keys.
pub struct Keyring {
    first: RingKey,
    others: Vec<RingKey>,
}

/// What a seal held.
pub struct Opened {
    /// The value.
    pub plain: Vec<u8>,
    /// Whether the first key opened it. If not, the value should be sealed anew before its key leaves the ring.
    pub by_first_key: bool,
}

/// Why there is no keyring. Never holds any of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The list of keys is empty.
    #[error("there is no session key; make one with `portcullis keygen`")]
    None,
    /// A key can't be read.
    #[error("session key {number}: {cause}")]
    Unreadable {
        /// Its place in the list, from 1.
        number: usize,
        /// Why.
        cause: SecretError,
    },
    /// A key is too short.
    #[error(
        "session key {number} has only {bytes} bytes, and at least 32 are needed; make one with `portcullis keygen`"
    )]
    TooShort {
        /// Its place in the list, from 1.
        number: usize,
        /// How many bytes it has, decoded if it is hex or base64.
        bytes: usize,
    },
    /// A key is long enough, yet can be guessed.
    #[error(
        "session key {number} repeats itself or has too few different bytes to be random; make one with `portcullis keygen`"
    )]
    Guessable {
        /// Its place in the list, from 1.
        number: usize,
    },
    /// The machinery failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Keyring {
    /// A ring of `keys`, each as an operator wrote it: hex, base64 or base64url of at least 32 bytes, or any other text of
    /// at least 32 bytes.
    ///
    /// # Errors
    /// When there is no key, or one of them is weak.
    pub fn new(keys: &[SecretString]) -> Result<Self, KeyError> {
        let mut ready = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            ready.push(RingKey::new(&strong_secret(key.expose_secret(), index + 1)?)?);
        }
        let mut ready = ready.into_iter();
        let first = ready.next().ok_or(KeyError::None)?;
        Ok(Self { first, others: ready.collect() })
    }

    /// A ring of the keys that the config names, read now; an ephemeral one when it names none.
    ///
    /// # Errors
    /// When a key can't be read or is weak.
    pub fn load(sources: &[SecretSource]) -> Result<Self, KeyError> {
        if sources.is_empty() {
            return Self::ephemeral();
        }
        let read = |(index, source): (usize, &SecretSource)| {
            source.read().map_err(|cause| KeyError::Unreadable { number: index + 1, cause })
        };
        let keys: Vec<SecretString> = sources.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Self::new(&keys)
    }

    /// A ring of one random key that nobody else knows: its seals end with this process.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn ephemeral() -> Result<Self, KeyError> {
        let secret = Zeroizing::new(random::bytes::<MIN_KEY_BYTES>().map_err(SealError::from)?);
        Ok(Self { first: RingKey::new(&*secret)?, others: Vec::new() })
    }

    /// Seals `plain` with the first key. The seal is [`OVERHEAD`](super::aead::OVERHEAD) bytes longer than `plain`; it opens
    /// only for the same purpose and the same parts of context.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn seal(&self, purpose: Purpose, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.first.seal(purpose, context, plain)
    }

    /// Opens `sealed` with the key that it names. Nothing says why a seal does not open, since whoever forges one would
    /// learn from it.
    pub fn open(&self, purpose: Purpose, context: &[&[u8]], sealed: &[u8]) -> Option<Opened> {
        let sealed = Sealed::parse(sealed)?;
        // Ids are 32 bits, so two keys of one ring may share one by chance; normally one key is tried, or none.
        let mut named =
            std::iter::once(&self.first).chain(&self.others).enumerate().filter(|(_, key)| key.id() == sealed.id);
        named.find_map(|(index, key)| {
            key.open(purpose, context, &sealed).map(|plain| Opened { plain, by_first_key: index == 0 })
        })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = std::iter::once(&self.first).chain(&self.others).map(RingKey::id);
        f.debug_list().entries(ids.map(u32::from_be_bytes)).finish()
    }
}

/// The bytes of the key that an operator wrote as `text`.
///
/// Text of hex digits alone is hex, whatever its length: 32 hex digits are a key of 16 bytes, not one of 32.
fn strong_secret(text: &str, number: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = text.trim();
    let bytes = Zeroizing::new(
        from_hex(text)
            .or_else(|| from_base64(text).filter(|decoded| decoded.len() >= MIN_KEY_BYTES))
            .unwrap_or_else(|| text.as_bytes().to_vec()),
    );
    if bytes.len() < MIN_KEY_BYTES {
        return Err(KeyError::TooShort { number, bytes: bytes.len() });
    }
    if different_bytes(&bytes) < MIN_DIFFERENT_BYTES || repeats(&bytes) || repeats(text.as_bytes()) {
        return Err(KeyError::Guessable { number });
    }
    Ok(bytes)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = Zeroizing::new(digits?);
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    [alphabet::URL_SAFE, alphabet::STANDARD]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(text).ok())
}

fn different_bytes(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    for &byte in bytes {
        if let Some(slot) = seen.get_mut(usize::from(byte)) {
            *slot = true;
        }
    }
    seen.iter().filter(|&&was| was).count()
}

/// Whether `bytes` is one shorter piece over and over, half of the second time at least.
fn repeats(bytes: &[u8]) -> bool {
    (1..=bytes.len() * 2 / 3).any(|period| bytes.iter().zip(bytes.iter().skip(period)).all(|(one, other)| one == other))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::super::aead::OVERHEAD;
    use super::*;

    const CONTEXT: &[&[u8]] = &[b"__Host-portcullis", b"app.example.com"];

    fn key(seed: u8) -> SecretString {
        let bytes: Vec<u8> = (0..32_u8).map(|i| i.wrapping_mul(37).wrapping_add(seed)).collect();
        SecretString::from(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn ring(seeds: &[u8]) -> Keyring {
        Keyring::new(&seeds.iter().copied().map(key).collect::<Vec<_>>()).unwrap()
    }

    fn secret(text: &str) -> Result<Keyring, KeyError> {
        Keyring::new(&[SecretString::from(text.to_owned())])
    }

    #[test]
    fn what_was_sealed_opens() {
        let ring = ring(&[1]);
        for plain in [&b""[..], b"x", &[7; 5000]] {
            let sealed = ring.seal(Purpose::Session, CONTEXT, plain).unwrap();
            assert_eq!(sealed.len(), plain.len() + OVERHEAD);
            let opened = ring.open(Purpose::Session, CONTEXT, &sealed).unwrap();
            assert_eq!(opened.plain, plain);
            assert!(opened.by_first_key);
        }
    }

    #[test]
    fn no_bit_can_be_changed_and_no_byte_cut_or_added() {
        let ring = ring(&[1, 2]);
        let sealed = ring.seal(Purpose::Session, CONTEXT, b"alice is an admin").unwrap();
        for index in 0..sealed.len() {
            for bit in 0..8 {
                let mut forged = sealed.clone();
                forged[index] ^= 1 << bit;
                assert!(ring.open(Purpose::Session, CONTEXT, &forged).is_none(), "byte {index}, bit {bit}");
            }
            assert!(ring.open(Purpose::Session, CONTEXT, &sealed[..index]).is_none(), "cut to {index}");
            assert!(ring.open(Purpose::Session, CONTEXT, &sealed[index + 1..]).is_none(), "begun after {index}");
        }
        let longer = [sealed.as_slice(), &[0]].concat();
        assert!(ring.open(Purpose::Session, CONTEXT, &longer).is_none());
    }

    #[test]
    fn a_seal_opens_for_its_own_purpose_and_place_only() {
        let ring = ring(&[1]);
        let sealed = ring.seal(Purpose::Session, CONTEXT, b"value").unwrap();
        assert!(ring.open(Purpose::Flow, CONTEXT, &sealed).is_none());
        let elsewhere: [&[&[u8]]; 5] = [
            &[b"__Host-portcullis", b"other.example.com"],
            &[b"__Host-other", b"app.example.com"],
            // The same bytes, parted elsewhere.
            &[b"__Host-portcullisa", b"pp.example.com"],
            &[b"__Host-portcullisapp.example.com"],
            &[b"__Host-portcullis", b"app.example.com", b""],
        ];
        for context in elsewhere {
            assert!(ring.open(Purpose::Session, context, &sealed).is_none());
        }
    }

    #[test]
    fn a_key_that_is_not_in_the_ring_opens_nothing() {
        let sealed = ring(&[1]).seal(Purpose::Session, CONTEXT, b"value").unwrap();
        assert!(ring(&[2, 3]).open(Purpose::Session, CONTEXT, &sealed).is_none());
    }

    #[test]
    fn equal_values_give_seals_with_nothing_in_common() {
        let ring = ring(&[1]);
        let (one, two) = (
            ring.seal(Purpose::Session, CONTEXT, &[0; 64]).unwrap(),
            ring.seal(Purpose::Session, CONTEXT, &[0; 64]).unwrap(),
        );
        let equal = one.iter().zip(&two).skip(5).filter(|(a, b)| a == b).count();
        assert!(equal < 12, "{equal} of {} bytes are equal", one.len() - 5);
    }

    #[test]
    fn keys_rotate_ten_times_and_old_seals_still_open() {
        let mut seeds = vec![0];
        let first = ring(&seeds).seal(Purpose::Session, CONTEXT, b"from the first day").unwrap();
        for seed in 1..=10 {
            seeds.insert(0, seed);
            let ring = ring(&seeds);
            let opened = ring.open(Purpose::Session, CONTEXT, &first).unwrap();
            assert_eq!(opened.plain, b"from the first day");
            assert!(!opened.by_first_key);
            let fresh = ring.seal(Purpose::Session, CONTEXT, b"new").unwrap();
            assert!(ring.open(Purpose::Session, CONTEXT, &fresh).unwrap().by_first_key);
        }
        seeds.pop();
        assert!(ring(&seeds).open(Purpose::Session, CONTEXT, &first).is_none(), "a key that left opens nothing");
    }

    #[test]
    fn keys_read_as_hex_base64_and_plain_text() {
        let hex = "FB56B10C67C21D78D32E89E43F9AF550AB0661BC1772CD2883DE3994EF4AA500";
        let bytes = from_hex(hex).unwrap();
        assert_eq!((bytes.len(), bytes[0], bytes[31]), (32, 0xfb, 0x00));
        let sealed = secret(hex).unwrap().seal(Purpose::Flow, &[], b"v").unwrap();
        for text in [STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes), format!("{hex}\n")] {
            assert!(
                secret(&text).unwrap().open(Purpose::Flow, &[], &sealed).is_some(),
                "the same key, written another way"
            );
        }
        assert!(secret("correct horse battery staple, and then some").is_ok());
    }

    #[test]
    fn weak_keys_are_refused_and_never_shown() {
        for weak in [
            "short",
            "0123456789abcdef0123456789abcdef",
            "9f86d081884c7d659a2feaa0c55ad015",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "xyyxyxxyxyyxxyxyyxxyxyyxxxyxyyyxyxxy",
            "change-me! please change-me! please ",
            "portcullis-gatewayportcullis-gateway",
            "0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            let problem = secret(weak).unwrap_err().to_string();
            assert!(problem.contains("session key 1"), "{weak}: {problem}");
            assert!(!problem.contains(weak), "{problem}");
        }
        assert!(matches!(Keyring::new(&[]), Err(KeyError::None)));
    }

    #[test]
    fn the_ring_of_no_sources_is_ephemeral_and_never_the_same() {
        let sealed = Keyring::load(&[]).unwrap().seal(Purpose::Session, CONTEXT, b"v").unwrap();
        assert!(Keyring::load(&[]).unwrap().open(Purpose::Session, CONTEXT, &sealed).is_none());
        let missing = SecretSource::Env("PORTCULLIS_TEST_NO_SUCH_VARIABLE".to_owned());
        assert!(Keyring::load(&[missing]).unwrap_err().to_string().contains("PORTCULLIS_TEST_NO_SUCH_VARIABLE"));
    }

    #[test]
    fn debug_shows_ids_alone() {
        let shown = format!("{:?}", ring(&[1, 2]));
        assert!(shown.starts_with('[') && shown.len() < 30, "{shown}");
    }
}
