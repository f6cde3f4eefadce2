//! The authorization response: code or error, by query or by form, always with `iss`.

use http::StatusCode;
use url::{Host, Url};

use crate::demo::answer::{Answer, see_other};
use crate::demo::provider::State;
use crate::demo::provider::misbehaviour::{AnswerFault, Misbehaviour};
use crate::demo::provider::page;

/// Where an authorization response goes.
#[derive(Clone)]
pub(crate) struct Destination {
    /// `redirect_uri`, checked.
    pub(crate) redirect_uri: String,
    /// `state`.
    pub(crate) state: Option<String>,
    /// `response_mode=form_post` (OAuth 2.0 Form Post Response Mode, section 2).
    pub(crate) by_form: bool,
    /// Further origins of the client, where the browser may be sent next.
    pub(crate) further: Vec<String>,
}

impl Destination {
    /// The `form-action` sources for a page that leads there. Browsers hold the redirects after a post to them too.
    pub(crate) fn sources(&self) -> Vec<String> {
        let mut sources = self.further.clone();
        if let Ok(url) = Url::parse(&self.redirect_uri) {
            // No source can name an IPv6 address (Content Security Policy Level 3, section 2.3.1).
            let by_scheme = matches!(url.host(), Some(Host::Ipv6(_)));
            sources.push(if by_scheme { format!("{}:", url.scheme()) } else { url.origin().ascii_serialization() });
        }
        sources.sort();
        sources.dedup();
        sources
    }
}

/// Sends a code (RFC 6749, section 4.1.2).
pub(crate) fn code(state: &State, destination: &Destination, code: &str) -> Answer {
    send(state, destination, vec![("code".to_owned(), code.to_owned())])
}

/// Sends an error (RFC 6749, section 4.1.2.1).
pub(crate) fn error(state: &State, destination: &Destination, error: &str, description: &str) -> Answer {
    let parameters =
        vec![("error".to_owned(), error.to_owned()), ("error_description".to_owned(), description.to_owned())];
    send(state, destination, parameters)
}

fn send(state: &State, destination: &Destination, mut parameters: Vec<(String, String)>) -> Answer {
    if let Some(state) = &destination.state {
        parameters.push(("state".to_owned(), state.clone()));
    }
    // RFC 9207, section 2: in error responses as well.
    parameters.push(("iss".to_owned(), state.issuer.clone()));
    for fault in state.control.take(|fault| match fault {
        Misbehaviour::Answer(fault @ (AnswerFault::Set(..) | AnswerFault::Remove(_) | AnswerFault::Add(..))) => {
            Some(fault.clone())
        }
        _ => None,
    }) {
        misbehave(&mut parameters, fault);
    }
    if destination.by_form {
        return page::form_post(&destination.redirect_uri, &parameters, destination.sources());
    }
    let Ok(mut url) = Url::parse(&destination.redirect_uri) else {
        return page::problem(StatusCode::BAD_REQUEST, "This sign-in can't end", "The redirect URI is no URL.");
    };
    url.query_pairs_mut().extend_pairs(&parameters);
    see_other(url.as_str())
}

fn misbehave(parameters: &mut Vec<(String, String)>, fault: AnswerFault) {
    match fault {
        AnswerFault::Set(name, value) => {
            parameters.retain(|(key, _)| *key != name);
            parameters.push((name, value));
        }
        AnswerFault::Remove(name) => parameters.retain(|(key, _)| *key != name),
        AnswerFault::Add(name, value) => parameters.push((name, value)),
        AnswerFault::Error { .. } => {}
    }
}
