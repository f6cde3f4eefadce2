//! The `UserInfo` endpoint: when it is asked, and what of its answer counts (`OpenID` Connect Core 1.0, section 5.3).

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value};
use url::Url;

use super::calls::Calls;
use super::claims;
use crate::config::settings::{ProviderSettings, UserInfo};
use crate::http::client::Answer;
use crate::jose::json::parse_object;
use crate::provider::ProviderFault;

/// Bound on the answer, and on all claims of one person together, in bytes.
pub(super) const CLAIMS_LIMIT: usize = 64 * 1024;

/// Whether the endpoint is to be asked, given the claims of a verified ID token. It is never asked before.
pub(super) fn is_wanted(settings: &ProviderSettings, id_token: &Map<String, Value>) -> bool {
    match settings.userinfo {
        UserInfo::Always => true,
        UserInfo::Never => false,
        UserInfo::IfMissing => claims::lacks_something(settings, id_token),
    }
}

/// Asks for the claims of `subject`.
pub(super) async fn ask(
    provider: &Arc<str>,
    calls: &Calls,
    url: &Url,
    access_token: &str,
    subject: &str,
) -> Result<Map<String, Value>, UserInfoFault> {
    let untrusted = |reason: String| ProviderFault::untrusted(provider, reason);
    let mut bearer = HeaderValue::try_from(format!("Bearer {access_token}"))
        .map_err(|_| UserInfoFault::Unusable(untrusted("its access token can't be sent".to_owned())))?;
    bearer.set_sensitive(true);
    let answer = calls.get("the UserInfo endpoint", url, Some(bearer), CLAIMS_LIMIT).await;
    let answer = answer.map_err(UserInfoFault::Unusable)?;
    check(&answer, subject).map_err(|refusal| match refusal {
        Refusal::OtherSubject => UserInfoFault::OtherSubject(untrusted(
            "the UserInfo endpoint tells of another subject than the ID token".to_owned(),
        )),
        Refusal::Unusable(reason) => UserInfoFault::Unusable(untrusted(reason)),
    })
}

/// Why there are no claims.
#[derive(Debug)]
pub(super) enum UserInfoFault {
    /// There are, of somebody else.
    OtherSubject(ProviderFault),
    /// Nothing came that could be used.
    Unusable(ProviderFault),
}

impl From<UserInfoFault> for ProviderFault {
    fn from(fault: UserInfoFault) -> Self {
        match fault {
            UserInfoFault::OtherSubject(fault) | UserInfoFault::Unusable(fault) => fault,
        }
    }
}

/// Why an answer does not count.
#[derive(Debug)]
enum Refusal {
    OtherSubject,
    Unusable(String),
}

/// The claims, if the answer is an object about this very subject (section 5.3.2).
fn check(answer: &Answer, subject: &str) -> Result<Map<String, Value>, Refusal> {
    let unusable = |reason: String| Err(Refusal::Unusable(reason));
    if answer.status != StatusCode::OK {
        return unusable(format!("the UserInfo endpoint answered {}", answer.status.as_u16()));
    }
    if !answer.is_of_type("application/json") {
        return unusable("the UserInfo endpoint's answer is not application/json".to_owned());
    }
    let claims = match parse_object(&answer.body) {
        Ok(claims) => claims,
        Err(fault) => return unusable(format!("the UserInfo endpoint's answer: {fault}")),
    };
    match claims.get("sub") {
        Some(found) if found.as_str() == Some(subject) => Ok(claims),
        Some(_) => Err(Refusal::OtherSubject),
        None => unusable("the UserInfo endpoint does not say of whom it tells".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, kind: &'static str, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            content_type: Some(HeaderValue::from_static(kind)),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn only_an_object_about_the_same_subject_counts() {
        let json = "application/json";
        assert!(check(&answer(200, json, r#"{"sub":"alice","email":"a@b"}"#), "alice").is_ok());
        for body in [
            r#"{"sub":"bob"}"#,
            r#"{"sub":"Alice"}"#,
            r#"{"sub":["alice"]}"#,
            r#"{"sub":"alice","sub":"alice"}"#,
            r#"{"email":"a@b"}"#,
            r#"["alice"]"#,
            "null",
            "alice",
            "",
        ] {
            assert!(check(&answer(200, json, body), "alice").is_err(), "{body}");
        }
        assert!(check(&answer(401, json, r#"{"sub":"alice"}"#), "alice").is_err());
        assert!(check(&answer(200, "text/html", r#"{"sub":"alice"}"#), "alice").is_err());
        assert!(check(&answer(200, "application/jwt", r#"{"sub":"alice"}"#), "alice").is_err());
    }

    #[test]
    fn it_is_asked_as_the_settings_say() {
        let mut settings = super::super::rig::settings("https://idp.example");
        let full = json!({"email": "a@b", "name": "A", "groups": [], "roles": []});
        let (full, bare) = (full.as_object().unwrap(), Map::new());
        for (when, expected) in
            [(UserInfo::Always, (true, true)), (UserInfo::Never, (false, false)), (UserInfo::IfMissing, (false, true))]
        {
            settings.userinfo = when;
            assert_eq!((is_wanted(&settings, full), is_wanted(&settings, &bare)), expected, "{when:?}");
        }
    }
}
