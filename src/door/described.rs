//! Reads from headers what request a proxy asks about: `X-Original-*` as nginx and Apache are told to write them, `X-Forwarded-*` as Traefik
//! and Caddy do.
//!
//! 1. Method and target have to be told. Without them we would judge the question in place of the request.
//! 2. A header that came twice tells nothing: one of the two may be the visitor's.
//! 3. Whatever is told in several headers has to be told alike, since a proxy that writes one family of headers hands on what the visitor
//!    wrote into the other.
//! 4. The host is that of `X-Original-URL`; beside `X-Original-URI` it is `Host`; beside `X-Forwarded-Uri` it is `X-Forwarded-Host`.

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use crate::gate::edge::{Malformed, Told};

/// What is told, header by header.
#[derive(Default)]
struct Headers<'h> {
    original_method: Option<&'h str>,
    forwarded_method: Option<&'h str>,
    url: Option<&'h str>,
    original_uri: Option<&'h str>,
    forwarded_uri: Option<&'h str>,
    host: Option<&'h str>,
}

impl<'h> Headers<'h> {
    /// Finds them in one pass, since every one of the question's headers would be asked for by its name else.
    fn of(headers: &'h HeaderMap) -> Result<Self, Malformed> {
        let mut told = Self::default();
        for (name, value) in headers {
            let place = match name.as_str() {
                "x-original-method" => &mut told.original_method,
                "x-forwarded-method" => &mut told.forwarded_method,
                "x-original-url" => &mut told.url,
                "x-original-uri" => &mut told.original_uri,
                "x-forwarded-uri" => &mut told.forwarded_uri,
                "host" => &mut told.host,
                _ => continue,
            };
            if place.replace(text(value)?).is_some() {
                return Err(TWICE);
            }
        }
        Ok(told)
    }

    fn method(&self) -> Result<Method, Malformed> {
        let text = match (self.original_method, self.forwarded_method) {
            (Some(one), Some(other)) if one != other => {
                return Err(Malformed::bad("the proxy tells two different methods of the request"));
            }
            (Some(method), _) | (None, Some(method)) => method,
            (None, None) => {
                return Err(Malformed::bad(
                    "the proxy doesn't tell the method of the request, in X-Original-Method or X-Forwarded-Method",
                ));
            }
        };
        text.parse().map_err(|_| Malformed::bad("the proxy tells a method that is none"))
    }
}

/// What the headers of a question say about the request.
///
/// # Errors
/// When they don't say all of it, or contradict each other.
pub fn by_headers(parts: &Parts) -> Result<Told, Malformed> {
    let told = Headers::of(&parts.headers)?;
    let method = told.method()?;
    let url = told.url.map(split).transpose()?;
    let mut targets = [url.map(|(_, target)| target), told.original_uri, told.forwarded_uri].into_iter().flatten();
    let target = targets.next().ok_or(Malformed::bad(
        "the proxy doesn't tell the target of the request, in X-Original-URL, X-Original-URI or X-Forwarded-Uri",
    ))?;
    if targets.any(|other| other != target) {
        return Err(Malformed::bad("the proxy tells two different targets of the request"));
    }
    let authority = match url {
        Some((Some(authority), _)) => Some(authority),
        // A path alone: the proxy that writes it passes on the host as it came.
        Some((None, _)) => Some(host(told.host, parts)?),
        None if told.original_uri.is_some() => Some(host(told.host, parts)?),
        None => None,
    };
    Ok(Told { method, authority: authority.map(str::to_owned), target: target.to_owned() })
}

/// What Envoy says by its question itself: its method, host, and the path behind `prefix`.
///
/// # Errors
/// When there is no such path, or no host.
pub fn by_path(parts: &Parts, prefix: &str) -> Result<Told, Malformed> {
    let asked =
        parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str).and_then(|asked| asked.strip_prefix(prefix));
    let target = asked.ok_or(Malformed::bad("the question has no path of a request"))?;
    let mut hosts = parts.headers.get_all(HOST).iter();
    let header = hosts.next().map(text).transpose()?;
    if hosts.next().is_some() {
        return Err(TWICE);
    }
    let host = host(header, parts)?;
    Ok(Told { method: parts.method.clone(), authority: Some(host.to_owned()), target: target.to_owned() })
}

const TWICE: Malformed = Malformed::bad("the proxy tells something of the request twice");

fn text(value: &HeaderValue) -> Result<&str, Malformed> {
    value.to_str().map_err(|_| Malformed::bad("what the proxy tells of the request can't be read"))
}

