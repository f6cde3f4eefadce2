//! The keys of all seals: the first seals, every one opens, so that a key can be replaced without signing anyone out.
//!
//! A ring's keys can be replaced while it is in use. Its epoch counts the replacements, so that whoever keeps what a key
//! opened can tell that the key may have left.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::aead::{MAC_LEN, Purpose, RingKey, SealError, Sealed};
use crate::base::random;
use crate::config::secret::{SecretError, SecretSource};
use crate::config::session_key::{self, MIN_KEY_BYTES, WeakKey};

/// The keys of all seals, the sealing one first. Its `Debug` shows key ids only; they tell nothing of the keys.
pub struct Keyring {
    keys: ArcSwap<KeySet>,
    epoch: AtomicU64,
}

/// Keys that can make a ring, all of them strong; never empty.
pub struct KeySet {
    first: RingKey,
    others: Vec<RingKey>,
    /// Tells one set from another without keeping the keys as they were written.
    fingerprint: [u8; 32],
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
    /// A text of the list holds no key.
    #[error("session key {number} holds no key; make one with `portcullis keygen`")]
    Empty {
        /// Its place in the list, from 1.
        number: usize,
    },
    /// A key can't be read.
    #[error("session key {number}: {cause}")]
    Unreadable {
        /// Its place in the list, from 1.
        number: usize,
        /// Why.
        cause: SecretError,
    },
    /// A key is too short, or can be guessed.
    #[error("session key {place} {cause}; make one with `portcullis keygen`")]
    Weak {
        /// Where it stands.
        place: KeyPlace,
        /// What is weak about it.
        cause: WeakKey,
    },
    /// The machinery failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Where a key stands: in the list, and in which line of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    /// Its text's place in the list, from 1.
    number: usize,
    /// Its line, from 1, where the text has several keys.
    line: Option<usize>,
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            None => write!(f, "{}", self.number),
            Some(line) => write!(f, "{} (line {line})", self.number),
        }
    }
}

impl KeySet {
    /// A set of the keys in `texts`, each as an operator wrote it: one key a line ([`session_key::lines`]), see
    /// [`session_key::decode`].
    ///
    /// # Errors
    /// When there is no key, or one of them is weak.
    pub fn new(texts: &[SecretString]) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let (number, lines) = (index + 1, session_key::lines(text));
            if lines.is_empty() {
                return Err(KeyError::Empty { number });
            }
            let several = lines.len() > 1;
            for (line, key) in &lines {
                let place = KeyPlace { number, line: several.then_some(*line) };
                keys.push(session_key::decode(key).map_err(|cause| KeyError::Weak { place, cause })?);
            }
        }
        Self::of(&keys)
    }

    /// The keys that the config names, read now.
    ///
    /// # Errors
    /// When there is no key, or one of them can't be read or is weak.
    pub fn read(sources: &[SecretSource]) -> Result<Self, KeyError> {
        let read = |(index, source): (usize, &SecretSource)| {
            source.read().map_err(|cause| KeyError::Unreadable { number: index + 1, cause })
        };
        Self::new(&sources.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?)
    }

    /// Whether `other` holds the same keys in the same order.
    pub fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    fn of(secrets: &[Zeroizing<Vec<u8>>]) -> Result<Self, KeyError> {
        let mut hash = Context::new(&SHA256);
        let mut ready = Vec::with_capacity(secrets.len());
        for secret in secrets {
            hash.update(&secret.len().to_be_bytes());
            hash.update(secret);
            ready.push(RingKey::new(secret)?);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        let mut ready = ready.into_iter();
        let first = ready.next().ok_or(KeyError::None)?;
        Ok(Self { first, others: ready.collect(), fingerprint })
    }
}

impl Keyring {
    /// A ring of `keys`.
    ///
    /// # Errors
    /// See [`KeySet::new`].
    pub fn new(keys: &[SecretString]) -> Result<Self, KeyError> {
        Ok(Self::holding(KeySet::new(keys)?))
    }

    /// A ring of the keys that the config names, read now; an ephemeral one when it names none.
    ///
    /// # Errors
    /// When a key can't be read or is weak.
    pub fn load(sources: &[SecretSource]) -> Result<Self, KeyError> {
        if sources.is_empty() { Self::ephemeral() } else { Ok(Self::holding(KeySet::read(sources)?)) }
    }

