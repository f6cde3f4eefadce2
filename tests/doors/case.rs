//! One case of the table: what is asked, by whom, and what becomes of it, at every door or at some.

use Outcome::{Forbidden, Malformed, Misdirected, Nowhere, Pass, SignIn, Unauthorized};

use crate::tokens::Token;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// Nobody: no cookie.
    Nobody,
    /// Signed in, with the roles user and admin, in the group staff, with a verified address at example.com.
    Alice,
    /// Signed in, with the role user alone.
    Bob,
    /// Alice's cookie as it is at the other host, where it was not made.
    AliceElsewhere,
    /// Was signed in and has signed out since; the cookie is still sent.
    Ended,
    /// A cookie that was never made by anybody.
    Garbage,
    /// Alice's cookie with its last character changed.
    Tampered,
    /// Two session cookies, of which one is Alice's.
    Twice,
    /// A cookie of Alice's sealed with a key that is not ours.
    OtherKey,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It goes to the upstream, which is told of this person, or of nobody.
    Pass(Option<&'static str>),
    /// 302 or 303 to sign in.
    SignIn,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 400.
    Malformed,
    /// 404.
    Nowhere,
    /// 421.
    Misdirected,
    /// Another status.
    Status(u16),
}

impl Outcome {
    /// The statuses by which a visitor is told, when it is no pass.
    pub(crate) fn statuses(self) -> &'static [u16] {
        match self {
            Pass(_) => &[200],
            SignIn => &[302, 303],
            Unauthorized => &[401],
            Forbidden => &[403],
            Malformed => &[400],
            Nowhere => &[404],
            Misdirected => &[421],
            Self::Status(204) => &[204],
            Self::Status(405) => &[405],
            Self::Status(414) => &[414],
            Self::Status(status) => panic!("no case should come to {status}"),
        }
    }
}

/// A front proxy, or a way to ask without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Proxy,
    Verify,
    ExtAuthz,
    Nginx,
    Caddy,
    Haproxy,
    Apache,
    EnvoyHttp,
    EnvoyGrpc,
    Explain,
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) method: &'static str,
    pub(crate) host: &'static str,
    pub(crate) target: &'static str,
    pub(crate) who: Who,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    /// The access token that comes with it.
    pub(crate) token: Option<Token>,
    pub(crate) expected: Outcome,
    /// What `WWW-Authenticate` has to hold, in one line.
    pub(crate) challenge: &'static [&'static str],
    /// Doors at which something else becomes of it, since the request that comes to them is another one.
    pub(crate) elsewhere: Vec<(Door, Outcome)>,
    /// Front proxies that answer by themselves before anybody is asked, with the status that the visitor gets from them. The upstream
    /// never sees such a request, so this is never laxer.
    pub(crate) by_itself: Vec<(Door, u16)>,
}

pub(crate) const APP: &str = "app.example.com";
pub(crate) const API: &str = "api.example.com";

/// What a browser says when a person opens a page.
const PAGE: (&str, &str) = ("Accept", "text/html,*/*;q=0.8");
/// What a script of a page says.
const SCRIPT: (&str, &str) = ("Sec-Fetch-Mode", "cors");

pub(crate) fn case(
    method: &'static str,
    host: &'static str,
    target: &'static str,
    who: Who,
    expected: Outcome,
) -> Case {
    let headers = vec![PAGE];
    let (elsewhere, by_itself) = (Vec::new(), Vec::new());
    Case { method, host, target, who, headers, token: None, expected, challenge: &[], elsewhere, by_itself }
}

pub(crate) fn get(target: &'static str, who: Who, expected: Outcome) -> Case {
    case("GET", APP, target, who, expected)
}

impl Case {
    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// As a script asks, not a person.
    pub(crate) fn by_script(mut self) -> Self {
        self.headers = vec![SCRIPT, ("Accept", "application/json")];
        self
    }

    pub(crate) fn at(mut self, door: Door, expected: Outcome) -> Self {
        self.elsewhere.push((door, expected));
        self
    }

    /// The case as it is at a door.
    pub(crate) fn seen_from(&self, door: Door) -> Self {
        let other = self.elsewhere.iter().find(|(known, _)| *known == door);
        Self { expected: other.map_or(self.expected, |(_, expected)| *expected), ..self.clone() }
    }

    /// These proxies answer by themselves.
    pub(crate) fn but(mut self, doors: &[Door], status: u16) -> Self {
        self.by_itself.extend(doors.iter().map(|door| (*door, status)));
        self
    }

    /// How a failure names it.
    pub(crate) fn name(&self) -> String {
        let headers: Vec<String> = self.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let token = self.token.map(|token| format!(" with the token {token:?}")).unwrap_or_default();
        format!("{} {}{} by {:?}{token} [{}]", self.method, self.host, self.target, self.who, headers.join("; "))
    }

    /// Whether the upstream sees a token in `Authorization`: one that is fetched for it, or one that no route of ours takes.
    pub(crate) fn leaves_a_token(&self) -> bool {
        let is_for_us = self.target.starts_with("/machine/");
        let is_asked_for = self.target.starts_with("/token/") || self.target.starts_with("/machine/relay/");
        is_asked_for || (self.token.is_some() && !is_for_us)
    }
}
