//! Ends the session here, then the provider's: `GET` and `POST /logout`; with `everywhere=1` in the form, all that the person has here.
//!
//! 1. A link or form of this site, or the address typed by hand, ends the session at once.
//! 2. A request from elsewhere only gets a page that asks; the button on it is rule 1.
//! 3. What a page loads as a part (`<img>`, frame) and what a browser fetches in advance does nothing, from wherever.
//! 4. Without any word on where it comes from it counts as by hand: browsers send `Origin` or `Referer` with what a page begins.
//! 5. The session here ends first, whatever becomes of the provider's (RP-Initiated Logout 1.0, section 2).
//! 6. A browser's way on is a page that goes on by itself, not a redirect: only a page of its own makes the browser put the private page
//!    away, so that `/signed-out` can have it forgotten (see [`crate::endpoint::signed_out`]).
//! 7. The tokens of the session are given back to the provider behind everybody's back (RFC 7009): nobody waits for that, and nobody
//!    learns whether it went well but from the log.

use http::request::Parts;
use http::{HeaderName, Method, Response, StatusCode};
use serde_json::json;

use crate::base::random;
use crate::endpoint::fault::internal;
use crate::endpoint::form;
use crate::endpoint::origin::{Source, is_part_of_a_page, is_prefetch, source};
use crate::endpoint::signed_out::{forget_pages, pending_cookie, signed_out_path};
use crate::endpoint::site::Site;
use crate::http::body::Body;
use crate::http::visit::{Caller, Visit};
use crate::page::answer::json as json_answer;
use crate::page::html::Link;
use crate::page::{self, Explanation, Question};
use crate::session::ended::Mark;
use crate::session::model::Session;

/// The field of the form that ends all of a person's sessions.
pub(crate) const EVERYWHERE: &str = "everywhere";
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What becomes of a request to sign out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    End,
    Ask,
    Ignore,
}

/// `GET` and `POST /logout`.
pub fn logout(site: &Site, visit: &Visit, parts: &Parts, body: &[u8]) -> Response<Body> {
    match judge(visit, parts) {
        Verdict::End => end(site, visit, parts, is_everywhere(parts, body)),
        Verdict::Ask if visit.caller == Caller::Browser => ask(site, visit),
        Verdict::Ask | Verdict::Ignore => {
            let explanation = Explanation::new(
                "Nobody was signed out",
                "This request came from another place, or from a part of a page.",
                "Use the link of the application to sign out.",
            );
            page::error(visit, StatusCode::FORBIDDEN, &explanation)
        }
    }
}

fn judge(visit: &Visit, parts: &Parts) -> Verdict {
    if parts.method == Method::HEAD || is_prefetch(&parts.headers) || is_part_of_a_page(&parts.headers) {
        return Verdict::Ignore;
    }
    match source(&parts.headers, &visit.site) {
        // Browsers tell where a form comes from, so a request that tells nothing has no person to be tricked.
        Source::Own | Source::Untold => Verdict::End,
        Source::Foreign => Verdict::Ask,
    }
}

/// Only a form asks for it, so that no link can.
fn is_everywhere(parts: &Parts, body: &[u8]) -> bool {
    parts.method == Method::POST && form::read(parts, body).is_some_and(|form| form.get(EVERYWHERE) == Some("1"))
}

fn ask(site: &Site, visit: &Visit) -> Response<Body> {
    let action = site.path("/logout");
    let stay = [Link::new("Stay signed in", "/")];
    page::ask(
        visit,
        &Question {
            title: "Sign out?",
            what: "Another site asks to sign you out here. Nothing has happened yet.",
            action: &action,
            fields: &[],
            button: "Sign out",
            others: &stay,
        },
    )
}

fn end(site: &Site, visit: &Visit, parts: &Parts, everywhere: bool) -> Response<Body> {
    let state = match random::token() {
        Ok(state) => state,
        Err(cause) => return internal(visit, "a sign-out can't be named", &cause),
    };
    let session = site.session(visit, &parts.headers);
    let onward = session.as_ref().and_then(|session| end_session(site, visit, session, &state));
    site.end_session(visit, &parts.headers);
    if let Some(session) = &session {
        let now = site.clock.now();
        if everywhere {
            let principal = &session.principal;
            site.ended.end(Mark::on_person(&principal.issuer, &principal.subject, now), now);
        }
        give_back(site, session);
        tracing::info!(
            request_id = &*visit.request_id,
            provider = &*session.principal.provider,
            principal = session.principal.id(),
            everywhere,
            "signed out"
        );
    }
    let pending = if visit.caller == Caller::Browser { pending_cookie(site, visit, &state) } else { None };
    let response = page::with_cookies(farewell(site, visit, parts, onward), pending);
    forget(site, parts, response)
}

/// Tokens that nobody needs any more.
fn give_back(site: &Site, session: &Session) {
    let offer = site.offer(&session.principal.provider);
    if let Some(revocation) = offer.and_then(|offer| offer.provider.revoke(&session.tokens)) {
        site.office.start(revocation);
    }
}

