//! What a client needs to know to get a token for a route (RFC 9728): its issuers, scopes and bindings, below
//! `/.well-known/oauth-protected-resource`.
//!
//! 1. Only routes that take tokens have it; any other such path is a route's like all others.
//! 2. `resource` is the address that the document was asked for (section 3.3), made of our configured URL.

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::{Acceptance, BearerPlan};
use crate::gate::edge::Admitted;
use crate::gate::route::RouteTable;
use crate::http::body::Body;
use crate::jose::algorithm::Algorithm;
use crate::page;
use crate::page::answer::{Asker, json as as_json};

/// Where the documents are (section 3.1).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Methods of the route that a document may be about.
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The document that is asked for, if it is one.
pub fn answer(plan: &BearerPlan, routes: &RouteTable, admitted: &Admitted, parts: &Parts) -> Option<Response<Body>> {
    let rest = admitted.path.matching().strip_prefix(WELL_KNOWN)?;
    if !(rest.is_empty() || rest.starts_with('/')) || !matches!(parts.method, Method::GET | Method::HEAD) {
        return None;
    }
    let visit = &admitted.visit;
    let path = if rest.is_empty() { "/" } else { rest };
    let find = |path: &str| {
        let host = visit.site.host();
        METHODS.iter().find_map(|method| routes.find(host, method, path)).and_then(|route| route.bearer.as_ref())
    };
    // The paths of a route end in a slash at least; clients leave that away.
    let acceptance = find(path).or_else(|| find(&format!("{path}/")))?;
    // As the client wrote it: that is what it compares with.
    let written = admitted.path.sent().strip_prefix(WELL_KNOWN)?;
    let resource = if written.is_empty() { visit.site.as_str().to_owned() } else { visit.site.at(written) };
    let value = Value::Object(document(plan, acceptance, resource));
    let mut response = as_json(Asker::from(visit), StatusCode::OK, &value);
    let headers = response.headers_mut();
    // Clients in browsers read it from their own origins; it holds nothing that is not for everyone.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Some(if parts.method == Method::HEAD { page::to_head(response) } else { response })
}

fn document(plan: &BearerPlan, acceptance: &Acceptance, resource: String) -> Map<String, Value> {
    let issuers = || acceptance.issuers.iter().copied();
    let mut identifiers: Vec<&str> = issuers().filter_map(|index| plan.issuers.identifier(index)).collect();
    identifiers.dedup();
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("resource", Value::from(resource));
    put("authorization_servers", json!(identifiers));
    if !acceptance.scopes.is_empty() {
        put("scopes_supported", json!(acceptance.scopes.split(' ').collect::<Vec<_>>()));
    }
    put("bearer_methods_supported", json!(["header"]));
    put("dpop_signing_alg_values_supported", json!(Algorithm::ALL.map(Algorithm::name)));
    if issuers().all(|index| plan.issuers.requires_dpop(index)) {
        put("dpop_bound_access_tokens_required", json!(true));
    }
    if plan.certificates {
        put("tls_client_certificate_bound_access_tokens", json!(true));
    }
    document
}
