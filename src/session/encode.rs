//! A session as bytes and back, small enough for cookies: postcard, deflated where that pays.
//!
//! ```text
//! format (1) ‖ 0 ‖ postcard          as it is
//! format (1) ‖ 1 ‖ deflate(postcard)  where it saves an eighth or more
//! ```
//!
//! Compressing before encrypting tells an observer the length of what was compressed. That is harmless as long as nobody
//! can mix text of their choice with a secret here, so nothing that a visitor may choose per request, such as where to
//! return to, has a place in a session.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::model::Session;

/// The first byte. Postcard is not self-describing, so any change to [`Session`] or what is inside takes the next number.
const FORMAT: u8 = 4;
/// The second byte of what is written as it is.
const PLAIN: u8 = 0;
/// The second byte of what is deflated.
const DEFLATED: u8 = 1;
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
    let mut encoder = DeflateEncoder::new(vec![FORMAT, DEFLATED], Compression::default());
    encoder.write_all(&plain).map_err(|_| NotEncodable)?;
    let deflated = encoder.finish().map_err(|_| NotEncodable)?;
    if deflated.len() <= plain.len() - plain.len() / 8 {
        return Ok(deflated);
    }
    let mut bytes = vec![FORMAT, PLAIN];
    bytes.extend_from_slice(&plain);
    Ok(bytes)
}

/// The session that `bytes` are; `None` when they are none, have a byte too many, or unfold to more than
/// [`MAX_UNFOLDED`].
pub fn decode(bytes: &[u8]) -> Option<Session> {
    match bytes {
        [FORMAT, PLAIN, plain @ ..] => read(plain),
        [FORMAT, DEFLATED, deflated @ ..] => read(&inflate(deflated)?),
        _ => None,
    }
}

fn read(plain: &[u8]) -> Option<Session> {
    let (session, rest) = postcard::take_from_bytes(plain).ok()?;
    rest.is_empty().then_some(session)
}

/// In one go: what unfolds a stream makes 76 KiB of room ready first, which costs more than all else that opening a session takes.
fn inflate(deflated: &[u8]) -> Option<Vec<u8>> {
    decompress_to_vec_with_limit(deflated, MAX_UNFOLDED).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::model::Tokens;
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn a_session_survives_with_every_field() {
        let session = sample();
        assert_eq!(decode(&encode(&session).unwrap()).unwrap(), session);
    }

    #[test]
    fn what_repeats_is_deflated_and_what_does_not_is_left() {
        let mut session = sample();
        session.principal.groups = vec!["the same group".to_owned(); 100];
        let bytes = encode(&session).unwrap();
        assert_eq!(bytes[1], DEFLATED);
        assert!(bytes.len() < 1000, "{}", bytes.len());
        assert_eq!(decode(&bytes).unwrap(), session);

        // So short and so random that the tables of deflate would cost more than they save.
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
        session.tokens.access_token = Some("a".repeat(MAX_UNFOLDED));
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
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), flag in 0..2_u8) {
            let framed = [&[FORMAT, flag], bytes.as_slice()].concat();
            let _session = decode(&framed);
        }
    }
}
