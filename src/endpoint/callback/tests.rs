//! Sign-ins that come back: good ones, late ones, others' ones.

use super::*;
use crate::endpoint::kit::{
    STATE, browser, cookies, get, header_of, jar, request, session, signed_in, signing_in, site, text,
};

const CALLBACK: &str = "/.auth/callback/corp";
const POSTED: (&str, &str) = ("content-type", form::FORM);

fn answered(cookie: &str) -> Parts {
    get(&format!("{CALLBACK}?state={STATE}&code=CODE"), &[("cookie", cookie)])
}

async fn ended(site: &Site, visit: &Visit, parts: &Parts, signed_in: SignedIn, to: &str) -> Response<Body> {
    let return_to = site.return_to(visit, Some(to));
    let asking =
        Asking { wanted: Wanted::default(), started: site.clock.now(), seen: site.ended.epoch(), round: 0, return_to };
    end(site, visit, parts, Arrival { offer: &site.offers[0], signed_in, asking }).await
}

fn somebody() -> SignedIn {
    let session = session();
    SignedIn {
        principal: session.principal,
        tokens: session.tokens,
        obtained: session.obtained,
        nonce: session.nonce,
        authenticated: session.authenticated,
        provider_session: Some("sid".to_owned()),
    }
}

#[tokio::test]
async fn a_session_gets_a_new_name_and_replaces_the_old_one() {
    let (site, visit) = (site(&["corp"]), browser());
    let planted = answered(&signed_in(&site));
    let mut names = Vec::new();
    for _ in 0..2 {
        let response = ended(&site, &visit, &planted, somebody(), "/x").await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_eq!(header_of(&response, "location"), "https://app.example.com/x");
        assert_eq!(header_of(&response, "referrer-policy"), "no-referrer");
        let set: Vec<http::HeaderValue> = cookies(&response).iter().map(|line| line.parse().unwrap()).collect();
        let back = get("/", &[("cookie", &jar(&set))]);
        let opened = site.session(&visit, &back.headers).unwrap();
        assert_eq!(opened.principal.subject, "alice-1");
        assert_eq!(opened.created, site.clock.now());
        names.push(opened.id);
    }
    assert_ne!(names[0], session().id);
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn an_answer_to_a_form_never_redirects() {
    let (site, visit) = (site(&["corp"]), browser());
    let parts = request(&Method::POST, CALLBACK, &[POSTED]);
    let response = ended(&site, &visit, &parts, somebody(), "https://front.example.com/x").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!cookies(&response).is_empty());
    assert!(text(response).await.contains("content=\"0; url=https://front.example.com/x\""));
}

#[tokio::test]
async fn a_session_too_large_names_the_fix() {
    let (site, visit) = (site(&["corp"]), browser());
    let mut large = somebody();
    large.principal.groups = (0..20_000_u32).map(|n| format!("group-{}", n.wrapping_mul(2_654_435_761))).collect();
    let response = ended(&site, &visit, &answered(""), large, "/").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(cookies(&response).is_empty());
    let page = text(response).await;
    assert!(page.contains("session.max_cookie_bytes") && page.contains("session.store"), "{page}");
}

#[tokio::test]
async fn the_state_decides_before_the_provider_is_asked() {
    let (site, visit) = (site(&["corp", "guest"]), browser());
    let flow = signing_in(&site, "/deep");
    // The provider can't be reached, so 503 says that it was asked and 400 that it wasn't.
    let response = callback(&site, &visit, &answered(&flow), b"", "corp").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let cleared = cookies(&response);
    assert!(cleared.iter().any(|line| line.contains("Max-Age=0")), "a flow works once: {cleared:?}");
    assert!(text(response).await.contains("/.auth/login/corp?return_to=%2Fdeep"), "the way back is known");

    let refused = [
        ("no cookie: another browser", answered(""), "corp"),
        ("another state", get(&format!("{CALLBACK}?state=other&code=c"), &[("cookie", &flow)]), "corp"),
        ("another provider's path", answered(&flow), "guest"),
        ("no state", get(&format!("{CALLBACK}?code=c"), &[("cookie", &flow)]), "corp"),
        ("empty state", get(&format!("{CALLBACK}?state=&code=c"), &[("cookie", &flow)]), "corp"),
        (
            "a state too many",
            get(&format!("{CALLBACK}?state={STATE}&state={STATE}&code=c"), &[("cookie", &flow)]),
            "corp",
        ),
        ("a code too many", get(&format!("{CALLBACK}?state={STATE}&code=c&code=d"), &[("cookie", &flow)]), "corp"),
    ];
    for (case, parts, provider) in refused {
        let response = callback(&site, &visit, &parts, b"", provider).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{case}");
        assert_eq!(header_of(&response, "location"), "", "{case}");
        let html = text(response).await;
        assert!(html.contains("Try again") && !html.contains("http-equiv"), "{case}");
    }
    let response = callback(&site, &visit, &answered(&flow), b"", "nobody").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_flow_past_its_time_is_refused() {
    let (site, visit) = (site(&["corp"]), browser());
    let flow = signing_in(&site, "/");
    site.clock.advance(Duration::from_hours(2));
    let response = callback(&site, &visit, &answered(&flow), b"", "corp").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_back_button_of_somebody_signed_in_offers_to_go_on() {
    let (site, visit) = (site(&["corp"]), browser());
    let response = callback(&site, &visit, &answered(&signed_in(&site)), b"", "corp").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let html = text(response).await;
    assert!(html.contains("You are signed in already") && html.contains("href=\"/\">Go on"));
}

#[tokio::test]
async fn a_form_from_another_site_is_posted_once_more_from_here() {
    let (site, visit) = (site(&["corp"]), browser());
    let body = format!("state={STATE}&code=C%22%3E%3Cb&iss=https%3A%2F%2Flogin.example.com&other=x");
    let foreign = request(&Method::POST, CALLBACK, &[POSTED, ("sec-fetch-site", "cross-site")]);
    let response = callback(&site, &visit, &foreign, body.as_bytes(), "corp").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(cookies(&response).is_empty());
    assert_eq!(header_of(&response, "cache-control"), "no-store");
    let html = text(response).await;
    assert!(html.contains(&format!("action=\"{CALLBACK}\"")));
    assert!(html.contains("name=\"code\" value=\"C&#34;&#62;&#60;b\""), "{html}");
    assert!(!html.contains("name=\"other\""));

    let again = format!("{body}&{AGAIN}=1");
    let own = request(&Method::POST, CALLBACK, &[POSTED, ("sec-fetch-site", "same-origin")]);
    let response = callback(&site, &visit, &own, again.as_bytes(), "corp").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "still no flow: the end, and no loop");
    let response = callback(&site, &visit, &foreign, again.as_bytes(), "corp").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);

    let response = callback(&site, &visit, &own, body.as_bytes(), "corp").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "this site's own form would have brought the cookies");

    let cookie = signing_in(&site, "/");
    let with_flow = request(&Method::POST, CALLBACK, &[POSTED, ("cookie", &cookie)]);
    let response = callback(&site, &visit, &with_flow, again.as_bytes(), "corp").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "the provider was asked");
}

#[tokio::test]
async fn what_is_posted_must_be_a_form() {
    let (site, visit) = (site(&["corp"]), browser());
    let body = format!("state={STATE}&code=c");
    for kind in ["text/plain", "multipart/form-data", "application/json"] {
        let cookie = signing_in(&site, "/");
        let parts = request(&Method::POST, CALLBACK, &[("content-type", kind), ("cookie", &cookie)]);
        let response = callback(&site, &visit, &parts, body.as_bytes(), "corp").await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{kind}");
    }
}
