//! The names of our cookies, and telling them from everybody else's.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The prefix that a browser takes as a promise: `Secure`, `Path=/`, no `Domain`, so that neither a sibling host nor plain
/// HTTP can set such a cookie (RFC 6265bis, section 4.1.3.2).
const HOST_PREFIX: &str = "__Host-";
/// What stands between the session's name and that of a flow.
const FLOW: &str = "-flow-";
/// Bytes of a hash that make a flow's own part, and its characters.
const FLOW_BYTES: usize = 9;
const FLOW_LEN: usize = FLOW_BYTES / 3 * 4;
/// The most cookies that one session is spread over.
pub const MAX_CHUNKS: usize = 64;

/// The names of all our cookies on one site. They are sent exactly so; names that differ are not read.
#[derive(Clone, Debug)]
pub struct CookieNames {
    base: String,
}

/// What one of our cookies is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieKind {
    /// A piece of the session; the first has index 0. Below [`MAX_CHUNKS`].
    Session(usize),
    /// A flow.
    Flow,
}

impl CookieNames {
    /// The names that stand on `cookie_name`. `secure` says that browsers reach this site over TLS; without it they
    /// would refuse the prefix, so the names go without.
    pub fn new(cookie_name: &str, secure: bool) -> Self {
        let prefix = if secure { HOST_PREFIX } else { "" };
        Self { base: format!("{prefix}{cookie_name}") }
    }

    /// The session's first cookie, whose name all the others begin with.
    pub fn session(&self) -> &str {
        &self.base
    }

    /// The session's cookie of this index: the first has no number.
    pub fn chunk(&self, index: usize) -> String {
        if index == 0 { self.base.clone() } else { format!("{}.{index}", self.base) }
    }

    /// The cookie of the flow with this `state`. It tells nothing of the state, of which it is a hash.
    pub fn flow(&self, state: &str) -> String {
        let hash = digest::digest(&digest::SHA256, state.as_bytes());
        let short = hash.as_ref().get(..FLOW_BYTES).unwrap_or_default();
        let mut name = String::with_capacity(self.base.len() + FLOW.len() + FLOW_LEN);
        name.push_str(&self.base);
        name.push_str(FLOW);
        URL_SAFE_NO_PAD.encode_string(short, &mut name);
        name
    }

    /// What the cookie of this name is for; `None` when it is not one that we set.
    pub fn kind(&self, name: &[u8]) -> Option<CookieKind> {
        let rest = name.strip_prefix(self.base.as_bytes())?;
        if rest.is_empty() {
            return Some(CookieKind::Session(0));
        }
        if let Some(flow) = rest.strip_prefix(FLOW.as_bytes()) {
            let known = flow.len() == FLOW_LEN
                && flow.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            return known.then_some(CookieKind::Flow);
        }
        chunk_index(rest.strip_prefix(b".")?).map(CookieKind::Session)
    }

    /// Whether a cookie of this name belongs to us: it is never sent to an upstream, and an upstream's `Set-Cookie` of
    /// that name never reaches the browser. Wider than [`Self::kind`]: browsers compare the prefix without regard to case
    /// (RFC 6265bis, section 5.4), so every spelling counts, and so does every number and every flow.
    pub fn is_ours(&self, name: &[u8]) -> bool {
        let Some((base, rest)) = name.split_at_checked(self.base.len()) else { return false };
        if !base.eq_ignore_ascii_case(self.base.as_bytes()) {
            return false;
        }
        let is_flow = || rest.get(..FLOW.len()).is_some_and(|part| part.eq_ignore_ascii_case(FLOW.as_bytes()));
        let is_chunk = || rest.strip_prefix(b".").is_some_and(|number| number.iter().all(u8::is_ascii_digit));
        rest.is_empty() || is_flow() || is_chunk()
    }
}

/// The index that one or two digits without a leading zero name, if there may be such a chunk.
fn chunk_index(digits: &[u8]) -> Option<usize> {
    if digits.len() > 2 || digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|&index| index < MAX_CHUNKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_there_exactly_where_browsers_accept_it() {
        assert_eq!(CookieNames::new("portcullis", true).session(), "__Host-portcullis");
        assert_eq!(CookieNames::new("portcullis", false).session(), "portcullis");
    }

    #[test]
    fn every_name_that_we_give_is_known_again() {
        for names in [CookieNames::new("portcullis", true), CookieNames::new("portcullis", false)] {
            for index in 0..MAX_CHUNKS {
                let name = names.chunk(index);
                assert_eq!(names.kind(name.as_bytes()), Some(CookieKind::Session(index)));
                assert!(names.is_ours(name.as_bytes()));
            }
            let flow = names.flow("state");
            assert_eq!(names.kind(flow.as_bytes()), Some(CookieKind::Flow));
            assert!(names.is_ours(flow.as_bytes()));
            assert_ne!(flow, names.flow("another"));
            assert!(flow.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')), "{flow}");
        }
    }

    #[test]
    fn other_spellings_are_ours_to_strip_but_never_read() {
        let names = CookieNames::new("portcullis", true);
        for name in [
            "__host-portcullis",
            "__HOST-PORTCULLIS",
            "__Host-Portcullis.1",
            "__Host-portcullis.99999",
            "__Host-portcullis.01",
            "__Host-portcullis-FLOW-abc",
            "__Host-portcullis-flow-",
        ] {
            assert!(names.is_ours(name.as_bytes()), "{name}");
            assert_eq!(names.kind(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn an_applications_cookies_stay_its_own() {
        let names = CookieNames::new("app", false);
        for name in ["", "ap", "apple", "app-theme", "app_1", "app.theme", "app.1x", "my-app", "app-flows"] {
            assert!(!names.is_ours(name.as_bytes()), "{name}");
            assert_eq!(names.kind(name.as_bytes()), None, "{name}");
        }
        assert!(!CookieNames::new("app", true).is_ours(b"app"), "without the prefix it is another cookie");
    }
}
