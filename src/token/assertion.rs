//! A short token that the gateway signs about somebody, for one upstream (RFC 7519).
//!
//! Rules, each with a test:
//! 1. It names the upstream that it is for, so that no other upstream takes it: each has an audience of its own.
//! 2. It lasts for minutes, and is made anew when a fifth of its life is left.
//! 3. What is not known of the person is absent, never empty. One that has nothing for its issuer or audience is not made.
//! 4. What identifies it (`iss`, `sub`, `aud`, `exp` and the like) no claim of the person can replace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::purse::Kept;
use super::relay::TokenProblem;
use super::signer::Signer;
use crate::base::clock::Timestamp;
use crate::base::random;
use crate::config::settings::AssertionSettings;
use crate::identity::field::Field;
use crate::identity::principal::Principal;
use crate::identity::shape::{AssertionShape, Further, Named, Said, all_claims};
use crate::identity::template::Template;
use crate::jose::algorithm::Algorithm;

/// The longest assertion that is sent, in bytes: many servers take no larger header.
const LONGEST: usize = 16 * 1024;

/// Assertions of one upstream, compiled.
#[derive(Clone, Debug)]
pub struct Assertion {
    shape: AssertionShape,
    algorithm: Option<Algorithm>,
    lifetime: Duration,
    issuer: Named,
    audience: Vec<Named>,
    further: Further,
    signer: Option<String>,
    surroundings: Surroundings,
}

/// What an assertion may name of the config.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The public URL, without a slash at its end.
    pub public_url: Arc<str>,
    /// How the upstream is called: its URL, without a slash at its end, or its name.
    pub upstream: Arc<str>,
    /// Our client id at each provider.
    pub clients: Arc<BTreeMap<Arc<str>, String>>,
}

/// Whom an assertion is about, and when.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// The name of the session, if there is one.
    pub session: Option<&'a [u8; 16]>,
    /// The host and port that was asked for.
    pub host: &'a str,
    /// When.
    pub now: Timestamp,
}

impl Assertion {
    /// Assertions of this shape, but for what the settings say.
    pub fn compile(shape: &AssertionShape, settings: &AssertionSettings, surroundings: Surroundings) -> Self {
        let plain = |text: &String| Named::Of(Template::plain(text));
        Self {
            algorithm: settings.algorithm.as_deref().and_then(Algorithm::from_name).or(shape.algorithm),
            lifetime: settings.lifetime.unwrap_or(shape.lifetime),
            issuer: settings.issuer.as_ref().map_or_else(|| shape.issuer.clone(), plain),
            audience: if settings.audience.is_empty() {
                vec![shape.audience.clone()]
            } else {
                settings.audience.iter().map(plain).collect()
            },
            further: settings.claims.clone().map_or_else(|| shape.further.clone(), Further::Listed),
            signer: settings.signer.clone(),
            shape: shape.clone(),
            surroundings,
        }
    }

    /// The header of its shape.
    pub const fn header(&self) -> &HeaderName {
        &self.shape.header
    }

