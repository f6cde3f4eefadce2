//! The page: who is signed in, and everything that came with the request.

use askama::Template;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;

use crate::demo::answer::{Answer, Policy, page as html, text};
use crate::demo::application::echo::readable;
use crate::demo::form::{self, Parameters};

const STYLE: &str = include_str!("../html/demo/application.css");
/// The longest form that is read.
const LONGEST_FORM: usize = 64 * 1024;

#[derive(Template)]
#[template(path = "demo/application.html")]
struct Page {
    style: &'static str,
    title: &'static str,
    about: &'static str,
    method: String,
    target: String,
    person: Option<Visitor>,
    headers: Vec<Line>,
    posted: Option<Vec<(String, String)>>,
}

/// Whom the gateway says it is.
struct Visitor {
    user: String,
    name: Option<String>,
    email: Option<String>,
    groups: Vec<String>,
    roles: Vec<String>,
}

struct Line {
    name: String,
    value: String,
    is_identity: bool,
}

/// The page for any path.
pub(crate) async fn page(request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let posted = if parts.method == Method::POST && form::is_form(&parts.headers) {
        match form::whole(body, LONGEST_FORM).await {
            Ok(body) => Some(Parameters::parse(&body).pairs().to_vec()),
            Err(status) => return text(status, "The form can't be read.\n"),
        }
    } else {
        None
    };
    let (title, about) = headline(parts.uri.path());
    let page = Page {
        style: STYLE,
        title,
        about,
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        person: visitor(&parts.headers),
        headers: lines(&parts.headers),
        posted,
    };
    let policy = Policy { style: STYLE, script: None, form_action: vec!["'self'".to_owned()] };
    match page.render() {
        Ok(text) => html(StatusCode::OK, text, &policy),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "The page can't be shown.\n"),
    }
}

fn headline(path: &str) -> (&'static str, &'static str) {
    let below = |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    if path == "/" {
        ("Sample application", "It knows nothing of signing in. What it knows about you came in the headers below.")
    } else if below("/reports") {
        ("A report, deep inside", "After signing in you come back to this very address, query and all.")
    } else if below("/public") {
        ("A public page", "Everyone may read this; nobody has to sign in.")
    } else if below("/admin") {
        ("The engine room", "Only people with the role admin get here.")
    } else if below("/form") {
        ("Your post has arrived", "A form goes through the gateway as it is.")
    } else {
        ("Sample application", "There is nothing special at this address.")
    }
}

fn visitor(headers: &HeaderMap) -> Option<Visitor> {
    let one = |name: &str| headers.get(name).map(readable).filter(|value| !value.is_empty());
    let list = |name: &str| {
        let all = headers.get_all(name).into_iter().map(readable).collect::<Vec<_>>().join(",");
        all.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
    };
    Some(Visitor {
        user: one("x-forwarded-user")?,
        name: one("x-forwarded-preferred-username"),
        email: one("x-forwarded-email"),
        groups: list("x-forwarded-groups"),
        roles: list("x-forwarded-roles"),
    })
}

fn lines(headers: &HeaderMap) -> Vec<Line> {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| Line {
        name: name.as_str().to_owned(),
        value: readable(value),
        is_identity: is_identity(name.as_str()),
    };
    let mut lines: Vec<Line> = headers.iter().map(line).collect();
    // What the gateway says comes first; the order within stays.
    lines.sort_by_key(|line| !line.is_identity);
    lines
}

/// Whether a header speaks about the person.
fn is_identity(name: &str) -> bool {
    let about_person = ["user", "email", "preferred-username", "groups", "roles", "access-token"];
    name == "authorization"
        || name.starts_with("x-portcullis-")
        || name.starts_with("x-auth-request-")
        || name.strip_prefix("x-forwarded-").is_some_and(|rest| about_person.contains(&rest))
}
