//! What the endpoints know of the gateway: immutable, shared by every worker, made from the settings by the server.

use std::sync::Arc;

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::base::clock::{Clock, Timestamp};
use crate::base::office::Office;
use crate::endpoint::pace::Pace;
use crate::http::return_to::ReturnTo;
use crate::http::visit::{SiteOrigin, Visit};
use crate::identity::preset::KeysForm;
use crate::provider::Provider;
use crate::session::cookie::{Reading, SessionCookies};
use crate::session::ended::{EndedSessions, Mark};
use crate::session::flow::FlowCookies;
use crate::session::key_desk::KeyDesk;
use crate::session::model::{Lifetimes, Session};
use crate::session::refresh::refreshes::{NOT_IN_THE_BROWSER, Refreshes};
use crate::session::stored::{Lodging, Peek, Place, StoredSessions};
use crate::session::ticket::Ticket;
use crate::token::signer::Signer;

/// One way to sign in.
#[derive(Clone)]
pub struct Offer {
    /// Who signs people in.
    pub provider: Arc<Provider>,
    /// Parameters that a visitor may give to `/login` for this provider, besides `login_hint`.
    pub login_parameters: Vec<String>,
}

/// What a visitor's cookies lead to.
#[derive(Debug)]
pub enum Held {
    /// No session.
    Nothing,
    /// A session that may be used.
    Session(Arc<Session>),
    /// The key to a session in a store that gives no answer: nobody knows.
    Unknown,
}

/// What the visitor's cookies have of a session.
#[derive(Debug)]
pub enum Carried {
    /// Nothing that may be used.
    Nothing,
    /// The key to a session in a store that gives no answer.
    Unknown,
    /// The session itself.
    Text(Arc<Session>),
    /// The key to a session in a store.
    Key(Arc<Session>, Ticket),
}

/// What the endpoints know of the gateway.
#[derive(Clone)]
pub struct Site {
    /// The path below which the endpoints live, without a slash at its end: `/.auth`.
    pub prefix: String,
    /// The time.
    pub clock: Clock,
    /// Where calls to providers are made.
    pub office: Office,
    /// Who signs people in, in the order in which people see them.
    pub offers: Vec<Offer>,
    /// The cookies of sessions.
    pub sessions: Arc<SessionCookies>,
    /// The cookies of sign-ins on their way.
    pub flows: Arc<FlowCookies>,
    /// Where to ask that the session keys be read anew.
    pub key_desk: KeyDesk,
    /// How long sessions last.
    pub lifetimes: Lifetimes,
    /// Sessions that were ended before their time.
    pub ended: EndedSessions,
    /// How often an address may end sessions through the provider's page.
    pub front_channel: Pace,
    /// What signs our assertions.
    pub signer: Arc<Signer>,
    /// Paths outside the prefix where applications look for its public keys.
    pub key_paths: Vec<(String, KeysForm)>,
    /// What is known of sessions whose tokens were refreshed.
    pub refreshes: Arc<Refreshes>,
    /// Sessions that live in a store, where there is one.
    pub stored: Option<StoredSessions>,
    /// Other origins that `return_to` may lead to.
    pub return_to_origins: Vec<Url>,
    /// The session cookie's name without a prefix; the cookie of a sign-out on its way derives its own from it.
    pub cookie_name: String,
}

impl Site {
    /// Whether `path` is the endpoints' to answer; no route of the config ever is.
    pub fn owns(&self, path: &str) -> bool {
        owns(&self.prefix, path) || self.keys_at(path).is_some()
    }

    /// In what form the public keys of our assertions are shown at a path outside the prefix.
    pub fn keys_at(&self, path: &str) -> Option<KeysForm> {
        self.key_paths.iter().find(|(known, _)| known == path).map(|(_, form)| *form)
    }

    /// The path of an endpoint; `below` begins with a slash.
    pub fn path(&self, below: &str) -> String {
        format!("{}{below}", self.prefix)
    }

    /// The path that begins a sign-in and leads on to `return_to`: with `provider`, or by whichever the person chooses.
    pub fn login_path(&self, provider: Option<&str>, return_to: &ReturnTo) -> String {
        self.login_path_with(provider, &[("return_to", return_to.as_str())])
    }

    /// The path that lets a person sign in as somebody else.
    pub fn switch_path(&self, return_to: &ReturnTo) -> String {
        self.login_path_with(None, &[("prompt", "select_account"), ("return_to", return_to.as_str())])
    }

    /// The path that begins a sign-in, with these parameters.
    pub(crate) fn login_path_with(&self, provider: Option<&str>, parameters: &[(&str, &str)]) -> String {
        let path = provider.map_or_else(|| self.path("/login"), |name| self.path(&format!("/login/{name}")));
        let query = Serializer::new(String::new()).extend_pairs(parameters).finish();
        if query.is_empty() { path } else { format!("{path}?{query}") }
    }

