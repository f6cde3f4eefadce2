//! The authorization endpoint: checks the request, then answers it, asks for a sign-in, or refuses.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::base::clock::Timestamp;
use crate::demo::answer::Answer;
use crate::demo::form::{Parameters, Repeated};
use crate::demo::provider::State;
use crate::demo::provider::guard;
use crate::demo::provider::misbehaviour::{AnswerFault, Misbehaviour};
use crate::demo::provider::options::Client;
use crate::demo::provider::page;
use crate::demo::provider::respond::{self, Destination};
use crate::demo::provider::route::Asked;
use crate::demo::provider::store::{Code, Grant, Login};

/// A request that holds together (OpenID Connect Core 1.0, section 3.1.2.1).
pub(crate) struct Request<'a> {
    /// Who asks.
    pub(crate) client: &'a Client,
    /// Where the answer goes.
    pub(crate) destination: Destination,
    /// `scope`.
    pub(crate) scopes: Vec<String>,
    /// `nonce`.
    pub(crate) nonce: Option<String>,
    /// `code_challenge`, S256.
    pub(crate) challenge: String,
    /// `prompt`.
    pub(crate) prompt: Prompt,
    /// `max_age`.
    pub(crate) max_age: Option<Duration>,
    /// `login_hint`.
    pub(crate) login_hint: Option<String>,
    /// `acr_values`.
    pub(crate) acr_values: Vec<String>,
}

/// `prompt`, as far as this provider tells its values apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// Ask when needed.
    Auto,
    /// Never ask.
    None,
    /// Ask even someone who is signed in.
    Login,
    /// Offer to make an account (Initiating User Registration via OpenID Connect 1.0, section 4).
    Create,
}

