//! A session as bytes and back, small enough for cookies: postcard, folded where that pays.
//!
//! ```text
//! format (1) ‖ 0 ‖ postcard                    as it is, also where it is short
//! format (1) ‖ 1 ‖ deflate(postcard)           where it is large, and deflate saves an eighth or more of what LZ4 leaves
//! format (1) ‖ 2 ‖ length (4) ‖ LZ4(postcard)  where that saves an eighth or more
//! ```
//!
//! LZ4 folds in a thirtieth of the time that deflate takes, and unfolds in a fortieth, which counts where a session is opened anew and where
//! its use is noted, once a minute. Deflate is for what would take several cookies.
//!
//! Compressing before encrypting tells an observer the length of what was compressed. That is harmless as long as nobody
//! can mix text of their choice with a secret here, so nothing that a visitor may choose per request, such as where to
//! return to, has a place in a session.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use lz4_flex::block;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::model::Session;

/// The first byte. Postcard is not self-describing, so any change to [`Session`] or what is inside takes the next number.
const FORMAT: u8 = 5;
/// The second byte of what is written as it is.
const PLAIN: u8 = 0;
/// The second byte of what is deflated.
const DEFLATED: u8 = 1;
/// The second byte of what LZ4 folded.
const LZ4: u8 = 2;
/// Bytes of the length that goes before what LZ4 folded.
const LENGTH: usize = 4;
/// What is no longer than this is not folded: a cookie that could be shorter by a line of a header is worth less than the time.
const SHORT: usize = 256;
/// What takes no more than this after LZ4 fits one cookie, and is not deflated.
const SMALL: usize = 2_560;
/// The most that a session may unfold to: far more than cookies can carry, far less than would hurt.
pub const MAX_UNFOLDED: usize = 256 * 1024;

/// The session could not be written as bytes.
#[derive(Debug, thiserror::Error)]
#[error("the session can't be written as bytes, or has more than 256 KiB of them")]
pub struct NotEncodable;

/// The bytes of `session`.
///
/// # Errors
/// When there would be more than [`MAX_UNFOLDED`] of them.
pub fn encode(session: &Session) -> Result<Vec<u8>, NotEncodable> {
    let plain = postcard::to_allocvec(session).map_err(|_| NotEncodable)?;
    if plain.len() > MAX_UNFOLDED {
        return Err(NotEncodable);
    }
    let as_it_is = [&[FORMAT, PLAIN], plain.as_slice()].concat();
    if plain.len() <= SHORT {
        return Ok(as_it_is);
    }
    let length = u32::try_from(plain.len()).map_err(|_| NotEncodable)?;
    let lz4 = [&[FORMAT, LZ4], length.to_be_bytes().as_slice(), &block::compress(&plain)].concat();
    let folded = if saves_an_eighth(&lz4, &as_it_is) { lz4 } else { as_it_is };
    if folded.len() <= SMALL {
        return Ok(folded);
    }
    let deflated = deflate(&plain)?;
    Ok(if saves_an_eighth(&deflated, &folded) { deflated } else { folded })
}

const fn saves_an_eighth(shorter: &[u8], longer: &[u8]) -> bool {
    shorter.len() <= longer.len() - longer.len() / 8
}

fn deflate(plain: &[u8]) -> Result<Vec<u8>, NotEncodable> {
    let mut encoder = DeflateEncoder::new(vec![FORMAT, DEFLATED], Compression::default());
    encoder.write_all(plain).map_err(|_| NotEncodable)?;
    encoder.finish().map_err(|_| NotEncodable)
}

/// The session that `bytes` are; `None` when they are none, have a byte too many, or unfold to more than
/// [`MAX_UNFOLDED`].
pub fn decode(bytes: &[u8]) -> Option<Session> {
    match bytes {
        [FORMAT, PLAIN, plain @ ..] => read(plain),
        [FORMAT, DEFLATED, deflated @ ..] => read(&inflate(deflated)?),
        [FORMAT, LZ4, folded @ ..] => read(&unfold(folded)?),
        _ => None,
    }
}

fn read(plain: &[u8]) -> Option<Session> {
    let (session, rest) = postcard::take_from_bytes(plain).ok()?;
    rest.is_empty().then_some(session)
}