    /// Whether `target` is below our own endpoints, however it is spelt.
    fn is_own(&self, target: &ReturnTo, visit: &Visit) -> bool {
        let text = target.as_str();
        // A path without escapes is spelt in one way only, and dots were refused before.
        if text.starts_with('/') && !text.contains('%') {
            return self.owns(text.split(['?', '#']).next().unwrap_or_default());
        }
        Url::parse(&target.location(&visit.site)).is_ok_and(|url| {
            url.origin() == visit.site.url().origin() && self.owns(&percent_decode_str(url.path()).decode_utf8_lossy())
        })
    }

    /// The redirect URI of a provider: one each, so that an answer tells by its path whose it is (RFC 9700, section 4.4.2.2).
    pub fn redirect_uri(&self, origin: &SiteOrigin, provider: &str) -> String {
        origin.at(&self.path(&format!("/callback/{provider}")))
    }

    /// The provider of this name.
    pub fn offer(&self, name: &str) -> Option<&Offer> {
        self.offers.iter().find(|offer| &**offer.provider.name() == name)
    }

    /// Where a browser may be sent after a sign-in: a path of this site or a URL at a configured origin, else `/`
    /// (RFC 9700, section 4.11.1). An endpoint of ours is no such place: `/login` would begin anew without end, and
    /// `/logout` would undo the sign-in.
    pub fn return_to(&self, visit: &Visit, text: Option<&str>) -> ReturnTo {
        let root = || ReturnTo::parse("/", &[], &visit.site, &self.prefix);
        let Some(text) = text else { return root() };
        let target = ReturnTo::parse(text, &self.return_to_origins, &visit.site, &self.prefix);
        if self.is_own(&target, visit) { root() } else { target }
    }

    /// The visitor's session, if it opens and is alive: its newest text, whichever the browser has. Reading it here doesn't count as use.
    pub fn session(&self, visit: &Visit, headers: &HeaderMap) -> Option<Arc<Session>> {
        match self.held(visit, headers) {
            Held::Session(session) => Some(session),
            Held::Nothing | Held::Unknown => None,
        }
    }

    /// What the visitor's cookies lead to, in the browser or in a store; there what is at hand, see [`Self::bring`].
    pub fn held(&self, visit: &Visit, headers: &HeaderMap) -> Held {
        let now = self.clock.now();
        let (session, carried) = match self.carried(visit, headers) {
            Carried::Nothing => return Held::Nothing,
            Carried::Unknown => return Held::Unknown,
            Carried::Text(session) => (Arc::clone(&session), session.version),
            Carried::Key(session, _) => (session, NOT_IN_THE_BROWSER),
        };
        match self.refreshes.newest(&session, carried, now) {
            Some(newest) if self.admits(&newest, now) => Held::Session(newest),
            _ => Held::Nothing,
        }
    }

    /// As [`Self::held`], but as the browser or the store has it: there may be a newer text of it.
    pub fn carried(&self, visit: &Visit, headers: &HeaderMap) -> Carried {
        let now = self.clock.now();
        let carried = match self.sessions.read(headers, visit.site.host(), now) {
            Reading::Open(opened) => Carried::Text(Arc::new(opened.session)),
            Reading::Stored(opened) => match self.stored.as_ref().map(|stored| stored.peek(&opened.ticket)) {
                Some(Peek::Here(kept)) => Carried::Key(Arc::clone(kept.session()), opened.ticket),
                Some(Peek::Unknown) => return Carried::Unknown,
                Some(Peek::Gone | Peek::Unusable) | None => return Carried::Nothing,
            },
            Reading::Absent | Reading::Broken(_) => return Carried::Nothing,
        };
        match &carried {
            Carried::Text(session) | Carried::Key(session, _) if !self.admits(session, now) => Carried::Nothing,
            _ => carried,
        }
    }

    /// Brings the session to hand that the visitor's cookies are the key to, if they are one. Waits for the store when nothing usable
    /// is known of it; how that went is found by whoever looks next.
    pub async fn bring(&self, visit: &Visit, headers: &HeaderMap) {
        let Some(stored) = &self.stored else { return };
        let host = visit.site.host();
        if let Reading::Stored(opened) = self.sessions.read(headers, host, self.clock.now()) {
            self.fetch(stored, opened.ticket, host).await;
        }
    }

    /// Brings the session of `ticket` to hand: what is a little old is read anew in the background, and used meanwhile.
    pub async fn fetch(&self, stored: &StoredSessions, ticket: Ticket, host: &str) {
        let (sessions, host) = (stored.clone(), host.to_owned());
        match stored.peek(&ticket) {
            Peek::Here(kept) if !kept.is_outdated() => {
                if stored.is_due(&kept) && stored.claim(&kept) {
                    self.office.accompany(async move { drop(sessions.reread(&ticket, &host).await) });
                }
            }
            Peek::Gone | Peek::Unusable => {}
            Peek::Here(_) | Peek::Unknown => {
                drop(self.office.run(async move { drop(sessions.get(&ticket, &host).await) }).await);
            }
        }
    }

