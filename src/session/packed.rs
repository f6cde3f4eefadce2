//! Tokens by what their base64url stands for: three quarters as long, and no longer hiding what they have in common.
//!
//! A JSON Web Token is base64url between dots (RFC 7515, section 7.1). The same claims stand in the ID token, in the access token and in the
//! session's own list, which a compressor finds only where it sees them as they are.
//!
//! ```text
//! 0 ‖ the token                                  whatever can't be written the other way
//! 1 ‖ for each part: its length (3) ‖ its bytes   base64url without padding between dots
//! ```

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const TEXT: u8 = 0;
const PARTS: u8 = 1;
/// Bytes of a part's length.
const LENGTH: usize = 3;

/// Writes a token, for serde's `with`.
#[allow(clippy::ref_option, reason = "serde hands a field over like this")]
pub(super) fn serialize<S: Serializer>(token: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_deref().map(|token| Packed(pack(token))).serialize(serializer)
}

/// Reads what [`serialize`] wrote, for serde's `with`.
///
/// # Errors
/// When it is none of that.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Unpacked>::deserialize(deserializer)?.map(|Unpacked(token)| token))
}

struct Packed(Vec<u8>);

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

struct Unpacked(String);

impl<'de> Deserialize<'de> for Unpacked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Unpacked;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a packed token")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Unpacked, E> {
                unpack(bytes).map(Unpacked).ok_or_else(|| E::custom("no packed token"))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

fn pack(token: &str) -> Vec<u8> {
    parts(token).unwrap_or_else(|| [&[TEXT], token.as_bytes()].concat())
}

/// The parts of a token; `None` when it is no base64url between dots, or not as an encoder would write it, or would be longer.
fn parts(token: &str) -> Option<Vec<u8>> {
    let mut packed = Vec::with_capacity(token.len());
    packed.push(PARTS);
    for part in token.split('.') {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        let [0, length @ ..] = u32::try_from(bytes.len()).ok()?.to_be_bytes() else { return None };
        packed.extend_from_slice(&length);
        packed.extend_from_slice(&bytes);
    }
    (packed.len() <= token.len()).then_some(packed)
}

fn unpack(packed: &[u8]) -> Option<String> {
    match packed {
        [TEXT, token @ ..] => std::str::from_utf8(token).ok().map(str::to_owned),
        [PARTS, rest @ ..] => join(rest),
        _ => None,
    }
}

fn join(mut rest: &[u8]) -> Option<String> {
    let mut token = String::with_capacity(rest.len().div_ceil(3) * 4);
    loop {
        let (&[high, middle, low], after) = rest.split_first_chunk::<LENGTH>()?;
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?;
        let (part, after) = after.split_at_checked(length)?;
        URL_SAFE_NO_PAD.encode_string(part, &mut token);
        if after.is_empty() {
            return Some(token);
        }
        token.push('.');
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_shrink_where_they_are_base64url() {
        let [header, claims] = [r#"{"alg":"RS256"}"#, r#"{"sub":"alice"}"#].map(|part| URL_SAFE_NO_PAD.encode(part));
        let token = format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode([7; 256]));
        let packed = pack(&token);
        assert!(packed.len() * 4 < token.len() * 3 + 64, "{} of {}", packed.len(), token.len());
        assert!(String::from_utf8_lossy(&packed).contains(r#"{"sub":"alice"}"#));
        assert_eq!(unpack(&packed).unwrap(), token);
    }

    #[test]
    fn whatever_else_a_token_is_comes_back_as_it_was() {
        // Padding, other alphabets, bits that no encoder sets, empty parts, nothing at all.
        for token in [
            "",
            ".",
            "..",
            "a",
            "ab",
            "ab=",
            "a+/b",
            "abc.d e",
            "AB.AB.AB",
            "QUJD..QUJD",
            "é",
            "AAAAAAAA.",
            ".AAAAAAAA",
        ] {
            assert_eq!(unpack(&pack(token)).unwrap(), token, "{token}");
        }
    }

    #[test]
    fn what_was_cut_is_refused() {
        let packed = pack("QUJDREVGR0hJSktMTU5P.QUJDREVGR0hJSktMTU5P");
        assert_eq!(packed[0], PARTS);
        for length in [0, 1, 3, 4, packed.len() - 1] {
            assert_eq!(unpack(&packed[..length]), None, "{length}");
        }
        assert_eq!(unpack(&[2, 0]), None);
        assert_eq!(unpack(&[TEXT, 0xff]), None);
    }

    proptest! {
        #[test]
        fn any_token_comes_back(token in "\\PC{0,60}|[A-Za-z0-9._-]{0,200}") {
            prop_assert_eq!(unpack(&pack(&token)).unwrap(), token);
        }

        #[test]
        fn no_bytes_make_unpacking_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _token = unpack(&bytes);
        }
    }
}
