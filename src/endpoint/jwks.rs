//! The public keys of our assertions, for applications that verify them: as a JWK set, and in the forms and at the paths that applications
//! of other gateways look for. Nobody needs to be signed in to read them.

use http::{HeaderValue, Response, StatusCode, header};

use crate::endpoint::site::Site;
use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::identity::preset::KeysForm;
use crate::page;
use crate::page::answer::full;

/// How long what is shown may be kept: a new key is published before it signs, for this long at the least.
const FRESH: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// All keys (RFC 7517, section 5).
pub fn jwks(site: &Site, visit: &Visit, form: KeysForm) -> Response<Body> {
    let kind = match form {
        KeysForm::Jwks => "application/jwk-set+json",
        KeysForm::PemById | KeysForm::JwksAndPem => "application/json",
    };
    cached(full(&visit.request_id, StatusCode::OK, kind, site.signer.shown(form)))
}

/// One key, as PEM (RFC 7468, section 13).
pub fn key(site: &Site, visit: &Visit, id: &str) -> Response<Body> {
    match site.signer.pem(id) {
        Some(pem) => cached(full(&visit.request_id, StatusCode::OK, "application/x-pem-file", pem)),
        None => page::not_found(visit),
    }
}

fn cached(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, FRESH);
    response
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::endpoint::kit::{browser, header_of, request, site, text};
    use crate::endpoint::table::dispatch;

    #[tokio::test]
    async fn keys_are_shown_in_every_form_to_everyone() {
        let mut site = site(&["corp"]);
        site.key_paths = vec![("/cdn-cgi/access/certs".to_owned(), KeysForm::JwksAndPem)];
        let ask = async |path: &str| {
            let parts = request(&Method::GET, path, &[]);
            dispatch(&site, &browser(), &parts, bytes::Bytes::new()).await
        };
        let answer = ask("/.auth/jwks.json").await;
        assert_eq!(header_of(&answer, "content-type"), "application/jwk-set+json");
        assert_eq!(header_of(&answer, "cache-control"), "public, max-age=300");
        let set: serde_json::Value = serde_json::from_str(&text(answer).await).unwrap();
        let id = set["keys"][0]["kid"].as_str().unwrap().to_owned();
        let pem = text(ask(&format!("/.auth/keys/{id}")).await).await;
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----"), "{pem}");
        let other: serde_json::Value = serde_json::from_str(&text(ask("/cdn-cgi/access/certs").await).await).unwrap();
        assert_eq!((&other["keys"], &other["public_cert"]["cert"]), (&set["keys"], &serde_json::json!(pem)));
        assert!(site.owns("/cdn-cgi/access/certs") && !site.owns("/cdn-cgi/access/certs/"));
        for missing in ["/.auth/keys/nobody", "/.auth/keys/", "/.auth/keys", "/.well-known/pomerium/jwks.json"] {
            assert_eq!(ask(missing).await.status(), StatusCode::NOT_FOUND, "{missing}");
        }
    }
}
