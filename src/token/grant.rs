//! What a token endpoint is asked for, and what may be taken of its answer: pure, so that who asks can be anyone.
//!
//! Rules, each with a test:
//! 1. What is remembered is remembered for exactly what was asked: whose token, at which provider, for which upstream, with which form.
//! 2. The answer's token is a bearer token; one of another kind can't be sent as one (RFC 6749, section 7.1). An exchange that asked for
//!    a kind of token by name may get one that is no access token (`N_A`, RFC 8693, section 2.2.1).
//! 3. An exchange says what it issued, and that is what was asked for (RFC 8693, section 2.2.1).

use std::fmt;
use std::time::Duration;

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::life::told_life;
use super::purse::Kept;
use super::relay::bearer;
use super::text::{optional_token_text, token_text};
use crate::base::clock::Timestamp;
use crate::config::settings::{RequestedToken, SubjectToken, Target};
use crate::identity::principal::Principal;

/// How long a token lasts whose end nobody told (RFC 6749, section 5.1, lets it be told elsewhere).
const UNTOLD_LIFE: Duration = Duration::from_mins(1);
/// The longest life that is believed.
const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// A token is had anew this long before it ends, or a quarter of its life before where that is less.
const MARGIN: Duration = Duration::from_secs(30);

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// One request to a token endpoint.
#[derive(Clone)]
pub enum Grant {
    /// A token for another one (RFC 8693, section 2.1).
    Exchange {
        /// The token that the person has.
        subject: SecretString,
        /// What it is.
        kind: SubjectToken,
        /// What is asked for.
        requested: Option<RequestedToken>,
        /// What for.
        target: Target,
    },
    /// An access token for one resource (RFC 8707, section 2.2) by a refresh token (RFC 6749, section 6).
    Refresh {
        /// The refresh token.
        token: SecretString,
        /// The resource.
        resource: String,
        /// Scopes; those of the sign-in when empty.
        scopes: Vec<String>,
    },
    /// A token for the gateway itself (RFC 6749, section 4.4).
    ClientCredentials(Target),
}

/// Whose token it is.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// That of a session.
    Session(&'a [u8; 16], &'a Principal),
    /// That of a caller without a session.
    Caller(&'a Principal),
    /// The gateway's own.
    Gateway,
}

