//! The provider's pages. They work without scripts; only the form that carries an answer back sends itself.

use askama::Template;
use http::StatusCode;

use crate::demo::answer::{Answer, Policy, page, text};
use crate::demo::provider::State;
use crate::demo::provider::authorize::{Prompt, Request};

const STYLE: &str = include_str!("../html/demo/provider.css");
const SEND: &str = "document.forms[0].submit()";

#[derive(Template)]
#[template(path = "demo/login.html")]
struct LoginPage<'a> {
    style: &'static str,
    action: String,
    client: &'a str,
    hint: &'a str,
    creates: bool,
    problem: Option<&'a str>,
    people: Vec<Card>,
}

/// One of the people on the login page.
struct Card {
    username: String,
    name: String,
    roles: String,
}

#[derive(Template)]
#[template(path = "demo/notice.html")]
struct NoticePage<'a> {
    style: &'static str,
    title: &'a str,
    text: &'a str,
    /// Where its button posts to, what the button says, and the fields that go with it.
    form: Option<(&'a str, &'a str)>,
    fields: &'a [(String, String)],
    script: Option<&'static str>,
}

fn render(template: &impl Template, status: StatusCode, policy: &Policy) -> Answer {
    match template.render() {
        Ok(html) => page(status, html, policy),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "The page can't be shown.\n"),
    }
}

/// The login page. `query` is the authorization request, encoded; its form posts it back with the user name.
pub(crate) fn login(state: &State, request: &Request<'_>, query: &str, problem: Option<&str>) -> Answer {
    let people = state.control.people().into_iter().take(12).map(|person| {
        let text = |name: &str| person.claims.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        let roles = person.claims.get("roles").and_then(|roles| roles.as_array()).cloned().unwrap_or_default();
        let roles: Vec<&str> = roles.iter().filter_map(|role| role.as_str()).collect();
        Card {
            name: text("name").unwrap_or_else(|| person.username.clone()),
            roles: roles.join(", "),
            username: person.username.clone(),
        }
    });
    let template = LoginPage {
        style: STYLE,
        action: format!("{}/login?{query}", state.base),
        client: &request.client.id,
        hint: request.login_hint.as_deref().unwrap_or_default(),
        creates: request.prompt == Prompt::Create,
        problem,
        people: people.collect(),
    };
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let mut form_action = vec!["'self'".to_owned()];
    form_action.extend(request.destination.sources());
    render(&template, status, &Policy { style: STYLE, script: None, form_action })
}

/// A page that only says something.
pub(crate) fn problem(status: StatusCode, title: &str, text: &str) -> Answer {
    let template = NoticePage { style: STYLE, title, text, form: None, fields: &[], script: None };
    render(&template, status, &Policy { style: STYLE, ..Policy::default() })
}

/// After signing out, when there is nowhere to go.
pub(crate) fn signed_out() -> Answer {
    problem(StatusCode::OK, "Signed out", "You are signed out of the development provider.")
}

/// Asks whether to sign out; the fields of the request go along.
pub(crate) fn confirm_sign_out(action: &str, fields: &[(String, String)], sources: Vec<String>) -> Answer {
    let mut fields: Vec<_> = fields.iter().filter(|(name, _)| name != "confirm").cloned().collect();
    fields.push(("confirm".to_owned(), "yes".to_owned()));
    let template = NoticePage {
        style: STYLE,
        title: "Sign out?",
        text: "An application asks to sign you out of the development provider.",
        form: Some((action, "Sign out")),
        fields: &fields,
        script: None,
    };
    let mut form_action = vec!["'self'".to_owned()];
    form_action.extend(sources);
    render(&template, StatusCode::OK, &Policy { style: STYLE, script: None, form_action })
}

/// The form that carries an authorization response to the client (OAuth 2.0 Form Post Response Mode, section 2).
pub(crate) fn form_post(redirect_uri: &str, fields: &[(String, String)], form_action: Vec<String>) -> Answer {
    let template = NoticePage {
        style: STYLE,
        title: "One moment",
        text: "You are being sent back to the application.",
        form: Some((redirect_uri, "Go on")),
        fields,
        script: Some(SEND),
    };
    render(&template, StatusCode::OK, &Policy { style: STYLE, script: Some(SEND), form_action })
}