    /// The algorithm that it must be signed by; any when absent.
    pub const fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// One about somebody, with `prefix` before it: `Bearer ` for `Authorization`, nothing for a header of its own. Marked sensitive.
    ///
    /// # Errors
    /// When it can't be made or is larger than a header may be.
    pub fn write(&self, about: About<'_>, signer: &Signer, prefix: &str) -> Result<Kept, TokenProblem> {
        // Before the keys are looked at, so that keys which change right now make this one old.
        let epoch = signer.epoch();
        let ends = about.now.after(self.lifetime);
        let unmade = TokenProblem::Unsigned;
        let issuer = self.name(&self.issuer, about).ok_or(unmade)?;
        let audience: Vec<String> =
            self.audience.iter().map(|named| self.name(named, about)).collect::<Option<_>>().ok_or(unmade)?;
        let id = random::token().map_err(|_| unmade)?;
        let moment = Moment { about, ends, issuer: &issuer, audience: &audience, id: &id };
        let mut claims = match &self.further {
            Further::All => all_claims(about.principal),
            Further::Listed(names) => {
                let known = |name: &String| Some((name.clone(), Field::of_claim(name).json(about.principal)?));
                names.iter().filter_map(known).collect()
            }
        };
        for (name, said) in &self.shape.claims {
            match self.say(said, &moment) {
                Some(value) => drop(claims.insert(name.clone(), value)),
                None => drop(claims.shift_remove(name)),
            }
        }
        let mut header = Map::from_iter([("typ".to_owned(), Value::from("JWT"))]);
        header.extend(self.shape.jose.iter().filter_map(|(name, said)| Some((name.clone(), self.say(said, &moment)?))));
        let token = signer.sign(self.algorithm, header, &claims, self.shape.padding).ok_or(unmade)?;
        if token.len() > LONGEST {
            return Err(TokenProblem::TooLarge);
        }
        let mut value = HeaderValue::try_from(format!("{prefix}{}", *token)).map_err(|_| unmade)?;
        value.set_sensitive(true);
        let renew = about.now.after(self.lifetime * 4 / 5);
        Ok(Kept { value, renew, ends, epoch })
    }

    fn name(&self, named: &Named, about: About<'_>) -> Option<String> {
        match named {
            Named::PublicUrl => Some(self.surroundings.public_url.to_string()),
            Named::Host => Some(about.host.to_owned()),
            Named::Upstream => Some(self.surroundings.upstream.to_string()),
            Named::Of(template) => template.text(about.principal),
        }
    }

    fn say(&self, said: &Said, moment: &Moment<'_>) -> Option<Value> {
        Some(match said {
            Said::Issuer => Value::from(moment.issuer),
            Said::Audience => match moment.audience {
                [only] => Value::from(only.as_str()),
                several => Value::from(several),
            },
            Said::Audiences => Value::from(moment.audience),
            Said::Id => Value::from(moment.id),
            Said::Issued => Value::from(moment.about.now.seconds()),
            Said::Expires => Value::from(moment.ends.seconds()),
            Said::Session => Value::from(opaque(moment.about.session?)),
            Said::Client => Value::from(self.surroundings.clients.get(&moment.about.principal.provider)?.as_str()),
            Said::Signer => Value::from(self.signer.as_deref().unwrap_or(&self.surroundings.public_url)),
            Said::Of(template) => template.json(moment.about.principal)?,
        })
    }
}

/// What one assertion says of itself.
struct Moment<'a> {
    about: About<'a>,
    ends: Timestamp,
    issuer: &'a str,
    audience: &'a [String],
    id: &'a str,
}

