//! Which pages of other origins may read a route's answers (Fetch, section 3.3: CORS). A route that says so speaks for its upstream: a
//! preflight is answered here and goes no further, and what the upstream itself says of it is replaced. Other routes are left alone.
//!
//! 1. An origin is one of the list, whole and byte for byte, or it is nobody's. `null` never is one.
//! 2. A preflight is about the request that it announces: the route of that method speaks. It asks for no session, since browsers send
//!    none with it, and whatever comes with it is not looked at.
//! 3. A preflight that no route of ours answers goes to its upstream in nobody's name, if nobody has to sign in there.
//! 4. What may be read depends on `Origin`, so every answer of such a route says so in `Vary`, refusals of ours too.

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::route::{Lookup, Other, Route, RouteTable};
use crate::config::settings::{CorsOrigins, CorsSettings};
use crate::http::body::Body;
use crate::http::path::CanonicalPath;
use crate::http::visit::Visit;
use crate::page::answer::bare;
use crate::page::{self, Explanation};

static ANYONE: HeaderValue = HeaderValue::from_static("*");
static TRUE: HeaderValue = HeaderValue::from_static("true");
/// What no page has for an origin.
const NULL: &str = "null";
/// What an upstream may have said of its own: only what is said here counts.
static SAID_BY_UPSTREAMS: [HeaderName; 7] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    HeaderName::from_static("access-control-allow-private-network"),
];

/// Who may read a route's answers, ready to be said.
#[derive(Clone, Debug)]
pub struct Cors {
    /// Their origins as browsers write them; everybody's when absent.
    origins: Option<Box<[HeaderValue]>>,
    credentials: bool,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    exposed: Option<HeaderValue>,
    max_age: HeaderValue,
}

/// What the answer to one request says of who may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Who; nobody of another origin when absent.
    reader: Option<HeaderValue>,
    credentials: bool,
    exposed: Option<HeaderValue>,
}

/// A browser's question in advance whether a page may send a request.
pub struct Preflight<'a> {
    route: &'a Arc<Route>,
    /// What that route says; nothing when the request that it announces is not to be shared.
    cors: Option<&'a Cors>,
}

impl Cors {
    /// Compiles what a route says.
    pub fn compile(settings: &CorsSettings) -> Self {
        let list =
            |names: Vec<&str>| if names.is_empty() { None } else { HeaderValue::try_from(names.join(", ")).ok() };
        let origins = match &settings.origins {
            CorsOrigins::Anyone => None,
            CorsOrigins::These(origins) => {
                Some(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect())
            }
        };
        Self {
            // Credentials and everybody exclude each other, whoever let them through.
            credentials: settings.credentials && origins.is_some(),
            origins,
            methods: list(settings.methods.iter().map(Method::as_str).collect()),
            headers: list(settings.headers.iter().map(HeaderName::as_str).collect()),
            exposed: list(settings.expose.iter().map(HeaderName::as_str).collect()),
            max_age: HeaderValue::from(settings.max_age.as_secs()),
        }
    }

    /// What `Access-Control-Allow-Origin` says to whoever sends these headers, if anything.
    fn reader(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = single(headers, &ORIGIN)?;
        if origin.as_bytes() == NULL.as_bytes() {
            return None;
        }
        match &self.origins {
            None => Some(ANYONE.clone()),
            Some(known) => known.iter().find(|known| *known == origin).cloned(),
        }
    }

    /// Whether a page of this origin may come with a person's credentials.
    pub fn trusts(&self, origin: &[u8]) -> bool {
        let known = self.origins.as_deref().unwrap_or_default();
        self.credentials && known.iter().any(|known| known.as_bytes() == origin)
    }
}