    /// A ring of one random key that nobody else knows: its seals end with this process.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn ephemeral() -> Result<Self, KeyError> {
        let secret = random::bytes::<MIN_KEY_BYTES>().map_err(SealError::from)?;
        Ok(Self::holding(KeySet::of(&[Zeroizing::new(secret.to_vec())])?))
    }

    fn holding(keys: KeySet) -> Self {
        Self { keys: ArcSwap::from_pointee(keys), epoch: AtomicU64::new(0) }
    }

    /// Puts `keys` in the place of those it has, for everyone who uses this ring.
    pub fn replace(&self, keys: KeySet) {
        self.keys.store(Arc::new(keys));
        // After the keys: whoever sees the new epoch opens with the new keys.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Whether these are its keys already.
    pub fn holds(&self, keys: &KeySet) -> bool {
        self.keys.load().is_same(keys)
    }

    /// How often its keys were replaced. Whoever keeps what was opened asks before opening, and forgets what is older.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Seals `plain` with the first key. The seal is [`OVERHEAD`](super::aead::OVERHEAD) bytes longer than `plain`; it opens
    /// only for the same purpose and the same parts of context.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn seal(&self, purpose: Purpose, context: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.keys.load().first.seal(purpose, context, plain)
    }

    /// A text that only whoever has the first key can make of `parts`, for one purpose: the same one each time.
    pub fn mac(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; MAC_LEN] {
        self.keys.load().first.mac(purpose, parts)
    }

    /// Whether any key of the ring makes `mac` of `parts` for this purpose. It takes as long for a wrong one.
    pub fn is_mac(&self, purpose: Purpose, parts: &[&[u8]], mac: &[u8]) -> bool {
        let keys = self.keys.load();
        std::iter::once(&keys.first).chain(&keys.others).any(|key| key.is_mac(purpose, parts, mac))
    }

    /// Whether `sealed` looks like a seal, and names a key that is not in the ring: another gateway may have a newer one.
    pub fn lacks_key_of(&self, sealed: &[u8]) -> bool {
        let keys = self.keys.load();
        let mut ids = std::iter::once(&keys.first).chain(&keys.others).map(RingKey::id);
        Sealed::parse(sealed).is_some_and(|sealed| ids.all(|id| id != sealed.id))
    }

    /// Opens `sealed` with the key that it names. Nothing says why a seal does not open, since whoever forges one would
    /// learn from it.
    pub fn open(&self, purpose: Purpose, context: &[&[u8]], sealed: &[u8]) -> Option<Opened> {
        let sealed = Sealed::parse(sealed)?;
        let keys = self.keys.load();
        // Ids are 32 bits, so two keys of one ring may share one by chance; normally one key is tried, or none.
        let mut named =
            std::iter::once(&keys.first).chain(&keys.others).enumerate().filter(|(_, key)| key.id() == sealed.id);
        named.find_map(|(index, key)| {
            key.open(purpose, context, &sealed).map(|plain| Opened { plain, by_first_key: index == 0 })
        })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.load();
        let ids = std::iter::once(&keys.first).chain(&keys.others).map(RingKey::id);
        f.debug_list().entries(ids.map(u32::from_be_bytes)).finish()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use secrecy::ExposeSecret as _;

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
    fn one_text_may_hold_several_keys_the_first_of_which_seals() {
        let text = |seeds: &[u8]| {
            let lines: Vec<String> = seeds.iter().map(|seed| key(*seed).expose_secret().to_owned()).collect();
            SecretString::from(format!("# newest first\n{}\n", lines.join("\n")))
        };
        let old = ring(&[1]).seal(Purpose::Session, CONTEXT, b"value").unwrap();
        let both = Keyring::new(&[text(&[2, 1])]).unwrap();
        assert!(!both.open(Purpose::Session, CONTEXT, &old).unwrap().by_first_key);
        assert!(both.holds(&KeySet::new(&[key(2), key(1)]).unwrap()));
        let told = |text: &str| secret(text).unwrap_err().to_string();
        assert!(told(&format!("{}\n\ntoo few", key(1).expose_secret())).contains("session key 1 (line 3)"));
        assert!(told("# nothing yet").contains("session key 1 holds no key"));
    }

    #[test]
    fn a_key_that_is_missing_is_known_by_its_seal() {
        let sealed = ring(&[1]).seal(Purpose::Session, CONTEXT, b"value").unwrap();
        assert!(ring(&[2, 3]).lacks_key_of(&sealed));
        assert!(!ring(&[2, 1]).lacks_key_of(&sealed));
        for no_seal in [&b""[..], b"short", &[0; 200]] {
            assert!(!ring(&[2]).lacks_key_of(no_seal));
        }
    }

    #[test]
    fn keys_are_replaced_under_everyones_hands() {
        let ring = ring(&[1]);
        let sealed = ring.seal(Purpose::Session, CONTEXT, b"from before").unwrap();
        let set = |seeds: &[u8]| KeySet::new(&seeds.iter().copied().map(key).collect::<Vec<_>>()).unwrap();
        assert!(ring.holds(&set(&[1])) && !ring.holds(&set(&[2, 1])) && !set(&[1, 2]).is_same(&set(&[2, 1])));
        ring.replace(set(&[2, 1]));
        assert_eq!(ring.epoch(), 1);
        let opened = ring.open(Purpose::Session, CONTEXT, &sealed).unwrap();
        assert!(!opened.by_first_key, "the new key seals from now on");
        ring.replace(set(&[2]));
        assert_eq!(ring.epoch(), 2);
        assert!(ring.open(Purpose::Session, CONTEXT, &sealed).is_none(), "the old key has left");
    }

    #[test]
    fn weak_keys_are_refused_and_never_shown() {
        for weak in [
            "too few",
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
        assert!(matches!(KeySet::new(&[]), Err(KeyError::None)));
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
