//! What the provider remembers: sign-ins, codes, access and refresh tokens; all in memory, all with an end.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::base::clock::Timestamp;
use crate::base::random;
use crate::base::random::NoRandomness;
use crate::demo::provider::options::{Lifetimes, RefreshTokens};

/// Entries of one kind that are kept; when there are more, those that have ended go, then all.
const MOST: usize = 100_000;

/// One browser's sign-in at the provider.
#[derive(Clone)]
pub(crate) struct Login {
    /// Who.
    pub(crate) username: String,
    /// When they last typed a password.
    pub(crate) auth_time: Timestamp,
    /// `sid`.
    pub(crate) sid: String,
    /// `acr` that they last signed in with.
    pub(crate) acr: Option<String>,
}

/// What one sign-in gave to one client. Every token that comes of it carries its family.
#[derive(Clone)]
pub(crate) struct Grant {
    /// To whom.
    pub(crate) client_id: String,
    /// About whom.
    pub(crate) login: Login,
    /// What for.
    pub(crate) scopes: Vec<String>,
    /// `nonce` of the request.
    pub(crate) nonce: Option<String>,
    /// Which tokens fall together.
    pub(crate) family: u64,
}

impl Grant {
    /// Whether `scope` was granted.
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }
}

/// An authorization code's other half.
pub(crate) struct Code {
    /// What it redeems to.
    pub(crate) grant: Grant,
    /// The redirect URI that it was sent to.
    pub(crate) redirect_uri: String,
    /// `code_challenge`, S256.
    pub(crate) challenge: String,
}

struct Entry<T> {
    value: T,
    ends: Timestamp,
    used: bool,
}

/// What the provider remembers.
#[derive(Default)]
pub(crate) struct Store {
    logins: HashMap<String, Entry<Login>>,
    codes: HashMap<String, Entry<Code>>,
    access: HashMap<String, Entry<Grant>>,
    refresh: HashMap<String, Entry<Grant>>,
    revoked: HashSet<u64>,
    families: u64,
}

fn put<T>(entries: &mut HashMap<String, Entry<T>>, key: String, value: T, ends: Timestamp, now: Timestamp) {
    if entries.len() >= MOST {
        entries.retain(|_, entry| entry.ends > now);
    }
    if entries.len() >= MOST {
        entries.clear();
    }
    entries.insert(key, Entry { value, ends, used: false });
}

fn find<'a, T>(entries: &'a HashMap<String, Entry<T>>, key: &str, now: Timestamp) -> Option<&'a T> {
    entries.get(key).filter(|entry| entry.ends > now).map(|entry| &entry.value)
}

