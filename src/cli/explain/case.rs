//! The case to explain: a request as a client would send it, and who would send it.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, header};
use serde_json::{Map, Value};

use crate::base::clock::{Clock, Timestamp};
use crate::cli::args::ExplainArgs;
use crate::config::settings::{ProviderSettings, Settings};
use crate::gate::cors::is_preflight;
use crate::http::visit::{Peer, SiteOrigin};
use crate::identity::principal::Principal;
use crate::identity::vouched::Binding;
use crate::jose::json::parse_object;
use crate::provider::bearer::caller_of;
use crate::provider::principal_of;

/// The longest file of claims, in bytes.
const LONGEST_CLAIMS: u64 = 1024 * 1024;

/// Who asks, when they proved who they are, and the token that says so.
type Caller = (Option<Principal>, Option<Timestamp>, Option<Token>);

/// What is to be explained.
pub(super) struct Case {
    /// As it was given.
    pub(super) method: String,
    /// As it was given.
    pub(super) url: String,
    /// The request; why no client could send it, when it can't be one.
    pub(super) parts: Result<Parts, &'static str>,
    /// Whether it says by itself what it brings beside its target.
    pub(super) has_headers: bool,
    /// The connection that it comes over.
    pub(super) peer: Peer,
    /// Who is signed in, or whom the token speaks for.
    pub(super) who: Option<Principal>,
    /// The token that it brings in a session's place.
    pub(super) token: Option<Token>,
    /// When they proved who they are.
    pub(super) authenticated: Option<Timestamp>,
    /// When it is asked.
    pub(super) now: Timestamp,
}

/// An access token.
pub(super) struct Token {
    /// Its issuer, by its place in the settings.
    pub(super) issuer: usize,
    /// Why it would not be taken.
    pub(super) fault: Option<&'static str>,
    /// Whether it is bound to its caller's key or certificate.
    pub(super) is_bound: bool,
}

/// Reads the command line and the file of claims.
///
/// # Errors
/// What can't be read, in a sentence.
pub(super) fn read(args: &ExplainArgs, settings: &Settings) -> Result<Case, String> {
    let now = Clock::System.now();
    let (is_tls, host, target) = split(&args.url, settings)?;
    let person = match &args.claims {
        None if args.provider.is_some() => {
            return Err("--provider says whose the --claims are; there are none".to_owned());
        }
        None => (None, None, None),
        Some(file) => match &args.bearer {
            None => {
                let (who, authenticated) = person(&text_of(file)?, args.provider.as_deref(), settings)?;
                (Some(who), authenticated, None)
            }
            Some(name) => caller(&text_of(file)?, name, settings, now)?,
        },
    };
    let brought = args.headers.iter().map(|line| header(line)).collect::<Result<Vec<_>, _>>()?;
    let parts = parts(&args.method, &host, target).map(|parts| with(parts, brought));
    // A preflight is nobody's who has a session.
    let (who, authenticated, token) = match person {
        (_, _, None) if parts.as_ref().is_ok_and(is_preflight) => (None, None, None),
        person => person,
    };
    let client = args.client_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Ok(Case {
        method: args.method.clone(),
        url: args.url.clone(),
        parts,
        has_headers: !args.headers.is_empty(),
        peer: Peer { remote: Some(SocketAddr::new(client, 0)), local: None, tls: is_tls, certificate: None },
        who,
        token,
        authenticated,
        now,
    })
}

/// Whether it comes over TLS, the host, and the target byte for byte.
fn split<'u>(url: &'u str, settings: &Settings) -> Result<(bool, String, &'u str), String> {
    if url.starts_with('/') {
        let site = SiteOrigin::new(&settings.public_url).ok_or("public_url has no host")?;
        return Ok((site.is_secure(), site.authority().to_owned(), url));
    }
    let form = || format!("`{}` is no URL; write https://host/path, or /path at the public URL", printable(url));
    let (scheme, rest) = url.split_once("://").ok_or_else(form)?;
    let is_tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(form()),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, target) = rest.split_at(end);
    if host.is_empty() {
        return Err(form());
    }
    Ok((is_tls, host.to_owned(), target))
}

