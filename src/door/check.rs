//! A question of Envoy's in its own types: what it asks, and what it is told (`envoy.service.auth.v3`).

use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderValue as Field, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc::Status;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use tonic::Code;

use crate::door::ask::Permit;
use crate::door::verify::is_envoys_own;
use crate::gate::Gate;
use crate::gate::edge::{Malformed, Told};
use crate::http::body::Body;
use crate::http::visit::Peer;

/// A request that Envoy received, and where it came from.
pub struct Asked {
    /// Its headers.
    pub parts: Parts,
    /// What it asks for.
    pub told: Told,
    /// Who sent it, as Envoy knows them: what stands in `X-Forwarded-For` counts when that is a trusted proxy too.
    pub source: Peer,
}

/// Reads a question.
///
/// # Errors
/// When it describes no HTTP request, or one that can't be.
pub fn read(check: CheckRequest) -> Result<Asked, Malformed> {
    const NOTHING: Malformed = Malformed::bad("the question describes no HTTP request");
    let attributes = check.attributes.ok_or(NOTHING)?;
    let source = attributes.source.and_then(|peer| peer.address);
    let mut http = attributes.request.and_then(|request| request.http).ok_or(NOTHING)?;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.version = Version::HTTP_11;
    parts.headers = headers(&mut http)?;
    // A target with a fragment is refused by the edge, so it has to get there.
    let fragment = if http.fragment.is_empty() { String::new() } else { format!("#{}", http.fragment) };
    let told = Told {
        method: Method::from_bytes(http.method.as_bytes()).map_err(|_| Malformed::bad("the method is none"))?,
        authority: Some(http.host),
        target: http.path + &fragment,
    };
    Ok(Asked { parts, told, source: Peer { remote: source.and_then(address), ..Peer::default() } })
}

/// The headers as Envoy got them: every line where it sends them so (`encode_raw_headers`), else those of a name in one line.
fn headers(http: &mut HttpRequest) -> Result<HeaderMap, Malformed> {
    let lines: Vec<(String, Vec<u8>)> = match http.header_map.take() {
        Some(map) => map
            .headers
            .into_iter()
            .map(|Field { key, value, raw_value }| {
                (key, if raw_value.is_empty() { value.into_bytes() } else { raw_value })
            })
            .collect(),
        None => std::mem::take(&mut http.headers).into_iter().map(|(key, value)| (key, value.into_bytes())).collect(),
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.into_iter().filter(|(name, _)| !name.starts_with(':')) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed::bad("a header's name is none"))?;
        let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(value))
            .map_err(|_| Malformed::bad("a header's value is none"))?;
        headers
            .try_append(name, value)
            .map_err(|_| Malformed::with(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "there are too many headers"))?;
    }
    Ok(headers)
}

fn address(address: Address) -> Option<std::net::SocketAddr> {
    let Some(Kind::SocketAddress(socket)) = address.address else { return None };
    let port = match socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(port).ok()?,
        _ => 0,
    };
    Some(std::net::SocketAddr::new(socket.address.parse().ok()?, port))
}

/// A yes.
pub fn pass(gate: &Gate, mut permit: Permit<'_>) -> CheckResponse {
    let mut set = std::mem::take(&mut permit.vouched.identity);
    permit.forwarding(gate, &mut set);
    let removed = permit.removed(&set).into_iter().filter(|name| !is_envoys_own(name));
    let headers_to_remove = removed.map(str::to_owned).collect();
    for (name, value) in [(AUTHORIZATION, permit.vouched.authorization), (COOKIE, permit.vouched.cookie)] {
        if let Some(value) = value {
            set.insert(name, value);
        }
    }
    let renewed = permit.vouched.renewed.iter();
    CheckResponse {
        status: Some(status(Code::Ok)),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers: set.iter().map(|(name, value)| field(name, value)).collect(),
            headers_to_remove,
            response_headers_to_add: renewed.map(|cookie| field(&SET_COOKIE, cookie)).collect(),
            ..OkHttpResponse::default()
        })),
        ..CheckResponse::default()
    }
}

/// A no, with the answer for the visitor.
pub async fn refuse(response: Response<Body>) -> CheckResponse {
    let (head, body) = response.into_parts();
    let code = match head.status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        status if status.is_server_error() => Code::Unavailable,
        _ => Code::PermissionDenied,
    };
    // A body of ours is text that is there already.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let fields = head.headers.iter().filter(|(name, _)| **name != CONTENT_LENGTH);
    CheckResponse {
        status: Some(status(code)),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: i32::from(head.status.as_u16()) }),
            headers: fields.map(|(name, value)| field_of_refusal(name, value)).collect(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })),
        ..CheckResponse::default()
    }
}

/// One header. `Set-Cookie` comes once for each cookie; everything else takes the place of what is there.
fn field(name: &HeaderName, value: &HeaderValue) -> HeaderValueOption {
    let many = *name == SET_COOKIE;
    let action =
        if many { HeaderAppendAction::AppendIfExistsOrAdd } else { HeaderAppendAction::OverwriteIfExistsOrAdd };
    let text = std::str::from_utf8(value.as_bytes()).ok();
    let mut option = HeaderValueOption {
        header: Some(Field {
            key: name.as_str().to_owned(),
            // Envoy takes one of the two, and text, which is UTF-8 here, is what every version of it takes.
            value: text.unwrap_or_default().to_owned(),
            raw_value: if text.is_some() { Vec::new() } else { value.as_bytes().to_vec() },
        }),
        append_action: action.into(),
        ..HeaderValueOption::default()
    };
    #[allow(
        deprecated,
        reason = "versions of Envoy that don't know the action go by this, and the others agree with it"
    )]
    {
        option.append = Some(envoy_types::pb::google::protobuf::BoolValue { value: many });
    }
    option
}

/// One header of a refusal. Envoy puts together its answer of those alone that are not said to be appended, and keeps several of one name.
fn field_of_refusal(name: &HeaderName, value: &HeaderValue) -> HeaderValueOption {
    let mut option = field(name, value);
    #[allow(deprecated, reason = "for a refusal, Envoy goes by nothing else")]
    {
        option.append = None;
    }
    option
}

fn status(code: Code) -> Status {
    Status { code: code.into(), ..Status::default() }
}
