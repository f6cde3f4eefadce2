//! Authorization URLs by the dozen: the library writes the first of a kind, and the next ones differ in what is new each time alone.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::known::Known;
use crate::provider::Begin;
use crate::session::flow::Pending;

/// The last kind of URL that was written.
#[derive(Default)]
pub(super) struct Departures {
    last: ArcSwapOption<Departure>,
}

/// A URL taken apart at state, nonce and challenge.
struct Departure {
    /// The metadata that it stands on.
    known: Arc<Known>,
    begin: Begin,
    /// Each piece with what follows it.
    pieces: Vec<(String, Fresh)>,
    end: String,
}

/// What is new each time.
#[derive(Clone, Copy)]
enum Fresh {
    State,
    Nonce,
    Challenge,
}

impl Departures {
    /// The URL for `pending`, if the last one that was kept was of the same kind.
    pub(super) fn url(&self, known: &Arc<Known>, begin: &Begin, pending: &Pending) -> Option<String> {
        let last = self.last.load();
        let kept = last.as_deref().filter(|kept| Arc::ptr_eq(&kept.known, known) && kept.begin == *begin)?;
        let challenge = challenge(pending);
        let mut url = String::with_capacity(kept.pieces.iter().map(|(piece, _)| piece.len() + 43).sum::<usize>() + 128);
        for (piece, fresh) in &kept.pieces {
            url.push_str(piece);
            url.push_str(value(*fresh, pending, &challenge));
        }
        url.push_str(&kept.end);
        Some(url)
    }

    /// Keeps the kind of `url`, which the library wrote for `pending`. One in which a fresh value is not there exactly once is no
    /// pattern for others.
    pub(super) fn keep(&self, known: &Arc<Known>, begin: &Begin, pending: &Pending, url: &str) {
        let challenge = challenge(pending);
        let mut places = Vec::new();
        for fresh in [Fresh::State, Fresh::Nonce, Fresh::Challenge] {
            let value = value(fresh, pending, &challenge);
            let mut found = url.match_indices(value);
            let (Some((at, _)), None) = (found.next(), found.next()) else { return };
            places.push((at, value.len(), fresh));
        }
        places.sort_unstable_by_key(|(at, ..)| *at);
        let (mut pieces, mut from) = (Vec::with_capacity(places.len()), 0);
        for (at, length, fresh) in places {
            let Some(piece) = url.get(from..at) else { return };
            pieces.push((piece.to_owned(), fresh));
            from = at + length;
        }
        let end = url.get(from..).unwrap_or_default().to_owned();
        self.last.store(Some(Arc::new(Departure { known: Arc::clone(known), begin: begin.clone(), pieces, end })));
    }
}

/// The PKCE challenge of the verifier (RFC 7636, section 4.2).
fn challenge(pending: &Pending) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, pending.verifier.as_bytes()))
}

fn value<'v>(fresh: Fresh, pending: &'v Pending, challenge: &'v str) -> &'v str {
    match fresh {
        Fresh::State => &pending.state,
        Fresh::Nonce => &pending.nonce,
        Fresh::Challenge => challenge,
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::{metadata, settings};
    use super::*;
    use crate::jose::jwk::KeySet;
    use crate::provider::oidc::authorize;

    fn known() -> Arc<Known> {
        let keys = KeySet::parse(br#"{"keys":[]}"#).unwrap();
        Arc::new(Known { metadata: metadata("https://idp.example"), keys })
    }

    fn asked(redirect_uri: &str) -> Begin {
        Begin {
            redirect_uri: redirect_uri.to_owned(),
            parameters: Vec::new(),
            wanted: crate::policy::wanted::Wanted::default(),
        }
    }

    #[test]
    fn a_pattern_gives_what_the_library_would_write() {
        let (settings, known, departures) = (settings("https://idp.example"), known(), Departures::default());
        let begin = asked("https://app.example/.auth/callback/corp");
        let (first, pending) = authorize::begin(&settings, &known.metadata, &begin).unwrap();
        assert_eq!(departures.url(&known, &begin, &pending), None, "nothing is kept yet");
        departures.keep(&known, &begin, &pending, &first);
        assert_eq!(departures.url(&known, &begin, &pending), Some(first));
        let (second, other) = authorize::begin(&settings, &known.metadata, &begin).unwrap();
        assert_eq!(departures.url(&known, &begin, &other), Some(second));
    }

    #[test]
    fn other_metadata_and_other_redirect_uris_are_other_kinds() {
        let (settings, departures) = (settings("https://idp.example"), Departures::default());
        let (known, begin) = (known(), asked("https://app.example/.auth/callback/corp"));
        let (url, pending) = authorize::begin(&settings, &known.metadata, &begin).unwrap();
        departures.keep(&known, &begin, &pending, &url);
        assert!(departures.url(&known, &asked("https://other.example/.auth/callback/corp"), &pending).is_none());
        assert!(departures.url(&self::known(), &begin, &pending).is_none());
    }
}