impl Store {
    /// Remembers that `username` signed in; returns the value of the cookie that says so.
    pub(crate) fn sign_in(
        &mut self,
        username: &str,
        acr: Option<String>,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Result<(String, Login), NoRandomness> {
        let cookie = random::token()?;
        let login = Login { username: username.to_owned(), auth_time: now, sid: random::token()?, acr };
        put(&mut self.logins, cookie.clone(), login.clone(), now.after(lifetimes.login), now);
        Ok((cookie, login))
    }

    /// The sign-in that a cookie stands for.
    pub(crate) fn login(&self, cookie: &str, now: Timestamp) -> Option<&Login> {
        find(&self.logins, cookie, now)
    }

    /// Forgets a sign-in.
    pub(crate) fn sign_out(&mut self, cookie: &str) {
        self.logins.remove(cookie);
    }

    /// A name for the tokens of one grant.
    pub(crate) const fn family(&mut self) -> u64 {
        self.families += 1;
        self.families
    }

    /// Makes a code.
    pub(crate) fn issue_code(
        &mut self,
        code: Code,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Result<String, NoRandomness> {
        let name = random::token()?;
        put(&mut self.codes, name.clone(), code, now.after(lifetimes.code), now);
        Ok(name)
    }

    /// Redeems a code: once, by the client it was made for, with its redirect URI and the verifier of its challenge
    /// (RFC 6749, section 4.1.3; RFC 7636, section 4.6). A second try also ends the tokens of the first (section 4.1.2).
    pub(crate) fn redeem(
        &mut self,
        name: &str,
        client_id: &str,
        redirect_uri: &str,
        verifier: &str,
        now: Timestamp,
    ) -> Result<Grant, &'static str> {
        let entry = self.codes.get_mut(name).ok_or("the code is not known")?;
        if entry.used {
            self.revoked.insert(entry.value.grant.family);
            return Err("the code was used before");
        }
        // Even a try that fails uses the code up, so that nobody guesses verifiers.
        entry.used = true;
        if entry.ends <= now {
            return Err("the code has expired");
        }
        if entry.value.grant.client_id != client_id {
            return Err("the code belongs to another client");
        }
        if entry.value.redirect_uri != redirect_uri {
            return Err("redirect_uri is not the one that the code was sent to");
        }
        if challenge(verifier).as_deref() != Some(entry.value.challenge.as_str()) {
            return Err("code_verifier does not fit code_challenge");
        }
        Ok(entry.value.grant.clone())
    }

    /// Remembers an access token.
    pub(crate) fn keep_access(&mut self, token: String, grant: Grant, lifetimes: &Lifetimes, now: Timestamp) {
        put(&mut self.access, token, grant, now.after(lifetimes.access_token), now);
    }

    /// What an access token stands for.
    pub(crate) fn access(&self, token: &str, now: Timestamp) -> Option<&Grant> {
        find(&self.access, token, now).filter(|grant| !self.revoked.contains(&grant.family))
    }

    /// Makes a refresh token.
    pub(crate) fn issue_refresh(
        &mut self,
        grant: Grant,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Result<String, NoRandomness> {
        let token = random::token()?;
        put(&mut self.refresh, token.clone(), grant, now.after(lifetimes.login), now);
        Ok(token)
    }

    /// Uses a refresh token, and as a rule uses it up. One that was used before was stolen from someone, so its whole family ends
    /// (RFC 9700, section 4.14.2).
    pub(crate) fn use_refresh(
        &mut self,
        token: &str,
        client_id: &str,
        rules: RefreshTokens,
        now: Timestamp,
    ) -> Result<Grant, &'static str> {
        let entry = self.refresh.get_mut(token).ok_or("the refresh token is not known")?;
        if entry.value.client_id != client_id {
            return Err("the refresh token belongs to another client");
        }
        if entry.used && now >= entry.ends {
            self.revoked.insert(entry.value.family);
            return Err("the refresh token was used before");
        }
        if entry.ends <= now || self.revoked.contains(&entry.value.family) {
            return Err("the refresh token works no longer");
        }
        if !rules.reusable && !entry.used {
            entry.used = true;
            entry.ends = now.after(rules.leeway);
        }
        Ok(entry.value.clone())
    }

    /// Ends a token of `client_id` and, for a refresh token, all that came of the same grant (RFC 7009, section 2.1).
    pub(crate) fn revoke(&mut self, token: &str, client_id: &str) {
        if let Some(entry) = self.refresh.get(token).filter(|entry| entry.value.client_id == client_id) {
            self.revoked.insert(entry.value.family);
        }
        if self.access.get(token).is_some_and(|entry| entry.value.client_id == client_id) {
            self.access.remove(token);
        }
    }
}

/// The S256 challenge of a verifier; `None` when it is no verifier (RFC 7636, sections 4.1 and 4.2).
pub(crate) fn challenge(verifier: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let valid = (43..=128).contains(&verifier.len()) && verifier.bytes().all(allowed);
    valid.then(|| URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn grant(store: &mut Store) -> Grant {
        let (_, login) = store.sign_in("alice", None, &Lifetimes::default(), NOW).unwrap();
        Grant { client_id: "app".to_owned(), login, scopes: Vec::new(), nonce: None, family: store.family() }
    }

    fn code(store: &mut Store) -> String {
        let code = Code {
            grant: grant(store),
            redirect_uri: "http://127.0.0.1/cb".to_owned(),
            challenge: challenge(VERIFIER).unwrap(),
        };
        store.issue_code(code, &Lifetimes::default(), NOW).unwrap()
    }

    #[test]
    fn the_challenge_is_the_one_of_the_rfc() {
        assert_eq!(challenge(VERIFIER).unwrap(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(challenge("short").is_none());
    }

    #[test]
    fn a_code_works_once_for_its_own_client_uri_and_verifier() {
        let mut store = Store::default();
        let uri = "http://127.0.0.1/cb";
        let name = code(&mut store);
        let grant = store.redeem(&name, "app", uri, VERIFIER, NOW).unwrap();
        store.keep_access("token".to_owned(), grant, &Lifetimes::default(), NOW);
        assert!(store.access("token", NOW).is_some());
        assert!(store.redeem(&name, "app", uri, VERIFIER, NOW).is_err());
        assert!(store.access("token", NOW).is_none(), "a code that comes twice ends what came of it");
        for (client, uri, verifier, now) in [
            ("other", uri, VERIFIER, NOW),
            ("app", "http://127.0.0.1/cb2", VERIFIER, NOW),
            ("app", uri, "aBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", NOW),
            ("app", uri, VERIFIER, NOW.after(Lifetimes::default().code)),
        ] {
            let name = code(&mut store);
            assert!(store.redeem(&name, client, uri, verifier, now).is_err());
        }
    }

    #[test]
    fn a_refresh_token_that_comes_twice_ends_its_family() {
        let mut store = Store::default();
        let grant = grant(&mut store);
        let first = store.issue_refresh(grant, &Lifetimes::default(), NOW).unwrap();
        let once = RefreshTokens::default();
        assert!(store.use_refresh(&first, "other", once, NOW).is_err());
        let grant = store.use_refresh(&first, "app", once, NOW).unwrap();
        let second = store.issue_refresh(grant, &Lifetimes::default(), NOW).unwrap();
        assert!(store.use_refresh(&first, "app", once, NOW).is_err());
        assert!(store.use_refresh(&second, "app", once, NOW).is_err());
    }

    #[test]
    fn a_refresh_token_may_be_used_again_within_the_leeway_or_for_good() {
        let mut store = Store::default();
        let grant = grant(&mut store);
        let leeway = RefreshTokens { leeway: Duration::from_secs(10), ..RefreshTokens::default() };
        let after = |seconds| NOW.after(Duration::from_secs(seconds));
        let token = store.issue_refresh(grant.clone(), &Lifetimes::default(), NOW).unwrap();
        assert!(store.use_refresh(&token, "app", leeway, NOW).is_ok());
        assert!(store.use_refresh(&token, "app", leeway, after(9)).is_ok());
        assert!(store.use_refresh(&token, "app", leeway, after(10)).is_err());
        let grant = Grant { family: store.family(), ..grant };
        let reusable = RefreshTokens { reusable: true, ..RefreshTokens::default() };
        let token = store.issue_refresh(grant, &Lifetimes::default(), NOW).unwrap();
        for seconds in [0, 100, 1000] {
            assert!(store.use_refresh(&token, "app", reusable, after(seconds)).is_ok());
        }
    }
}