/// Never more than the length that goes before it, which is no more than [`MAX_UNFOLDED`].
fn unfold(folded: &[u8]) -> Option<Vec<u8>> {
    let (length, lz4) = folded.split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= MAX_UNFOLDED)?;
    block::decompress(lz4, length).ok().filter(|plain| plain.len() == length)
}

/// In one go: what unfolds a stream makes 76 KiB of room ready first, which costs more than all else that opening a session takes.
fn inflate(deflated: &[u8]) -> Option<Vec<u8>> {
    decompress_to_vec_with_limit(deflated, MAX_UNFOLDED).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::model::Tokens;
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn a_session_survives_with_every_field() {
        let session = sample();
        assert_eq!(decode(&encode(&session).unwrap()).unwrap(), session);
    }

    /// A token of a provider's, with `fill` in its signature.
    fn jwt(claims: &serde_json::Value, fill: &[u8]) -> String {
        let parts =
            [br#"{"alg":"RS256","kid":"key-1","typ":"JWT"}"#.to_vec(), claims.to_string().into_bytes(), fill.to_vec()];
        parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    }

    fn random<const N: usize>() -> Vec<u8> {
        crate::base::random::bytes::<N>().unwrap().to_vec()
    }

    #[test]
    fn what_repeats_is_folded_and_what_does_not_is_left() {
        let mut session = sample();
        session.principal.groups = vec!["the same group".to_owned(); 100];
        let bytes = encode(&session).unwrap();
        assert_eq!(bytes[1], LZ4);
        assert!(bytes.len() < 1000, "{}", bytes.len());
        assert_eq!(decode(&bytes).unwrap(), session);

        // So short and so random that there is nothing to save.
        session.principal.subject = crate::base::random::token().unwrap();
        session.principal.issuer = String::new();
        session.principal.claims.clear();
        session.principal.groups.clear();
        session.principal.roles.clear();
        session.tokens = Tokens::default();
        let bytes = encode(&session).unwrap();
        assert_eq!(bytes[1], PLAIN);
        assert_eq!(decode(&bytes).unwrap(), session);
    }

    #[test]
    fn what_is_short_is_left_as_it_is() {
        let mut session = sample();
        session.principal.claims.clear();
        session.principal.groups.clear();
        session.principal.roles.clear();
        session.tokens = Tokens::default();
        for (subject, form) in [(40, PLAIN), (SHORT, LZ4)] {
            session.principal.subject = "a".repeat(subject);
            let bytes = encode(&session).unwrap();
            assert_eq!(bytes[1], form, "{subject}: {}", bytes.len());
            assert_eq!(decode(&bytes).unwrap(), session);
        }
    }

    #[test]
    fn a_usual_session_is_no_larger_than_deflate_alone_would_make_it() {
        let claims = json!({
            "iss": "https://login.example.com/realms/main", "sub": "248289761001-4f7c-9a", "aud": "portcullis",
            "exp": 1_795_000_000, "iat": 1_794_996_400, "nonce": crate::base::random::token().unwrap(),
            "email": "alice@example.com", "email_verified": true, "name": "Alice Liddell", "preferred_username": "alice",
            "department": "Engineering", "locale": "en", "groups": ["staff", "engineering", "oncall", "vpn-users"],
        });
        let mut session = sample();
        session.principal.claims = claims.as_object().unwrap().clone();
        session.tokens.id_token = Some(jwt(&claims, &random::<256>()));
        session.tokens.access_token = Some(jwt(&claims, &random::<256>()));
        session.tokens.refresh_token = Some(crate::base::random::token().unwrap());
        let bytes = encode(&session).unwrap();
        assert_eq!(bytes[1], LZ4);
        assert_eq!(decode(&bytes).unwrap(), session);
        let with_tokens_as_text = [
            postcard::to_allocvec(&Session { tokens: Tokens::default(), ..session.clone() }).unwrap(),
            session.tokens.id_token.unwrap().into_bytes(),
            session.tokens.access_token.unwrap().into_bytes(),
            session.tokens.refresh_token.unwrap().into_bytes(),
        ];
        let deflated = deflate(&with_tokens_as_text.concat()).unwrap();
        assert!(bytes.len() <= deflated.len(), "{} and {}", bytes.len(), deflated.len());
    }

    #[test]
    fn what_would_take_several_cookies_is_deflated() {
        let mut session = sample();
        session.principal.groups = (0..100).map(|_| crate::base::random::token().unwrap()).collect();
        let bytes = encode(&session).unwrap();
        assert_eq!(bytes[1], DEFLATED);
        assert_eq!(decode(&bytes).unwrap(), session);
        // What nothing makes shorter is not made longer.
        session.principal.groups.clear();
        session.tokens.access_token = Some(jwt(&json!({}), &random::<6_000>()));
        let bytes = encode(&session).unwrap();
        assert_eq!(bytes[1], PLAIN);
        assert_eq!(decode(&bytes).unwrap(), session);
    }

    #[test]
    fn what_unfolds_to_another_length_than_it_says_is_refused() {
        let plain = postcard::to_allocvec(&sample()).unwrap();
        let folded = |length: usize, lz4: &[u8]| {
            let length = u32::try_from(length).unwrap().to_be_bytes();
            [&[FORMAT, LZ4], length.as_slice(), lz4].concat()
        };
        assert_eq!(decode(&folded(plain.len(), &block::compress(&plain))).unwrap(), sample());
        for length in [0, plain.len() - 1, plain.len() + 1, MAX_UNFOLDED] {
            assert!(decode(&folded(length, &block::compress(&plain))).is_none(), "{length}");
        }
        // A bomb is not unfolded first and measured afterwards.
        let bomb = block::compress(&vec![0; 64 << 20]);
        for length in [MAX_UNFOLDED, MAX_UNFOLDED + 1, 64 << 20] {
            assert!(unfold(&folded(length, &bomb)[2..]).is_none(), "{length}");
        }
        assert!(unfold(&folded(MAX_UNFOLDED, &block::compress(&vec![0; MAX_UNFOLDED]))[2..]).is_some());
    }

    #[test]
    fn a_decompression_bomb_is_refused_within_its_bound() {
        let mut deflater = DeflateEncoder::new(vec![FORMAT, DEFLATED], Compression::best());
        let zeros = vec![0_u8; 1 << 20];
        for _ in 0..64 {
            deflater.write_all(&zeros).unwrap();
        }
        let bomb = deflater.finish().unwrap();
        assert!(bomb.len() < 100_000, "64 MiB in {} bytes", bomb.len());
        assert!(inflate(&bomb[2..]).is_none());
        assert!(decode(&bomb).is_none());

        // It is not unfolded first and measured afterwards.
        let unfolded = decompress_to_vec_with_limit(&bomb[2..], MAX_UNFOLDED).unwrap_err().output;
        assert!(unfolded.len() == MAX_UNFOLDED && unfolded.capacity() <= 2 * MAX_UNFOLDED, "{}", unfolded.capacity());

        for (length, fits) in [(MAX_UNFOLDED, true), (MAX_UNFOLDED + 1, false)] {
            let mut deflater = DeflateEncoder::new(Vec::new(), Compression::best());
            deflater.write_all(&vec![0_u8; length]).unwrap();
            assert_eq!(inflate(&deflater.finish().unwrap()).is_some_and(|plain| plain.len() == length), fits);
        }
    }

    #[test]
    fn a_session_that_could_not_be_read_again_is_not_written() {
        let mut session = sample();
        session.tokens.access_token = Some("~".repeat(MAX_UNFOLDED));
        assert!(encode(&session).is_err());
    }

    #[test]
    fn other_formats_and_further_bytes_are_refused() {
        let mut session = sample();
        session.principal.groups = vec!["g".to_owned(); 200];
        for mut bytes in [encode(&sample()).unwrap(), encode(&session).unwrap()] {
            assert!(decode(&bytes[..bytes.len() - 1]).is_none());
            bytes[0] += 1;
            assert!(decode(&bytes).is_none());
        }
        let mut longer = vec![FORMAT, PLAIN];
        longer.extend(postcard::to_allocvec(&sample()).unwrap());
        assert!(decode(&longer).is_some());
        longer.push(0);
        assert!(decode(&longer).is_none());
        assert!(decode(&[]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), flag in 0..3_u8) {
            let framed = [&[FORMAT, flag], bytes.as_slice()].concat();
            let _session = decode(&framed);
        }
    }
}