    /// Where a session lives that was found at `place`, while its tokens change.
    pub fn lodging(&self, place: Place<'_>) -> Lodging {
        Lodging::new(&self.sessions, self.stored.as_ref(), place)
    }

    /// Ends the one session that the visitor's cookies hold, also while the store in which it lives is away.
    pub fn end_session(&self, visit: &Visit, headers: &HeaderMap) {
        match self.sessions.read(headers, visit.site.host(), self.clock.now()) {
            Reading::Open(opened) => {
                let id = opened.session.id;
                self.ended.end(Mark::on_session(&id), self.clock.now());
                // These may be the cookies from before it moved, and another gateway the one that moved it.
                if let (Some(stored), Ok(ticket)) = (&self.stored, Ticket::of_moved(id)) {
                    stored.remove(&ticket);
                }
            }
            Reading::Stored(opened) => {
                self.ended.end(Mark::on_session(opened.ticket.id()), self.clock.now());
                if let Some(stored) = &self.stored {
                    stored.remove(&opened.ticket);
                }
            }
            Reading::Absent | Reading::Broken(_) => {}
        }
    }

    /// Whether a session that opened may still be used: it lives, nobody ended it, and the provider that it is from is configured
    /// as it was then.
    pub fn admits(&self, session: &Session, now: Timestamp) -> bool {
        let principal = &session.principal;
        now < self.ends(session)
            && !self.ended.holds(session)
            && self.offer(&principal.provider).is_some_and(|offer| offer.provider.issuer() == principal.issuer)
    }

    /// When a session is over if it is not used again.
    pub fn ends(&self, session: &Session) -> Timestamp {
        self.lifetimes.ends(session).min(self.proof_ends(session))
    }

    /// When a session is over however much it is used: nothing that it opened stays open beyond that.
    pub fn last_moment(&self, session: &Session) -> Timestamp {
        session.created.after(self.lifetimes.absolute).min(self.proof_ends(session))
    }

    fn proof_ends(&self, session: &Session) -> Timestamp {
        let offer = self.offer(&session.principal.provider);
        offer.map_or(Timestamp::from_seconds(u64::MAX), |offer| offer.provider.proof_ends(session))
    }
}

/// Whether `path` belongs to endpoints below `prefix`: whole segments of it.
pub fn owns(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use crate::endpoint::kit::{browser, get, signed_in, site};

    #[tokio::test]
    async fn the_prefix_is_a_whole_segment() {
        let site = site(&["corp"]);
        for ours in ["/.auth", "/.auth/", "/.auth/login"] {
            assert!(site.owns(ours), "{ours}");
        }
        for other in ["/.authx", "/", "/x/.auth", "/.AUTH/login"] {
            assert!(!site.owns(other), "{other}");
        }
    }

    #[tokio::test]
    async fn return_to_leads_nowhere_else_and_not_into_our_own_endpoints() {
        let (site, visit) = (site(&["corp"]), browser());
        let to = |text| site.return_to(&visit, Some(text)).location(&visit.site);
        assert_eq!(to("/page?a=b"), "https://app.example.com/page?a=b");
        assert_eq!(to("https://front.example.com/x"), "https://front.example.com/x");
        for bad in [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example/",
            "javascript:alert(1)",
            "/.auth/logout",
            "/.auth/login/corp?return_to=/",
            "/%2eauth/login",
            "https://app.example.com/.auth/logout",
        ] {
            assert_eq!(to(bad), "https://app.example.com/", "{bad}");
        }
    }

    #[tokio::test]
    async fn paths_carry_their_parameters_encoded() {
        let (site, visit) = (site(&["corp"]), browser());
        let target = site.return_to(&visit, Some("/a?b=c&d=e"));
        assert_eq!(site.login_path(Some("corp"), &target), "/.auth/login/corp?return_to=%2Fa%3Fb%3Dc%26d%3De");
        assert_eq!(site.switch_path(&target), "/.auth/login?prompt=select_account&return_to=%2Fa%3Fb%3Dc%26d%3De");
        assert_eq!(site.redirect_uri(&visit.site, "corp"), "https://app.example.com/.auth/callback/corp");
    }

    #[tokio::test]
    async fn a_session_past_its_time_is_none() {
        let (site, visit) = (site(&["corp"]), browser());
        let parts = get("/", &[("cookie", &signed_in(&site))]);
        assert!(site.session(&visit, &parts.headers).is_some());
        site.clock.advance(site.lifetimes.idle);
        assert!(site.session(&visit, &parts.headers).is_none());
    }
}
