//! The token by which a page of this site shows that it may write in the name of the person who is signed in.
//!
//! It is a keyed hash of the session's id, so nothing is stored and nothing of the session can be read from it. It lasts as long as the
//! session: a refresh and a renewal keep the id, a new sign-in draws another one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cookie::SessionCookies;
use crate::seal::aead::Purpose;

/// The token of the session with this id, in 43 unreserved characters.
pub fn token(sessions: &SessionCookies, id: &[u8; 16]) -> String {
    URL_SAFE_NO_PAD.encode(sessions.keyring().mac(Purpose::Csrf, &[id]))
}

/// Whether `shown` is the token of the session with this id. Takes as long for a wrong one as for the right one, and takes one that any
/// key of the ring made, so that keys rotate under pages that are open.
pub fn is_token(sessions: &SessionCookies, id: &[u8; 16], shown: &[u8]) -> bool {
    URL_SAFE_NO_PAD.decode(shown).is_ok_and(|mac| sessions.keyring().is_mac(Purpose::Csrf, &[id], &mac))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use secrecy::SecretString;

    use super::*;
    use crate::seal::keyring::Keyring;
    use crate::session::tests::settings;

    const KEYS: [&str; 2] =
        ["bm90IGEgc2VjcmV0IGJ1dCBhIGtleSBmb3IgdGVzdHM", "YW5vdGhlciBrZXkgdGhhdCBpcyBubyBzZWNyZXQgYXQgYWxs"];

    fn sessions(keys: &[&str]) -> SessionCookies {
        let keys: Vec<SecretString> = keys.iter().map(|key| SecretString::from(*key)).collect();
        SessionCookies::new(Arc::new(Keyring::new(&keys).unwrap()), &settings(), true)
    }

    #[test]
    fn a_token_is_of_one_session_and_stays_the_same() {
        let sessions = sessions(&KEYS[..1]);
        let token = token(&sessions, &[7; 16]);
        assert_eq!(token.len(), 43);
        assert_eq!(token, super::token(&sessions, &[7; 16]));
        assert!(is_token(&sessions, &[7; 16], token.as_bytes()));
        let mut other = [7; 16];
        other[15] = 8;
        assert!(!is_token(&sessions, &other, token.as_bytes()), "of another session");
        for wrong in
            ["", "x", token.get(..42).unwrap(), &format!("{token}A"), &format!("{token}="), &token.to_uppercase()]
        {
            assert!(!is_token(&sessions, &[7; 16], wrong.as_bytes()), "{wrong:?}");
        }
        for place in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[place] = if forged[place] == b'A' { b'Q' } else { b'A' };
            assert!(!is_token(&sessions, &[7; 16], &forged), "character {place}");
        }
    }

    #[test]
    fn keys_rotate_under_open_pages() {
        let before = token(&sessions(&KEYS[..1]), &[7; 16]);
        let (both, alone) = (sessions(&[KEYS[1], KEYS[0]]), sessions(&KEYS[1..]));
        assert!(is_token(&both, &[7; 16], before.as_bytes()));
        assert_ne!(token(&both, &[7; 16]), before, "the first key makes them");
        assert!(!is_token(&alone, &[7; 16], before.as_bytes()), "a key that left vouches for nothing");
    }
}