/// Why a request goes no further.
pub(crate) enum Refusal {
    /// Client or redirect URI can't be trusted, so only the person is told (RFC 6749, section 4.1.2.1).
    Page(String),
    /// The client is told.
    Client(Destination, &'static str, String),
}

impl Refusal {
    /// As an answer.
    pub(crate) fn answer(self, state: &State) -> Answer {
        match self {
            Self::Page(text) => page::problem(StatusCode::BAD_REQUEST, "This sign-in can't begin", &text),
            Self::Client(destination, error, description) => respond::error(state, &destination, error, &description),
        }
    }
}

/// `/authorize`.
pub(crate) fn authorize(state: &Arc<State>, asked: &Asked) -> Answer {
    let parameters = asked.parameters();
    let request = match read(state, parameters) {
        Ok(request) => request,
        Err(refusal) => return refusal.answer(state),
    };
    if let Some((error, description)) = state.control.take(error_asked_for).pop() {
        return respond::error(state, &request.destination, &error, &description);
    }
    let now = state.now();
    let login = asked.cookie(&state.cookie).and_then(|cookie| guard(&state.store).login(cookie, now).cloned());
    let login = login.filter(|login| state.control.person(&login.username).is_some());
    match login.filter(|login| suffices(&request, login, now)) {
        Some(login) => answer(state, &request, login, now),
        None if request.prompt == Prompt::None => {
            respond::error(state, &request.destination, "login_required", "nobody is signed in here")
        }
        None => page::login(state, &request, &parameters.encode(), None),
    }
}

fn error_asked_for(fault: &Misbehaviour) -> Option<(String, String)> {
    match fault {
        Misbehaviour::Answer(AnswerFault::Error { error, description }) => Some((error.clone(), description.clone())),
        _ => None,
    }
}

/// Whether a sign-in that is there is good enough for `request`.
fn suffices(request: &Request<'_>, login: &Login, now: Timestamp) -> bool {
    let asks_anew = matches!(request.prompt, Prompt::Login | Prompt::Create);
    let too_old = request.max_age.is_some_and(|most| most.is_zero() || now.since(login.auth_time) > most);
    let acr_fits =
        request.acr_values.is_empty() || login.acr.as_ref().is_some_and(|acr| request.acr_values.contains(acr));
    !asks_anew && !too_old && acr_fits
}

/// Sends the client a code for `login`.
pub(crate) fn answer(state: &State, request: &Request<'_>, login: Login, now: Timestamp) -> Answer {
    let code = {
        let mut store = guard(&state.store);
        let grant = Grant {
            client_id: request.client.id.clone(),
            login,
            scopes: request.scopes.clone(),
            nonce: request.nonce.clone(),
            family: store.family(),
        };
        let redirect_uri = request.destination.redirect_uri.clone();
        let code = Code { grant, redirect_uri, challenge: request.challenge.clone() };
        store.issue_code(code, &state.options.lifetimes, now)
    };
    match code {
        Ok(code) => respond::code(state, &request.destination, &code),
        Err(_) => respond::error(state, &request.destination, "server_error", "no random bytes"),
    }
}

/// Reads a request: client and redirect URI first, since everything after may be told to the client.
pub(crate) fn read<'a>(state: &'a State, parameters: &Parameters) -> Result<Request<'a>, Refusal> {
    let (client, destination) = read_destination(state, parameters)?;
    let tell = |error: &'static str, text: &str| Refusal::Client(destination.clone(), error, text.to_owned());
    let one = |name| parameters.one(name).map_err(|repeated| tell("invalid_request", &repeated.to_string()));
    if one("request")?.is_some() {
        return Err(tell("request_not_supported", "request objects are not supported"));
    }
    if one("request_uri")?.is_some() {
        return Err(tell("request_uri_not_supported", "request objects are not supported"));
    }
    if one("response_type")? != Some("code") {
        return Err(tell("unsupported_response_type", "response_type must be `code`"));
    }
    if !matches!(one("response_mode")?, None | Some("query" | "form_post")) {
        return Err(tell("invalid_request", "response_mode must be `query` or `form_post`"));
    }
    let scopes: Vec<String> = words(one("scope")?);
    if !scopes.iter().any(|scope| scope == "openid") {
        return Err(tell("invalid_scope", "scope must hold `openid`"));
    }
    if one("code_challenge_method")? != Some("S256") {
        return Err(tell("invalid_request", "code_challenge_method must be `S256`"));
    }
    let is_challenge =
        |text: &str| text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let challenge = one("code_challenge")?.filter(|text| is_challenge(text));
    let challenge =
        challenge.ok_or_else(|| tell("invalid_request", "code_challenge must be 43 base64url characters"))?;
    let prompt = match one("prompt")? {
        None => Prompt::Auto,
        Some("none") => Prompt::None,
        Some("login" | "select_account" | "login select_account" | "select_account login") => Prompt::Login,
        Some("create") => Prompt::Create,
        Some(_) => return Err(tell("invalid_request", "prompt is not one that the metadata names")),
    };
    let max_age = one("max_age")?.map(str::parse::<u64>).transpose();
    let max_age = max_age.map_err(|_| tell("invalid_request", "max_age must be a number of seconds"))?;
    Ok(Request {
        client,
        scopes,
        nonce: one("nonce")?.map(str::to_owned),
        challenge: challenge.to_owned(),
        prompt,
        max_age: max_age.map(Duration::from_secs),
        login_hint: one("login_hint")?.map(str::to_owned),
        acr_values: words(one("acr_values")?),
        destination,
    })
}

fn read_destination<'a>(state: &'a State, parameters: &Parameters) -> Result<(&'a Client, Destination), Refusal> {
    let page = |text: &str| Refusal::Page(text.to_owned());
    let one = |name| parameters.one(name).map_err(|repeated: Repeated| page(&format!("{repeated}.")));
    let client = one("client_id")?.and_then(|id| state.client(id));
    let client = client.ok_or_else(|| page("The application's client_id is not known here."))?;
    let redirect_uri = one("redirect_uri")?.filter(|uri| client.redirects.allow(uri));
    let redirect_uri = redirect_uri
        .ok_or_else(|| page("The application's redirect_uri is not one that is registered for it here."))?;
    let destination = Destination {
        redirect_uri: redirect_uri.to_owned(),
        state: one("state")?.map(str::to_owned),
        by_form: one("response_mode")? == Some("form_post"),
        further: client.redirects.origins(),
    };
    Ok((client, destination))
}

fn words(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default().split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