/// What the answer of `route` says of who may read it; nothing when the route leaves that to its upstream. Where a path can be read in
/// several ways, all of their routes have to let the same page read.
pub fn sharing(route: &Route, also: &[Other<'_>], headers: &HeaderMap) -> Option<Sharing> {
    let cors = route.cors.as_ref()?;
    let agrees = |reader: &HeaderValue| {
        also.iter().all(|other| {
            other.route.cors.as_ref().is_some_and(|others| {
                others.reader(headers).as_ref() == Some(reader) && (others.credentials || !cors.credentials)
            })
        })
    };
    let reader = cors.reader(headers).filter(agrees);
    let exposed = cors.exposed.clone().filter(|_| reader.is_some());
    Some(Sharing { credentials: cors.credentials && reader.is_some(), exposed, reader })
}

impl Sharing {
    /// Says it, in place of whatever is said there already.
    pub fn write(self, headers: &mut HeaderMap) {
        for name in &SAID_BY_UPSTREAMS {
            headers.remove(name);
        }
        depends_on_origin(headers);
        let Some(reader) = self.reader else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE.clone());
        }
        if let Some(exposed) = self.exposed {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}

/// Whether this is a browser's question in advance (Fetch, section 4.8). No browser sends a session with one, so none that comes along
/// counts, whoever answers it.
pub fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The preflight that a request is, if a route answers preflights for what it announces, or for what it is itself.
pub fn preflight<'a>(routes: &'a RouteTable, host: &str, path: &CanonicalPath, parts: &Parts) -> Option<Preflight<'a>> {
    if !is_preflight(parts) {
        return None;
    }
    let headers = &parts.headers;
    let speaks = |method: &Method| match routes.lookup(host, method, path) {
        Lookup::Found { route, also } => {
            let speak = route.cors.is_some() && also.iter().all(|other| other.route.cors.is_some());
            speak.then_some((route, also))
        }
        Lookup::Odd | Lookup::Nothing => None,
    };
    let announced = single(headers, &ACCESS_CONTROL_REQUEST_METHOD);
    let announced = announced.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    if let Some((route, also)) = announced.and_then(|method| speaks(&method)) {
        let shared = sharing(route, &also, headers).is_some_and(|sharing| sharing.reader.is_some());
        return Some(Preflight { route, cors: route.cors.as_ref().filter(|_| shared) });
    }
    speaks(&Method::OPTIONS).map(|(route, _)| Preflight { route, cors: None })
}

impl<'a> Preflight<'a> {
    /// The route of the request that it announces; else the one that it would go to by itself.
    pub const fn route(&self) -> &'a Arc<Route> {
        self.route
    }

    /// Whether the page may send the request that it announces, as far as its origin goes.
    pub const fn is_shared(&self) -> bool {
        self.cors.is_some()
    }

    /// The answer: 204 with what the route lets the page do, or 403. Never from a cache of ours, never with a cookie.
    pub fn answer(&self, visit: &Visit, headers: &HeaderMap) -> Response<Body> {
        let allowed = self.cors.and_then(|cors| Some((cors, cors.reader(headers)?)));
        let Some((cors, reader)) = allowed else {
            let explanation = Explanation::new(
                "That page may not ask here",
                "This site does not share this address with pages of that origin, or not by that method.",
                "Whoever runs this site can name the origin in the route's `cors`.",
            );
            let mut response = page::error(visit, StatusCode::FORBIDDEN, &explanation);
            depends_on_origin(response.headers_mut());
            return response;
        };
        let mut response = bare(&visit.request_id, StatusCode::NO_CONTENT);
        let said = response.headers_mut();
        depends_on_origin(said);
        said.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader);
        if cors.credentials {
            said.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE.clone());
        }
        for (name, list) in
            [(ACCESS_CONTROL_ALLOW_METHODS, &cors.methods), (ACCESS_CONTROL_ALLOW_HEADERS, &cors.headers)]
        {
            if let Some(list) = list {
                said.insert(name, list.clone());
            }
        }
        said.insert(ACCESS_CONTROL_MAX_AGE, cors.max_age.clone());
        response
    }
}

/// Says that the answer is another one for another `Origin` (RFC 9110, section 12.5.5).
fn depends_on_origin(headers: &mut HeaderMap) {
    let mut named =
        headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if !named.any(|name| name.trim() == "*" || name.trim().eq_ignore_ascii_case("origin")) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

/// The one value of a header.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}