/// Host and target of `https://app.example.com/x?y`, or the target alone of `/x?y`. A URL that ends with its host has the root as its path
/// (RFC 9110, section 4.2.3).
fn split(url: &str) -> Result<(Option<&str>, &str), Malformed> {
    if url.starts_with('/') {
        return Ok((None, url));
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or(Malformed::bad("the proxy tells a URL that is none"))?;
    match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
        Some((authority, target)) => Ok((Some(authority), target)),
        None => Ok((Some(rest), "/")),
    }
}

/// The host that the question itself was sent to.
fn host<'h>(header: Option<&'h str>, parts: &'h Parts) -> Result<&'h str, Malformed> {
    match (header, parts.uri.authority()) {
        (Some(header), None) => Ok(header),
        (None, Some(named)) => Ok(named.as_str()),
        (Some(header), Some(named)) if header == named.as_str() => Ok(header),
        (Some(_), Some(_)) => Err(Malformed::bad("the question's target and its Host header name different hosts")),
        (None, None) => Err(Malformed::bad("the question names no host")),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use super::*;

    fn parts(uri: &str, lines: &[(&str, &str)]) -> Parts {
        let mut parts = Request::get(uri).body(()).unwrap().into_parts().0;
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            parts.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        parts
    }

    fn told(lines: &[(&str, &str)]) -> Option<(String, Option<String>, String)> {
        let parts = parts("/.auth/verify", lines);
        let told = by_headers(&parts).ok()?;
        Some((told.method.to_string(), told.authority, told.target))
    }

    const GET: (&str, &str) = ("x-original-method", "GET");
    const HOSTED: (&str, &str) = ("host", "app.example.com");

    #[test]
    fn every_proxy_is_understood() {
        let expect = |lines: &[(&str, &str)], method: &str, host: Option<&str>, target: &str| {
            let expected = (method.to_owned(), host.map(str::to_owned), target.to_owned());
            assert_eq!(told(lines), Some(expected), "{lines:?}");
        };
        let app = Some("app.example.com");
        expect(
            &[("x-original-method", "PUT"), ("x-original-url", "https://app.example.com/x?y=1")],
            "PUT",
            app,
            "/x?y=1",
        );
        expect(&[GET, ("x-original-url", "http://app.example.com:8080")], "GET", Some("app.example.com:8080"), "/");
        expect(&[GET, HOSTED, ("x-original-url", "/x")], "GET", app, "/x");
        expect(&[GET, HOSTED, ("x-original-uri", "/x")], "GET", app, "/x");
        expect(&[("x-forwarded-method", "DELETE"), HOSTED, ("x-forwarded-uri", "/x?")], "DELETE", None, "/x?");
        expect(
            &[
                GET,
                ("x-forwarded-method", "GET"),
                ("x-forwarded-uri", "/x"),
                ("x-original-url", "https://app.example.com/x"),
            ],
            "GET",
            app,
            "/x",
        );
    }

    #[test]
    fn half_a_description_is_none() {
        for lines in [
            &[][..],
            &[GET],
            &[("x-original-uri", "/x")],
            &[("x-forwarded-uri", "/x"), ("x-forwarded-host", "app.example.com")],
            &[GET, ("x-original-uri", "/x")],
            &[("x-original-method", "G T"), HOSTED, ("x-original-uri", "/x")],
            &[("x-original-method", ""), HOSTED, ("x-original-uri", "/x")],
            &[GET, HOSTED, ("x-original-uri", "/\u{fc}")],
            &[GET, ("x-original-url", "ftp://app.example.com/")],
            &[GET, ("x-original-url", "app.example.com/")],
            &[GET, ("x-original-url", "")],
        ] {
            assert_eq!(told(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn what_is_told_twice_is_told_alike() {
        for lines in [
            &[GET, HOSTED, ("x-original-uri", "/admin"), ("x-forwarded-uri", "/public")][..],
            &[GET, HOSTED, ("x-original-uri", "/admin"), ("x-original-uri", "/public")],
            &[GET, HOSTED, ("x-original-uri", "/x"), ("x-original-uri", "/x")],
            &[GET, HOSTED, ("x-original-uri", "/admin"), ("x-original-url", "https://app.example.com/public")],
            &[GET, GET, HOSTED, ("x-original-uri", "/x")],
            &[("x-original-method", "POST"), ("x-forwarded-method", "GET"), HOSTED, ("x-original-uri", "/x")],
            &[GET, HOSTED, HOSTED, ("x-original-uri", "/x")],
        ] {
            assert_eq!(told(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn envoy_tells_by_its_question() {
        let parts = parts("/.auth/verify/ext_authz/a%20b?c=d", &[HOSTED, ("x-forwarded-uri", "/public")]);
        let told = by_path(&parts, "/.auth/verify/ext_authz").unwrap();
        assert_eq!((told.authority.as_deref(), told.target.as_str()), (Some("app.example.com"), "/a%20b?c=d"));
        assert!(by_path(&parts, "/auth").is_err());
    }
}
