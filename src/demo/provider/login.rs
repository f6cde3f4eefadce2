//! Where the login page posts to. Its query is the authorization request, its form a user name and any password.

use std::sync::Arc;

use http::StatusCode;
use http::header::SET_COOKIE;
use serde_json::json;

use crate::demo::answer::{Answer, set};
use crate::demo::provider::State;
use crate::demo::provider::authorize::{self, Prompt};
use crate::demo::provider::guard;
use crate::demo::provider::options::Person;
use crate::demo::provider::page;
use crate::demo::provider::route::Asked;

/// The longest user name.
const LONGEST_NAME: usize = 64;

/// `/login`.
pub(crate) fn login(state: &Arc<State>, asked: &Asked) -> Answer {
    if asked.is_cross_site() {
        let text = "Another site tried to sign you in. Start from the application instead.";
        return page::problem(StatusCode::FORBIDDEN, "This sign-in began elsewhere", text);
    }
    let request = match authorize::read(state, &asked.query) {
        Ok(request) => request,
        Err(refusal) => return refusal.answer(state),
    };
    let username = asked.form.one("username").ok().flatten().unwrap_or_default().trim();
    if request.prompt == Prompt::Create && state.control.person(username).is_none() && is_name(username) {
        state.control.put_person(newcomer(username));
    }
    if state.control.person(username).is_none() {
        let names: Vec<String> = state.control.people().into_iter().map(|person| person.username).collect();
        let text = format!("Nobody goes by that name here. Try {}.", names.join(" or "));
        return page::login(state, &request, &asked.query.encode(), Some(&text));
    }
    let now = state.now();
    let acr = request.acr_values.first().cloned();
    let signed_in = {
        let mut store = guard(&state.store);
        if let Some(old) = asked.cookie(&state.cookie) {
            store.sign_out(old);
        }
        store.sign_in(username, acr, &state.options.lifetimes, now)
    };
    let Ok((cookie, login)) = signed_in else {
        return page::problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "This sign-in can't end",
            "There are no random bytes.",
        );
    };
    let mut answer = authorize::answer(state, &request, login, now);
    set(&mut answer, SET_COOKIE, &cookie_line(state, &cookie, state.options.lifetimes.login.as_secs()));
    answer
}

/// The `Set-Cookie` line of a sign-in; `seconds` 0 takes it away.
pub(crate) fn cookie_line(state: &State, value: &str, seconds: u64) -> String {
    let secure = if state.issuer.starts_with("https:") { "; Secure" } else { "" };
    let path = if state.base.is_empty() { "/" } else { &state.base };
    format!("{}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", state.cookie)
}

fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// Someone who made an account a moment ago.
fn newcomer(username: &str) -> Person {
    let email = format!("{username}@example.com");
    let claims = json!({
        "sub": username, "name": username, "preferred_username": username,
        "email": email, "email_verified": false, "roles": ["user"], "groups": [],
    });
    Person::new(username, claims)
}