/// What names a token among those that are remembered: a hash of everything that it was asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// A token that was fetched.
#[derive(Clone)]
pub struct Fetched {
    value: HeaderValue,
    renew: Timestamp,
    ends: Timestamp,
    refresh_token: Option<SecretString>,
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched").field("renew", &self.renew).field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Grant {
    /// Its name, for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Exchange { .. } => "exchange",
            Self::Refresh { .. } => "resource",
            Self::ClientCredentials(_) => "client_credentials",
        }
    }

    /// The same for another refresh token, where it is for one at all.
    #[must_use]
    pub fn with_refresh_token(&self, token: SecretString) -> Self {
        match self {
            Self::Refresh { resource, scopes, .. } => {
                Self::Refresh { token, resource: resource.clone(), scopes: scopes.clone() }
            }
            Self::Exchange { .. } | Self::ClientCredentials(_) => self.clone(),
        }
    }

    /// The parameters of its form. They hold secrets.
    pub fn form(&self) -> Vec<(&'static str, &str)> {
        let mut form = Vec::new();
        match self {
            Self::Exchange { subject, kind, requested, target } => {
                form.push(("grant_type", TOKEN_EXCHANGE));
                form.push(("subject_token", subject.expose_secret()));
                form.push((
                    "subject_token_type",
                    match kind {
                        SubjectToken::AccessToken => ACCESS_TOKEN,
                        SubjectToken::IdToken => ID_TOKEN,
                    },
                ));
                if let Some(requested) = requested {
                    form.push(("requested_token_type", kind_of(*requested)));
                }
                target_form(target, &mut form);
            }
            Self::Refresh { token, resource, .. } => {
                form.push(("grant_type", "refresh_token"));
                form.push(("refresh_token", token.expose_secret()));
                form.push(("resource", resource));
            }
            Self::ClientCredentials(target) => {
                form.push(("grant_type", "client_credentials"));
                target_form(target, &mut form);
            }
        }
        form
    }

    /// The scopes that it asks for, as one text; `None` when it leaves them to the provider.
    pub fn scope(&self) -> Option<String> {
        let scopes = match self {
            Self::Exchange { target, .. } | Self::ClientCredentials(target) => &target.scopes,
            Self::Refresh { scopes, .. } => scopes,
        };
        (!scopes.is_empty()).then(|| scopes.join(" "))
    }

    /// What names its token among those that are remembered. The refresh token is no part of it: it may change at every use.
    pub fn key(&self, provider: &str, upstream: &str, whose: Whose<'_>) -> Key {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        let mut add = |part: &[u8]| {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        };
        add(provider.as_bytes());
        add(upstream.as_bytes());
        match whose {
            Whose::Session(session, principal) => {
                add(b"session");
                add(session);
                add(principal.issuer.as_bytes());
                add(principal.subject.as_bytes());
            }
            Whose::Caller(principal) => {
                add(b"caller");
                add(principal.issuer.as_bytes());
                add(principal.subject.as_bytes());
            }
            Whose::Gateway => add(b"gateway"),
        }
        for (name, value) in self.form().into_iter().filter(|(name, _)| *name != "refresh_token") {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        add(self.scope().unwrap_or_default().as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Key(key)
    }

    /// What may be taken of the answer, which came at `now`.
    ///
    /// # Errors
    /// Which rule it breaks; never any of it.
    pub fn take(&self, answer: &Map<String, Value>, now: Timestamp) -> Result<Fetched, String> {
        let token = token_text(answer, "access_token")?.ok_or("it has no access_token")?;
        self.check_kind(answer)?;
        let life = match told_life(answer) {
            None => UNTOLD_LIFE,
            Some(0) => return Err("its token has ended already".to_owned()),
            Some(seconds) => Duration::from_secs(seconds).min(LONGEST_LIFE),
        };
        let ends = now.after(life);
        // Whole seconds: a token of a few seconds is had anew for each of them.
        let renew = Timestamp::from_seconds(ends.seconds() - MARGIN.min(life / 4).as_secs());
        let refresh_token =
            optional_token_text(answer, "refresh_token")?.map(|text| SecretString::from(text.to_owned()));
        let value = bearer(token).ok_or("its token has a character that can't stand in a header")?;
        Ok(Fetched { value, renew, ends, refresh_token })
    }

    fn check_kind(&self, answer: &Map<String, Value>) -> Result<(), &'static str> {
        let kind = answer.get("token_type").and_then(Value::as_str).ok_or("it has no token_type")?;
        let is_bearer = kind.eq_ignore_ascii_case("Bearer");
        let Self::Exchange { requested, .. } = self else {
            return if is_bearer { Ok(()) } else { Err("its token_type is not Bearer") };
        };
        let issued = answer.get("issued_token_type").and_then(Value::as_str).ok_or("it has no issued_token_type")?;
        let fits = match requested {
            // An access token may be told as what it also is.
            None => issued == ACCESS_TOKEN || issued == JWT,
            Some(requested) => issued == kind_of(*requested),
        };
        let is_no_access_token =
            kind.eq_ignore_ascii_case("N_A") && requested.is_some_and(|kind| kind != RequestedToken::AccessToken);
        match (fits, is_bearer || is_no_access_token) {
            (false, _) => Err("its issued_token_type is not what was asked for"),
            (true, false) => Err("its token_type is not Bearer"),
            (true, true) => Ok(()),
        }
    }
}

impl Fetched {
    /// When a new one should be had.
    pub const fn renew(&self) -> Timestamp {
        self.renew
    }

    /// When it ends.
    pub const fn ends(&self) -> Timestamp {
        self.ends
    }

    /// A refresh token that takes the place of the one that was used (RFC 6749, section 6).
    pub const fn refresh_token(&self) -> Option<&SecretString> {
        self.refresh_token.as_ref()
    }

