//! Ends what a provider's page says has ended there: `GET /frontchannel-logout/{provider}`, loaded in a frame (`OpenID` Connect
//! Front-Channel Logout 1.0).
//!
//! 1. `iss` is the provider's, and comes with a `sid` (section 2). Both together end the sessions that came of that session there, also
//!    where the browser keeps our cookies back, as it does in frames of other sites.
//! 2. Without both, only this browser's session ends, and only when the provider's own page asks, or any site could sign people out.
//! 3. Nobody shows a proof here, so nothing but that ends: tokens stay, and what one address may ask for is bounded.
//! 4. The answer may be framed by the provider's pages and by nobody else's, and is never stored.

use http::header::{CONTENT_SECURITY_POLICY, REFERER, X_FRAME_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use url::Url;

use crate::endpoint::login::given;
use crate::endpoint::origin::{is_embedded_otherwise, is_prefetch};
use crate::endpoint::site::{Offer, Site};
use crate::http::body::Body;
use crate::http::query::Query;
use crate::http::visit::Visit;
use crate::page::answer::{RESOURCE_POLICY, full};
use crate::page::{self, Explanation};
use crate::session::ended::Mark;
use crate::session::model::Session;

/// Whom a request is about.
enum Named<'a> {
    /// The sessions that came of this one at the provider.
    Session(&'a str),
    /// Whoever is signed in in this browser.
    ThisBrowser,
}

/// `GET /frontchannel-logout/{provider}`.
pub fn frontchannel(site: &Site, visit: &Visit, parts: &Parts, name: &str) -> Response<Body> {
    let Some(offer) = site.offer(name) else { return page::not_found(visit) };
    if parts.method == Method::HEAD || is_prefetch(&parts.headers) || is_embedded_otherwise(&parts.headers) {
        return refuse(visit, "This address is for a frame of the provider's page.");
    }
    let query = Query::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let Ok(query) = query else { return refuse(visit, "A parameter came twice, or is not well formed.") };
    let named = match (given(&query, "iss"), given(&query, "sid")) {
        (Some(issuer), Some(sid)) if issuer == offer.provider.issuer() => Named::Session(sid),
        (Some(_), Some(_)) => return refuse(visit, "The request names another provider."),
        (None, None) if is_from(parts, offer) => Named::ThisBrowser,
        (None, None) => return refuse(visit, "The request says neither iss nor sid, so it could be anybody's."),
        _ => return refuse(visit, "The request has one of iss and sid without the other."),
    };
    if let Named::Session(_) = named
        && !site.front_channel.admits(visit.client)
    {
        let explanation = Explanation::new("Too many sign-outs", "This address asks for too many sign-outs.", "");
        return page::error(visit, StatusCode::TOO_MANY_REQUESTS, &explanation);
    }
    let here = site.session(visit, &parts.headers).filter(|session| is_meant(session, offer, &named));
    let now = site.clock.now();
    if let Named::Session(sid) = named {
        site.ended.end_unproved(Mark::on_provider_session(offer.provider.issuer(), sid, now), now);
    }
    let response = framed(visit, offer);
    match here {
        Some(session) => {
            site.end_session(visit, &parts.headers);
            tracing::info!(
                request_id = &*visit.request_id,
                provider = name,
                principal = session.principal.id(),
                "signed out by the provider's page"
            );
            page::with_cookies(response, site.sessions.clear(&parts.headers))
        }
        None => response,
    }
}

/// Whether this browser's session is one of those that end.
fn is_meant(session: &Session, offer: &Offer, named: &Named<'_>) -> bool {
    let is_theirs = session.principal.issuer == offer.provider.issuer();
    is_theirs
        && match named {
            Named::Session(sid) => session.provider_session.as_deref() == Some(*sid),
            Named::ThisBrowser => true,
        }
}

/// Whether a page of the provider asks: no page can say that it is another site's.
fn is_from(parts: &Parts, offer: &Offer) -> bool {
    let mut lines = parts.headers.get_all(REFERER).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let origin =
        line.to_str().ok().and_then(|text| Url::parse(text).ok()).map(|url| url.origin().ascii_serialization());
    origin.is_some_and(|origin| offer.provider.page_origins().contains(&origin))
}

fn refuse(visit: &Visit, what: &'static str) -> Response<Body> {
    page::error(visit, StatusCode::BAD_REQUEST, &Explanation::new("Nobody was signed out", what, ""))
}

/// A page that the provider's may frame: an empty one, since nobody sees it.
fn framed(visit: &Visit, offer: &Offer) -> Response<Body> {
    let html = "<!doctype html><html lang=\"en\"><title>Signed out</title></html>\n";
    let mut response = full(&visit.request_id, StatusCode::OK, "text/html; charset=utf-8", html);
    let policy = format!("default-src 'none'; frame-ancestors {}", offer.provider.page_origins().join(" "));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        // It knows no list of origins; the policy above takes its place (Content Security Policy Level 3, section 6.4.2).
        headers.remove(X_FRAME_OPTIONS);
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::endpoint::kit::{ISSUER, NOW, browser, cookies, get, header_of, jar, session, site};

    fn with_sid(site: &Site, sid: Option<&str>) -> (Session, String) {
        let session = Session { provider_session: sid.map(str::to_owned), ..session() };
        let now = Timestamp::from_seconds(NOW);
        let set = site.sessions.write(&session, &http::HeaderMap::new(), "app.example.com", now).unwrap();
        (session, jar(&set))
    }

    fn ask(site: &Site, query: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let parts = get(&format!("/.auth/frontchannel-logout/corp?{query}"), headers);
        frontchannel(site, &browser(), &parts, "corp")
    }

    #[tokio::test]
    async fn issuer_and_sid_end_the_session_with_or_without_its_cookie() {
        let query = format!("iss={ISSUER}&sid=sid-1");
        for with_cookie in [true, false] {
            let site = site(&["corp"]);
            let (session, cookie) = with_sid(&site, Some("sid-1"));
            let other = Session { id: [8; 16], ..with_sid(&site, Some("sid-2")).0 };
            let headers: &[(&str, &str)] =
                if with_cookie { &[("cookie", &cookie)] } else { &[("sec-fetch-dest", "iframe")] };
            let response = ask(&site, &query, headers);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(header_of(&response, "cache-control"), "no-store");
            assert_eq!(
                header_of(&response, "content-security-policy"),
                format!("default-src 'none'; frame-ancestors {ISSUER}")
            );
            assert_eq!(header_of(&response, "x-frame-options"), "");
            assert_eq!(cookies(&response).is_empty(), !with_cookie);
            assert!(site.ended.holds(&session) && !site.ended.holds(&other));
        }
    }

    #[tokio::test]
    async fn half_a_name_or_anothers_ends_nothing() {
        let site = site(&["corp"]);
        let (session, cookie) = with_sid(&site, Some("sid-1"));
        let good = format!("iss={ISSUER}&sid=sid-1");
        let cases: [(String, &[(&str, &str)]); 9] = [
            (format!("iss={ISSUER}"), &[]),
            ("sid=sid-1".to_owned(), &[]),
            (format!("iss={ISSUER}/&sid=sid-1"), &[]),
            (format!("{good}&sid=sid-1"), &[]),
            (String::new(), &[]),
            (String::new(), &[("referer", "https://evil.example/")]),
            (good.clone(), &[("sec-fetch-dest", "image")]),
            (good.clone(), &[("sec-fetch-dest", "script")]),
            (good, &[("sec-purpose", "prefetch")]),
        ];
        for (query, headers) in cases {
            let headers = [headers, &[("cookie", cookie.as_str())]].concat();
            let response = ask(&site, &query, &headers);
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query} {headers:?}");
            assert_eq!(header_of(&response, "x-frame-options"), "DENY");
            assert!(!site.ended.holds(&session), "{query} {headers:?}");
        }
    }

    #[tokio::test]
    async fn without_names_the_providers_own_page_ends_this_browsers_session() {
        let site = site(&["corp"]);
        let (session, cookie) = with_sid(&site, None);
        let referer = format!("{ISSUER}/logout");
        let response = ask(&site, "", &[("cookie", &cookie), ("referer", &referer)]);
        assert_eq!(response.status(), StatusCode::OK);
        assert!(site.ended.holds(&session) && !cookies(&response).is_empty());
    }

    #[tokio::test]
    async fn one_address_can_not_ask_without_end() {
        let site = site(&["corp"]);
        let answers = (0..1_000).map(|number| ask(&site, &format!("iss={ISSUER}&sid={number}"), &[]).status());
        let refused = answers.filter(|status| *status == StatusCode::TOO_MANY_REQUESTS).count();
        assert!(refused > 800, "{refused}");
    }
}