/// A request with this target, unless no server would read it as one.
fn parts(method: &str, host: &str, target: &str) -> Result<Parts, &'static str> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| "the method is no token")?;
    let host = HeaderValue::from_str(host).map_err(|_| "the Host header is not a host")?;
    let slashed = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let target = PathAndQuery::try_from(slashed).map_err(|_| "the request target can't be read")?;
    let request = Request::builder().method(method).uri(http::Uri::from(target)).header(header::HOST, host).body(());
    request.map(|request| request.into_parts().0).map_err(|_| "the request target can't be read")
}

/// One header as it was given: `Name: value`.
fn header(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    // What stands there may be a secret.
    let wrong = || "a --header is no header; write it like `Origin: https://app.example.com`".to_owned();
    let (name, value) = line.split_once(':').ok_or_else(wrong)?;
    let name: HeaderName = name.parse().map_err(|_| wrong())?;
    if name == header::HOST {
        return Err("the host is that of the URL; --header can't say another".to_owned());
    }
    Ok((name, value.trim().parse().map_err(|_| wrong())?))
}

fn with(mut parts: Parts, headers: Vec<(HeaderName, HeaderValue)>) -> Parts {
    for (name, value) in headers {
        parts.headers.append(name, value);
    }
    parts
}

fn text_of(file: &std::path::Path) -> Result<Vec<u8>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut text = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(LONGEST_CLAIMS).read_to_end(&mut text).map_err(wrong)?;
    } else {
        let opened = std::fs::File::open(file).map_err(wrong)?;
        opened.take(LONGEST_CLAIMS).read_to_end(&mut text).map_err(wrong)?;
    }
    Ok(text)
}

/// Whom the claims of an ID token tell of.
fn person(text: &[u8], provider: Option<&str>, settings: &Settings) -> Result<(Principal, Option<Timestamp>), String> {
    let claims = parse_object(text).map_err(|fault| format!("the claims are no JSON object: {fault}"))?;
    let provider = provider_of(&claims, provider, &settings.providers)?;
    principal_of(provider, claims).map_err(|problem| format!("the claims: {problem}"))
}

/// Whom the claims of an access token speak for, unless it would not be taken.
fn caller(text: &[u8], name: &str, settings: &Settings, now: Timestamp) -> Result<Caller, String> {
    let claims = parse_object(text).map_err(|fault| format!("the claims are no JSON object: {fault}"))?;
    let known = || settings.bearer.iter().map(|bearer| &*bearer.name).collect::<Vec<_>>().join(", ");
    let found = settings.bearer.iter().enumerate().find(|(_, bearer)| *bearer.name == *name);
    let (issuer, bearer) =
        found.ok_or_else(|| format!("there is no [bearer.{}]; known: {}", printable(name), known()))?;
    Ok(match caller_of(bearer, &claims, now) {
        Ok((who, authenticated, binding)) => {
            let is_bound = binding != Binding::default();
            (Some(who), authenticated, Some(Token { issuer, fault: None, is_bound }))
        }
        Err(fault) => (None, None, Some(Token { issuer, fault: Some(fault), is_bound: false })),
    })
}

fn provider_of<'s>(
    claims: &Map<String, Value>,
    named: Option<&str>,
    providers: &'s [ProviderSettings],
) -> Result<&'s ProviderSettings, String> {
    let known = || providers.iter().map(|provider| &*provider.name).collect::<Vec<_>>().join(", ");
    if let Some(name) = named {
        let found = providers.iter().find(|provider| *provider.name == *name);
        return found.ok_or_else(|| format!("there is no provider `{}`; known: {}", printable(name), known()));
    }
    let issuer = claims.get("iss").and_then(Value::as_str);
    match (issuer, providers) {
        (Some(issuer), _) => providers.iter().find(|provider| provider.issuer == issuer).ok_or_else(|| {
            format!(
                "no provider has the issuer `{}`; leave `iss` out, or say --provider: {}",
                printable(issuer),
                known()
            )
        }),
        (None, [only]) => Ok(only),
        (None, []) => Err("the config has no provider whose claims these could be".to_owned()),
        (None, _) => Err(format!("whose claims are these? Say --provider: {}", known())),
    }
}

fn printable(text: &str) -> String {
    text.chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