    /// As a worker keeps it.
    pub fn kept(&self) -> Kept {
        Kept { value: self.value.clone(), renew: self.renew, ends: self.ends, epoch: 0 }
    }

    /// Roughly what it takes up, in bytes.
    pub fn weight(&self) -> u32 {
        u32::try_from(self.value.len()).unwrap_or(u32::MAX).saturating_add(256)
    }
}

fn target_form<'a>(target: &'a Target, form: &mut Vec<(&'static str, &'a str)>) {
    form.extend(target.audience.iter().map(|audience| ("audience", audience.as_str())));
    form.extend(target.resource.iter().map(|resource| ("resource", resource.as_str())));
}

const fn kind_of(requested: RequestedToken) -> &'static str {
    match requested {
        RequestedToken::AccessToken => ACCESS_TOKEN,
        RequestedToken::Jwt => JWT,
        RequestedToken::IdToken => ID_TOKEN,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn exchange(requested: Option<RequestedToken>) -> Grant {
        let target = Target {
            audience: vec!["api".to_owned()],
            resource: Vec::new(),
            scopes: vec!["r".to_owned(), "w".to_owned()],
        };
        Grant::Exchange {
            subject: SecretString::from("subject".to_owned()),
            kind: SubjectToken::AccessToken,
            requested,
            target,
        }
    }

    fn refresh(token: &str, resource: &str) -> Grant {
        let token = SecretString::from(token.to_owned());
        Grant::Refresh { token, resource: resource.to_owned(), scopes: Vec::new() }
    }

    fn person(subject: &str) -> Principal {
        Principal {
            provider: "corp".into(),
            issuer: "https://login.example.com".to_owned(),
            subject: subject.to_owned(),
            ..Principal::default()
        }
    }

    fn take(grant: &Grant, answer: &Value) -> Result<Fetched, String> {
        grant.take(answer.as_object().unwrap(), NOW)
    }

    #[test]
    fn each_grant_asks_in_the_words_of_its_rfc() {
        let grant = exchange(Some(RequestedToken::Jwt));
        assert_eq!(
            grant.form(),
            [
                ("grant_type", TOKEN_EXCHANGE),
                ("subject_token", "subject"),
                ("subject_token_type", ACCESS_TOKEN),
                ("requested_token_type", JWT),
                ("audience", "api"),
            ]
        );
        assert_eq!(grant.scope().as_deref(), Some("r w"));
        let grant = refresh("rt", "https://api.example.com");
        assert_eq!(
            grant.form(),
            [("grant_type", "refresh_token"), ("refresh_token", "rt"), ("resource", "https://api.example.com")]
        );
        assert_eq!(grant.scope(), None);
        assert_eq!(Grant::ClientCredentials(Target::default()).form(), [("grant_type", "client_credentials")]);
        assert!(!format!("{:?}", exchange(None)).contains("subject"));
    }

    #[test]
    fn what_is_remembered_is_for_exactly_what_was_asked() {
        let (alice, bob) = (person("alice"), person("bob"));
        let base = |grant: &Grant| grant.key("corp", "api", Whose::Session(&[1; 16], &alice));
        let first = base(&exchange(None));
        assert_eq!(first, base(&exchange(None)));
        let mut others = vec![
            base(&exchange(Some(RequestedToken::Jwt))),
            base(&refresh("rt", "https://api.example.com")),
            base(&refresh("rt", "https://other.example.com")),
            exchange(None).key("other", "api", Whose::Session(&[1; 16], &alice)),
            exchange(None).key("corp", "other", Whose::Session(&[1; 16], &alice)),
            exchange(None).key("corp", "api", Whose::Session(&[2; 16], &alice)),
            exchange(None).key("corp", "api", Whose::Session(&[1; 16], &bob)),
            exchange(None).key("corp", "api", Whose::Caller(&alice)),
            exchange(None).key("corp", "api", Whose::Caller(&bob)),
            exchange(None).key("corp", "api", Whose::Gateway),
        ];
        if let Grant::Exchange { target, .. } = exchange(None) {
            let subject = SecretString::from("another".to_owned());
            others.push(base(&Grant::Exchange { subject, kind: SubjectToken::AccessToken, requested: None, target }));
        }
        for (index, key) in others.iter().enumerate() {
            assert_ne!(*key, first, "{index}");
            assert!(!others[..index].contains(key), "{index}");
        }
        assert_eq!(base(&refresh("one", "https://api.example.com")), base(&refresh("two", "https://api.example.com")));
    }

    #[test]
    fn a_good_answer_is_good_until_shortly_before_its_end() {
        let answer = |seconds: Value| json!({"access_token": "at", "token_type": "bearer", "expires_in": seconds});
        let grant = Grant::ClientCredentials(Target::default());
        for (seconds, renew, ends) in [
            (json!(300), 1_270, 1_300),
            (json!(40), 1_030, 1_040),
            (json!(2), 1_002, 1_002),
            (json!("300"), 1_270, 1_300),
            (Value::Null, 1_045, 1_060),
            (json!(-1), 1_045, 1_060),
            (json!("soon"), 1_045, 1_060),
        ] {
            let fetched = take(&grant, &answer(seconds.clone())).unwrap();
            assert_eq!((fetched.renew().seconds(), fetched.ends().seconds()), (renew, ends), "{seconds}");
        }
        let fetched = take(&grant, &answer(json!(300))).unwrap();
        assert_eq!(fetched.kept().value, "Bearer at");
        assert!(fetched.kept().value.is_sensitive() && !format!("{fetched:?}").contains("at\""));
        assert!(take(&grant, &answer(json!(u64::MAX))).unwrap().ends().seconds() <= 1_000 + 86_400);
    }

    #[test]
    fn what_can_not_be_sent_as_a_bearer_token_is_refused() {
        let good = json!({"access_token": "at", "token_type": "Bearer"});
        let grant = Grant::ClientCredentials(Target::default());
        assert!(take(&grant, &good).is_ok());
        for (name, value) in [
            ("access_token", Value::Null),
            ("access_token", json!("")),
            ("access_token", json!("a b")),
            ("access_token", json!("a\r\nX: y")),
            ("access_token", json!(["at"])),
            ("access_token", json!("a".repeat(20_000))),
            ("token_type", Value::Null),
            ("token_type", json!("DPoP")),
            ("token_type", json!("N_A")),
            ("expires_in", json!(0)),
            ("expires_in", json!("0")),
            ("refresh_token", json!("a b")),
        ] {
            let mut answer = good.clone();
            answer[name] = value;
            assert!(take(&grant, &answer).is_err(), "{name}: {}", answer[name]);
        }
    }

    #[test]
    fn an_exchange_gives_the_kind_that_was_asked_for() {
        let answer =
            |issued: &str, kind: &str| json!({"access_token": "t", "issued_token_type": issued, "token_type": kind});
        for (requested, issued, kind, fits) in [
            (None, ACCESS_TOKEN, "Bearer", true),
            (None, JWT, "Bearer", true),
            (None, ID_TOKEN, "Bearer", false),
            (None, ACCESS_TOKEN, "N_A", false),
            (None, "urn:ietf:params:oauth:token-type:saml2", "Bearer", false),
            (Some(RequestedToken::AccessToken), ACCESS_TOKEN, "Bearer", true),
            (Some(RequestedToken::AccessToken), JWT, "Bearer", false),
            (Some(RequestedToken::AccessToken), ACCESS_TOKEN, "N_A", false),
            (Some(RequestedToken::Jwt), JWT, "N_A", true),
            (Some(RequestedToken::IdToken), ID_TOKEN, "N_A", true),
            (Some(RequestedToken::IdToken), ACCESS_TOKEN, "Bearer", false),
        ] {
            assert_eq!(
                take(&exchange(requested), &answer(issued, kind)).is_ok(),
                fits,
                "{requested:?} {issued} {kind}"
            );
        }
        assert!(take(&exchange(None), &json!({"access_token": "t", "token_type": "Bearer"})).is_err());
    }
}