/// Everything that this browser holds of ours goes.
fn forget(site: &Site, parts: &Parts, response: Response<Body>) -> Response<Body> {
    let response = page::with_cookies(response, site.sessions.clear(&parts.headers));
    forget_pages(page::with_cookies(response, site.flows.clear_all(&parts.headers)))
}

/// Where the provider ends its own session.
fn end_session(site: &Site, visit: &Visit, session: &Session, state: &str) -> Option<String> {
    let offer = site.offer(&session.principal.provider)?;
    let back = visit.site.at(&signed_out_path(site));
    offer.provider.end_session(id_token_hint(visit.caller, session), &back, state)
}

/// The hint at whose session is to end. A program gets a URL without it: scripts get no tokens from us, and the provider
/// asks the person instead.
fn id_token_hint(caller: Caller, session: &Session) -> Option<&str> {
    match caller {
        Caller::Browser => session.tokens.id_token.as_deref(),
        Caller::Program => None,
    }
}

/// A browser goes on from a page of ours: after a redirect its Back would bring the last private page to life again, from the memory
/// that only a page of this site can clear. Whoever tells nothing of what it is for has no such memory.
fn farewell(site: &Site, visit: &Visit, parts: &Parts, end_session: Option<String>) -> Response<Body> {
    if visit.caller == Caller::Program {
        let value = json!({ "signed_out": true, "end_session": end_session });
        return json_answer(visit.into(), StatusCode::OK, &value);
    }
    let next = end_session.unwrap_or_else(|| visit.site.at(&signed_out_path(site)));
    if parts.method == Method::POST || parts.headers.contains_key(SEC_FETCH_MODE) {
        page::onward(visit, "Signing you out", &next)
    } else {
        page::redirect(visit, StatusCode::FOUND, &next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::kit::{browser, cookies, get, header_of, request, signed_in, site, text, visit};

    fn verdict(method: &Method, headers: &[(&str, &str)]) -> Verdict {
        judge(&browser(), &request(method, "/.auth/logout", headers))
    }

    #[test]
    fn who_may_sign_somebody_out() {
        let get = |headers: &[(&str, &str)]| verdict(&Method::GET, headers);
        let post = |headers: &[(&str, &str)]| verdict(&Method::POST, headers);
        let document = ("sec-fetch-dest", "document");
        assert_eq!(get(&[("sec-fetch-site", "same-origin"), document]), Verdict::End, "a link of the application");
        assert_eq!(get(&[("sec-fetch-site", "none"), document]), Verdict::End, "typed by hand");
        assert_eq!(get(&[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "empty")]), Verdict::End, "fetch()");
        assert_eq!(get(&[]), Verdict::End, "curl");
        assert_eq!(get(&[("referer", "https://app.example.com/x")]), Verdict::End);
        assert_eq!(get(&[("sec-fetch-site", "cross-site"), document]), Verdict::Ask);
        assert_eq!(get(&[("sec-fetch-site", "same-site"), document]), Verdict::Ask, "a sibling host");
        assert_eq!(get(&[("referer", "https://evil.example/")]), Verdict::Ask);
        for site in ["same-origin", "cross-site"] {
            for dest in ["image", "iframe", "script", "style"] {
                assert_eq!(
                    get(&[("sec-fetch-site", site), ("sec-fetch-dest", dest)]),
                    Verdict::Ignore,
                    "{site} {dest}"
                );
            }
        }
        assert_eq!(get(&[("accept", "image/avif,image/webp,*/*")]), Verdict::Ignore);
        assert_eq!(get(&[("sec-fetch-site", "same-origin"), ("sec-purpose", "prefetch")]), Verdict::Ignore);
        assert_eq!(post(&[("sec-fetch-site", "same-origin"), document]), Verdict::End);
        assert_eq!(post(&[("origin", "https://app.example.com")]), Verdict::End);
        assert_eq!(post(&[("sec-fetch-site", "cross-site"), document]), Verdict::Ask);
        assert_eq!(post(&[("origin", "https://evil.example")]), Verdict::Ask);
        assert_eq!(post(&[("origin", "null")]), Verdict::Ask);
        assert_eq!(post(&[]), Verdict::End, "curl");
    }

    #[tokio::test]
    async fn signing_out_forgets_everything_and_says_so() {
        let site = site(&["corp"]);
        let parts = get("/.auth/logout", &[("cookie", &signed_in(&site)), ("sec-fetch-site", "same-origin")]);
        let response = logout(&site, &browser(), &parts, b"");
        assert_eq!(header_of(&response, "clear-site-data"), "\"cache\"");
        assert_eq!(header_of(&response, "cache-control"), "no-store");
        let expected = site.sessions.clear(&parts.headers);
        assert!(!expected.is_empty());
        let set = cookies(&response);
        for line in expected {
            assert!(set.iter().any(|found| found == line.to_str().unwrap()), "{line:?}");
        }
        assert!(set.iter().any(|line| line.starts_with("__Secure-portcullis-signout=")), "{set:?}");
        assert_eq!(header_of(&response, "location"), "https://app.example.com/.auth/signed-out");
    }

    #[tokio::test]
    async fn another_site_only_gets_a_question() {
        let site = site(&["corp"]);
        let cookie = signed_in(&site);
        for method in [Method::GET, Method::POST] {
            let parts = request(&method, "/.auth/logout", &[("cookie", &cookie), ("sec-fetch-site", "cross-site")]);
            let response = logout(&site, &browser(), &parts, b"");
            assert_eq!(response.status(), StatusCode::OK);
            assert!(cookies(&response).is_empty() && header_of(&response, "clear-site-data").is_empty());
            assert_eq!(header_of(&response, "referrer-policy"), "same-origin", "or the form would say Origin: null");
            assert!(text(response).await.contains("<form method=\"post\" action=\"/.auth/logout\">"));
        }
        let image = get("/.auth/logout", &[("cookie", &cookie), ("sec-fetch-dest", "image")]);
        let response = logout(&site, &browser(), &image, b"");
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(cookies(&response).is_empty());
    }

    #[tokio::test]
    async fn a_browsers_way_to_the_provider_is_a_page_that_goes_on() {
        let (site, visit) = (site(&["corp"]), browser());
        let url = "https://login.example.com/end?id_token_hint=x&state=y";
        let bare = farewell(&site, &visit, &get("/.auth/logout", &[]), Some(url.to_owned()));
        assert_eq!((bare.status(), header_of(&bare, "location")), (StatusCode::FOUND, url), "whoever is no browser");
        let navigation = get("/.auth/logout", &[("sec-fetch-mode", "navigate")]);
        let response = farewell(&site, &visit, &navigation, Some(url.to_owned()));
        assert_eq!((response.status(), header_of(&response, "location")), (StatusCode::OK, ""));
        assert_eq!(header_of(&response, "referrer-policy"), "no-referrer");
        let html = text(response).await;
        assert!(
            html.contains("content=\"0; url=https://login.example.com/end?id_token_hint=x&#38;state=y\""),
            "{html}"
        );
    }

    #[test]
    fn no_script_gets_the_id_token() {
        let session = crate::endpoint::kit::session();
        assert_eq!(id_token_hint(Caller::Browser, &session), Some("ID-TOKEN"));
        assert_eq!(id_token_hint(Caller::Program, &session), None);
    }

    #[tokio::test]
    async fn a_program_gets_json() {
        let site = site(&["corp"]);
        let parts = get("/.auth/logout", &[("cookie", &signed_in(&site))]);
        let response = logout(&site, &visit(Caller::Program), &parts, b"");
        assert_eq!(response.status(), StatusCode::OK);
        let set = cookies(&response);
        assert!(!set.is_empty() && !set.iter().any(|line| line.contains("-signout=")), "{set:?}");
        assert_eq!(text(response).await, "{\"signed_out\":true,\"end_session\":null}");
        let foreign = get("/.auth/logout", &[("cookie", &signed_in(&site)), ("origin", "https://evil.example")]);
        assert_eq!(logout(&site, &visit(Caller::Program), &foreign, b"").status(), StatusCode::FORBIDDEN);
    }

    #[tokio::test]
    async fn everywhere_ends_what_the_person_has_elsewhere_and_only_a_form_asks_for_it() {
        let form = ("content-type", form::FORM);
        let elsewhere = Session { id: [8; 16], ..crate::endpoint::kit::session() };
        let cases: [(&Method, &str, &[u8], bool); 5] = [
            (&Method::POST, "/.auth/logout", b"everywhere=1", true),
            (&Method::POST, "/.auth/logout", b"", false),
            (&Method::POST, "/.auth/logout", b"everywhere=0", false),
            (&Method::POST, "/.auth/logout?everywhere=1", b"", false),
            (&Method::GET, "/.auth/logout?everywhere=1", b"everywhere=1", false),
        ];
        for (method, uri, body, expected) in cases {
            let here = site(&["corp"]);
            let parts = request(method, uri, &[form, ("cookie", &signed_in(&here)), ("sec-fetch-site", "same-origin")]);
            drop(logout(&here, &browser(), &parts, body));
            assert!(here.ended.holds(&crate::endpoint::kit::session()), "{method} {uri}");
            assert_eq!(here.ended.holds(&elsewhere), expected, "{method} {uri}");
            let here = site(&["corp"]);
            let parts = request(method, uri, &[form, ("cookie", &signed_in(&here)), ("sec-fetch-site", "cross-site")]);
            drop(logout(&here, &browser(), &parts, body));
            assert!(!here.ended.holds(&elsewhere), "another site asks");
        }
    }
}
