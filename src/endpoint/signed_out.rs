//! Where a sign-out ends: a neutral page, whatever the provider sends back, and never a redirect.
//!
//! It is also where the browser forgets the pages that it keeps. A page that a person leaves goes into the back/forward cache only
//! when the next one is there, after `/logout` has been read; so `Clear-Site-Data` on that answer comes too early for the very page
//! with the link to sign out, and Back would show it, alive. This page comes later, and its header reaches that one too.

use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::endpoint::login::given;
use crate::endpoint::logout::EVERYWHERE;
use crate::endpoint::site::Site;
use crate::http::body::Body;
use crate::http::query::Query;
use crate::http::visit::{Caller, Visit};
use crate::page::answer::json as json_answer;
use crate::page::html::Link;
use crate::page::{self, Explanation, Question};

/// Has the browser forget pages that it keeps, so that the Back button shows nothing private (Clear Site Data, section 3.1).
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
/// How long a sign-out may take at the provider, in seconds.
const PENDING_SECONDS: u32 = 600;

/// The path to which providers send browsers back after they signed out there.
pub fn signed_out_path(site: &Site) -> String {
    site.path("/signed-out")
}

/// `GET /signed-out`. The state of RP-Initiated Logout 1.0, section 2, only decides what the page says: when it is the
/// one that this browser set out with, the provider's session has ended as well.
pub fn signed_out(site: &Site, visit: &Visit, parts: &Parts) -> Response<Body> {
    let name = pending_name(site, visit);
    let kept = kept_states(parts, &name);
    let came_back = match kept.as_slice() {
        [only] => parts
            .uri
            .query()
            .and_then(|query| Query::parse(query.as_bytes()).ok())
            .is_some_and(|parameters| given(&parameters, "state") == Some(*only)),
        _ => false,
    };
    let is_signed_in = site.session(visit, &parts.headers).is_some();
    let response = match visit.caller {
        Caller::Program => json_answer(visit.into(), StatusCode::OK, &json!({ "signed_out": !is_signed_in })),
        Caller::Browser if is_signed_in => still_here(site, visit),
        Caller::Browser => farewell(site, visit, came_back),
    };
    // Only in a browser that is on its way out: otherwise an image on another site could empty our visitors' caches.
    if kept.is_empty() { response } else { forget_pages(page::with_cookies(response, cookie(site, visit, "", 0))) }
}

/// Has the browser forget the pages of this site that it keeps, in its cache and behind its Back button.
pub(crate) fn forget_pages(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cache\""));
    response
}

/// The cookie that remembers which sign-out is on its way. It goes to `/signed-out` alone, so that no upstream sees it.
pub(crate) fn pending_cookie(site: &Site, visit: &Visit, state: &str) -> Option<HeaderValue> {
    cookie(site, visit, state, PENDING_SECONDS)
}

fn cookie(site: &Site, visit: &Visit, value: &str, seconds: u32) -> Option<HeaderValue> {
    let name = pending_name(site, visit);
    let path = signed_out_path(site);
    let secure = if visit.site.is_secure() { "; Secure" } else { "" };
    HeaderValue::try_from(format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"))
        .ok()
}

fn pending_name(site: &Site, visit: &Visit) -> String {
    let prefix = if visit.site.is_secure() { "__Secure-" } else { "" };
    format!("{prefix}{}-signout", site.cookie_name)
}

/// Every value of the cookie that came. More than one means that another host of the domain planted one: then none counts.
fn kept_states<'a>(parts: &'a Parts, name: &str) -> Vec<&'a str> {
    let lines = parts.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(found, _)| *found == name).map(|(_, value)| value).collect()
}

fn farewell(site: &Site, visit: &Visit, came_back: bool) -> Response<Body> {
    let (what, advice) = if came_back {
        ("Your session here has ended, and so has the one at the provider.", "")
    } else {
        (
            "Your session here has ended.",
            "On a shared computer, make sure that you are signed out at your provider as well, and close the browser.",
        )
    };
    let login = site.login_path(None, &site.return_to(visit, None));
    page::notice(visit, &Explanation::new("You are signed out", what, advice).link("Sign in again", login))
}

fn still_here(site: &Site, visit: &Visit) -> Response<Body> {
    let logout = site.path("/logout");
    let others = [Link::new("Go to the start", "/"), Link::new("Sign out in this browser", logout.as_str())];
    page::ask(
        visit,
        &Question {
            title: "You are signed in",
            what: "There is a session in this browser. You can end it, or every session that you have here, in any browser.",
            action: &logout,
            fields: &[(EVERYWHERE, "1")],
            button: "Sign out everywhere",
            others: &others,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::kit::{browser, cookies, get, header_of, signed_in, site, text};

    const ENDED: &str = "so has the one at the provider";

    async fn page(uri: &str, cookie: &str) -> (Response<()>, Vec<String>, String) {
        let response = signed_out(&site(&["corp"]), &browser(), &get(uri, &[("cookie", cookie)]));
        let set = cookies(&response);
        let mut head = Response::new(());
        *head.status_mut() = response.status();
        head.headers_mut().clone_from(response.headers());
        (head, set, text(response).await)
    }

    #[tokio::test]
    async fn only_the_state_that_went_out_counts() {
        let kept = "__Secure-portcullis-signout=abc";
        let (_, set, html) = page("/.auth/signed-out?state=abc", kept).await;
        assert!(html.contains(ENDED));
        assert!(set[0].starts_with("__Secure-portcullis-signout=; ") && set[0].contains("Max-Age=0"), "{set:?}");
        let (head, _, _) = page("/.auth/signed-out", kept).await;
        assert_eq!(head.headers().get(CLEAR_SITE_DATA).unwrap(), "\"cache\"", "Back shows nothing private");
        let cases = [
            ("/.auth/signed-out?state=other", kept),
            ("/.auth/signed-out", kept),
            ("/.auth/signed-out?state=abc", ""),
            ("/.auth/signed-out?state=", "__Secure-portcullis-signout="),
            ("/.auth/signed-out?state=abc&state=abc", kept),
            ("/.auth/signed-out?state=abc", "__Secure-portcullis-signout=abc; __Secure-portcullis-signout=xyz"),
        ];
        for (uri, cookie) in cases {
            let (head, _, html) = page(uri, cookie).await;
            assert_eq!(head.status(), StatusCode::OK);
            assert!(head.headers().get(header::LOCATION).is_none());
            assert!(html.contains("You are signed out") && !html.contains(ENDED), "{uri} {cookie}");
        }
    }

    #[tokio::test]
    async fn whoever_is_still_signed_in_is_told_the_truth() {
        let cookie = signed_in(&site(&["corp"]));
        let (_, _, html) = page("/.auth/signed-out", &cookie).await;
        assert!(html.contains("You are signed in") && !html.contains("You are signed out"));
    }

    #[tokio::test]
    async fn the_cookie_of_a_sign_out_goes_nowhere_else() {
        let line = pending_cookie(&site(&["corp"]), &browser(), "abc").unwrap();
        let line = line.to_str().unwrap();
        assert_eq!(
            line,
            "__Secure-portcullis-signout=abc; Path=/.auth/signed-out; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
        );
        let response = signed_out(&site(&["corp"]), &browser(), &get("/.auth/signed-out", &[]));
        assert_eq!(header_of(&response, "set-cookie"), "", "nothing to clear");
        assert_eq!(
            header_of(&response, "clear-site-data"),
            "",
            "or an image elsewhere could empty our visitors' caches"
        );
    }
}