/// A name of a session that tells nothing of it: an upstream that shows it to others gives nothing away.
fn opaque(session: &[u8; 16]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, session);
    URL_SAFE_NO_PAD.encode(digest.as_ref().first_chunk::<16>().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::secret::SecretSource;
    use crate::identity::preset::Presets;
    use crate::jose::jws::Jws;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn surroundings() -> Surroundings {
        Surroundings {
            public_url: "https://app.example.com".into(),
            upstream: "http://api.internal:6060".into(),
            clients: Arc::new(BTreeMap::from([("corp".into(), "app".to_owned())])),
        }
    }

    fn person() -> Principal {
        Principal {
            provider: "corp".into(),
            issuer: "https://login.example.com".to_owned(),
            subject: "1234".to_owned(),
            email: Some("alice@example.com".to_owned()),
            email_verified: true,
            preferred_username: Some("alice".to_owned()),
            groups: vec!["staff".to_owned(), "a,b".to_owned()],
            claims: json!({"team": "red", "iss": "https://evil.example", "aud": "x", "exp": 1, "hd": "example.com"})
                .as_object()
                .unwrap()
                .clone(),
            ..Principal::default()
        }
    }

    fn about(principal: &Principal) -> About<'_> {
        About { principal, session: Some(&[7; 16]), host: "app.example.com", now: NOW }
    }

    fn claims(preset: &str, settings: &AssertionSettings, person: &Principal) -> Map<String, Value> {
        let shape = Presets::built_in().unwrap().get(preset).unwrap().assertion.clone().unwrap();
        let assertion = Assertion::compile(&shape, settings, surroundings());
        let key = super::super::signer::tests::key(assertion.algorithm().unwrap_or(Algorithm::Es256));
        let signer = Signer::load(&[SecretSource::Inline(key)], &[assertion.algorithm()]).unwrap();
        let kept = assertion.write(about(person), &signer, "").unwrap();
        assert!(kept.value.is_sensitive());
        let text = kept.value.to_str().unwrap().replace('=', "");
        Jws::parse(&text, 16 * 1024, &["JWT"]).unwrap().unverified_claims().clone()
    }

    #[test]
    fn ours_says_who_for_whom_and_until_when() {
        let told = claims("portcullis", &AssertionSettings::default(), &person());
        let expected = json!({
            "iss": "https://app.example.com", "aud": "http://api.internal:6060", "sub": "1234", "provider": "corp",
            "iat": NOW.seconds(), "nbf": NOW.seconds(), "exp": NOW.seconds() + 300, "jti": told["jti"],
            "email": "alice@example.com", "email_verified": true, "preferred_username": "alice", "groups": ["staff", "a,b"],
        });
        assert_eq!(Value::from(told.clone()), expected);
        let again = claims("portcullis", &AssertionSettings::default(), &person());
        assert_ne!(told["jti"], again["jti"]);
    }

    #[test]
    fn settings_change_what_they_name() {
        let settings = AssertionSettings {
            audience: vec!["one".to_owned(), "{sub}".to_owned()],
            issuer: Some("https://gate.example".to_owned()),
            lifetime: Some(Duration::from_mins(1)),
            claims: Some(vec!["team".to_owned(), "nothing".to_owned()]),
            ..AssertionSettings::default()
        };
        let told = claims("portcullis", &settings, &person());
        assert_eq!((&told["aud"], &told["iss"]), (&json!(["one", "{sub}"]), &json!("https://gate.example")));
        assert_eq!(told["exp"], NOW.seconds() + 60);
        assert_eq!((&told["team"], told.get("email"), told.get("nothing")), (&json!("red"), None, None));
    }

    #[test]
    fn no_claim_of_the_person_takes_the_place_of_our_own() {
        for preset in ["portcullis", "aws-alb"] {
            let all = ["iss", "aud", "exp", "sub"].map(str::to_owned).to_vec();
            let settings =
                AssertionSettings { claims: (preset == "portcullis").then_some(all), ..AssertionSettings::default() };
            let told = claims(preset, &settings, &person());
            assert_ne!(told["iss"], "https://evil.example", "{preset}");
            assert!(told["exp"].as_u64().unwrap() > NOW.seconds(), "{preset}");
            assert_eq!(told["sub"], "1234", "{preset}");
        }
    }

    #[test]
    fn an_address_that_nobody_verified_is_not_told_where_it_names_the_person() {
        for preset in ["pomerium", "google-iap", "cloudflare-access"] {
            let told = claims(preset, &AssertionSettings::default(), &person());
            assert_eq!(told["email"], "alice@example.com", "{preset}");
            let told = claims(preset, &AssertionSettings::default(), &Principal { email_verified: false, ..person() });
            assert_eq!(told.get("email"), None, "{preset}");
        }
    }

    #[test]
    fn one_that_would_fit_no_header_is_not_made() {
        let shape = Presets::built_in().unwrap().our_assertion().unwrap().clone();
        let assertion = Assertion::compile(&shape, &AssertionSettings::default(), surroundings());
        let signer = Signer::load(&[], &[None]).unwrap();
        let person = Principal { groups: vec!["x".repeat(100); 1000], ..person() };
        assert_eq!(assertion.write(about(&person), &signer, "").err(), Some(TokenProblem::TooLarge));
        let nothing_to_sign_with = Signer::load(&[], &[]).unwrap();
        assert_eq!(
            assertion.write(about(&self::person()), &nothing_to_sign_with, "").err(),
            Some(TokenProblem::Unsigned)
        );
    }
}
