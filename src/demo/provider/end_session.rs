//! Signing out at the provider: with a proof at once, without one after a question.

use std::sync::Arc;

use http::StatusCode;
use http::header::SET_COOKIE;
use serde_json::Value;
use url::Url;

use crate::demo::answer::{Answer, see_other, set};
use crate::demo::form::{Parameters, Repeated};
use crate::demo::provider::State;
use crate::demo::provider::guard;
use crate::demo::provider::login::cookie_line;
use crate::demo::provider::page;
use crate::demo::provider::route::Asked;

/// What was asked for (OpenID Connect RP-Initiated Logout 1.0, section 2).
struct Request {
    /// Where to go afterwards; checked, with `state`.
    next: Option<String>,
    /// `sid` of the hint.
    sid: Option<String>,
}

/// `/end_session`.
pub(crate) fn end_session(state: &Arc<State>, asked: &Asked) -> Answer {
    let parameters = asked.parameters();
    let request = match read(state, parameters) {
        Ok(request) => request,
        Err(text) => return page::problem(StatusCode::BAD_REQUEST, "This sign-out can't begin", &text),
    };
    let cookie = asked.cookie(&state.cookie).map(str::to_owned);
    let login = cookie.as_ref().and_then(|cookie| guard(&state.store).login(cookie, state.now()).cloned());
    let proven = login.as_ref().is_none_or(|login| request.sid.as_deref() == Some(login.sid.as_str()));
    let confirmed = matches!(parameters.one("confirm"), Ok(Some("yes"))) && is_own_post(asked);
    if !proven && !confirmed {
        // Anyone can lead a browser here; only the one who signed in knows the sid (section 6).
        let sources = request.next.iter().filter_map(|next| Url::parse(next).ok());
        let sources = sources.map(|url| url.origin().ascii_serialization()).collect();
        return page::confirm_sign_out(&format!("{}/end_session", state.base), parameters.pairs(), sources);
    }
    if let Some(cookie) = cookie {
        guard(&state.store).sign_out(&cookie);
    }
    let mut answer = match &request.next {
        Some(next) => see_other(next),
        None => page::signed_out(),
    };
    set(&mut answer, SET_COOKIE, &cookie_line(state, "", 0));
    answer
}

fn is_own_post(asked: &Asked) -> bool {
    asked.method == http::Method::POST && !asked.is_cross_site()
}

fn read(state: &State, parameters: &Parameters) -> Result<Request, String> {
    let one = |name| parameters.one(name).map_err(|repeated: Repeated| format!("{repeated}."));
    // A hint that is not ours proves nothing; it is left aside, and the person is asked.
    let hint = one("id_token_hint")?.and_then(|token| state.control.keys().own_claims(token));
    let claim = |name: &str| hint.as_ref().and_then(|claims| claims.get(name)).and_then(Value::as_str);
    let named = one("client_id")?;
    if let (Some(named), Some(audience)) = (named, claim("aud"))
        && named != audience
    {
        return Err("client_id is not the one that the id_token_hint was made for.".to_owned());
    }
    let client = named.or_else(|| claim("aud")).and_then(|id| state.client(id));
    let next = match one("post_logout_redirect_uri")? {
        None => None,
        Some(uri) => {
            let allowed = client.is_some_and(|client| client.post_logout.allow(uri));
            let url = Url::parse(uri).ok().filter(|_| allowed);
            let mut url =
                url.ok_or("The post_logout_redirect_uri is not one that is registered for the application.")?;
            if let Some(state) = one("state")? {
                url.query_pairs_mut().append_pair("state", state);
            }
            Some(url.into())
        }
    };
    Ok(Request { next, sid: claim("sid").map(str::to_owned) })
}
