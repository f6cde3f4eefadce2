//! Tokens that are bound to a key (RFC 9449) or to a certificate (RFC 8705): attack 49.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::bearer_scene::{AUDIENCE, Hand, ask, assert_refused, challenge, get, hash, now, scene, with};
use crate::scene::{Scene, provider};
use crate::support::SESSION_KEY;
use crate::support::client::Response;
use crate::support::gateway::Gateway;
use crate::support::tls_client::{Authority, TlsClient};
use crate::support::upstream::Upstream;

fn bound(scene: &Scene, hand: &Hand) -> String {
    with(&scene.provider, &json!({"cnf": {"jkt": hand.thumbprint()}}))
}

fn send(scene: &Scene, token: &str, proofs: &[&str]) -> Response {
    let request = get(scene, "/api/x?page=2").header("Authorization", &format!("DPoP {token}"));
    proofs.iter().fold(request, |request, proof| request.header("DPoP", proof)).send()
}

#[test]
fn a_bound_token_passes_with_a_proof_of_its_key_each_time_a_new_one() {
    let scene = scene("");
    let hand = Hand::new();
    let token = bound(&scene, &hand);
    let url = scene.at("/api/x");
    let first = hand.proof("GET", &url, &token, "one");
    let answer = send(&scene, &token, &[&first]);
    assert_eq!(answer.status, 200, "{} {}", challenge(&answer), answer.text());
    let seen = scene.upstream.last_request();
    assert_eq!(seen.header("x-forwarded-user"), Some("alice"));
    assert_eq!((seen.header("authorization"), seen.header("dpop")), (None, None));
    assert_eq!(send(&scene, &token, &[&hand.proof("GET", &url, &token, "two")]).status, 200);
    scene.upstream.forget();
    assert_refused(&scene, &send(&scene, &token, &[&first]), "a proof that was there before");
}

#[test]
fn what_proves_nothing_is_refused() {
    let scene = scene("");
    let (hand, thief) = (Hand::new(), Hand::new());
    let token = bound(&scene, &hand);
    let url = scene.at("/api/x");
    let claims = json!({"jti": "j", "htm": "GET", "htu": url, "iat": now(), "ath": hash(&token)});
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": hand.jwk()});
    let claim = |name: &str, value: Value| {
        let mut changed = claims.clone();
        changed[name] = value;
        hand.sign(&header, &changed)
    };
    let head = |name: &str, value: Value| {
        let mut changed = header.clone();
        changed[name] = value;
        hand.sign(&changed, &claims)
    };
    let by_thief = thief.proof("GET", &url, &token, "t1");
    let in_hands_name = thief.sign(&header, &claims);
    for (case, proof) in [
        ("another key", by_thief),
        ("another key under ours", in_hands_name),
        ("another method", claim("htm", json!("POST"))),
        ("another address", claim("htu", json!(scene.at("/api/y")))),
        ("another host", claim("htu", json!("https://evil.example/api/x"))),
        ("another token", claim("ath", json!(hash("other")))),
        ("no token", claim("ath", Value::Null)),
        ("long ago", claim("iat", json!(now() - 1000))),
        ("the future", claim("iat", json!(now() + 1000))),
        ("no name", claim("jti", Value::Null)),
        ("another kind", head("typ", json!("JWT"))),
        ("no algorithm", head("alg", json!("none"))),
        ("no key", head("jwk", Value::Null)),
        ("nonsense", "nonsense".to_owned()),
    ] {
        let answer = send(&scene, &token, &[&proof]);
        assert_refused(&scene, &answer, case);
        assert!(challenge(&answer).starts_with("DPoP "), "{case}: {}", challenge(&answer));
        assert!(challenge(&answer).contains("error=\"invalid_dpop_proof\""), "{case}");
        assert!(challenge(&answer).contains("algs=\""), "{case}");
    }
    assert_refused(&scene, &send(&scene, &token, &[]), "no proof");
    let (one, two) = (hand.proof("GET", &url, &token, "a"), hand.proof("GET", &url, &token, "b"));
    assert_refused(&scene, &send(&scene, &token, &[&one, &two]), "two proofs");
    // The way back to plain Bearer is closed (section 7.2), with a proof or without.
    let plain = ask(&scene, "/api/x", &token);
    assert_refused(&scene, &plain, "a bound token as Bearer");
    assert!(challenge(&plain).starts_with("DPoP "), "{}", challenge(&plain));
    let proof = hand.proof("GET", &url, &token, "c");
    let mixed = get(&scene, "/api/x").header("Authorization", &format!("Bearer {token}")).header("DPoP", &proof).send();
    assert_refused(&scene, &mixed, "a bound token as Bearer with a proof");
    let unbound = with(&scene.provider, &json!({}));
    let proof = hand.proof("GET", &url, &unbound, "d");
    assert_refused(&scene, &send(&scene, &unbound, &[&proof]), "a token that is bound to no key");
    assert_eq!(send(&scene, &token, &[&hand.proof("GET", &url, &token, "e")]).status, 200, "the rig itself is good");
}

#[test]
fn an_issuer_may_have_to_bind_its_tokens() {
    let scene = scene("dpop = \"required\"");
    assert_refused(&scene, &ask(&scene, "/api/x", &with(&scene.provider, &json!({}))), "unbound");
    let hand = Hand::new();
    let token = bound(&scene, &hand);
    assert_eq!(send(&scene, &token, &[&hand.proof("GET", &scene.at("/api/x"), &token, "a")]).status, 200);
    let document = scene.gateway.get("/.well-known/oauth-protected-resource/api").send().json();
    assert_eq!(document["dpop_bound_access_tokens_required"], json!(true));
}

#[test]
fn a_token_that_is_bound_to_a_certificate_is_taken_with_it_alone() {
    const HOST: &str = "app.example.com";
    let folder = tempfile::tempdir().unwrap();
    let (servers, people) = (Authority::new("Servers"), Authority::new("People"));
    let (cert, key) = servers.server(&[HOST]).write(folder.path(), "app");
    let authority = folder.path().join("clients.pem");
    std::fs::write(&authority, people.pem()).unwrap();
    let (provider, upstream) = (provider(), Upstream::start());
    let mut text = format!("public_url = \"https://{HOST}\"\nworkers = 1\n[listen]\nhttps = [\"127.0.0.1:0\"]\n");
    write!(
        text,
        "[tls]\ncert = {cert:?}\nkey = {key:?}\nclient_ca = {authority:?}\nclient_certificates = \"optional\"\n\
         [session]\nkeys = [\"{SESSION_KEY}\"]\n[upstreams.app]\nurl = {:?}\n\
         [bearer.corp]\nissuer = {:?}\naudience = [{AUDIENCE:?}]\n\
         [[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nbearer = true\n",
        upstream.url(),
        provider.issuer(),
    )
    .unwrap();
    let gateway = Gateway::start_files(&[("portcullis.toml", &text)], &[]);
    let (mine, other) = (people.client(&["mine"]), people.client(&["other"]));
    let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, mine.der()));
    let token = with(&provider, &json!({"cnf": {"x5t#S256": thumbprint}}));
    let bearer = format!("Bearer {token}");
    let forged = format!(":{}:", base64::engine::general_purpose::STANDARD.encode(mine.der()));
    let ask = |certificate| {
        let client = TlsClient::new(&servers, &[], certificate);
        let fields =
            [("Authorization", bearer.as_str()), ("Accept", "application/json"), ("Client-Cert", forged.as_str())];
        client.connect(gateway.url(), HOST).unwrap().ask(HOST, "/x", &fields).unwrap().0
    };
    assert_eq!(ask(Some(&other)), 401, "another certificate");
    assert_eq!(ask(None), 401, "no certificate, and a header that says there was one");
    assert_eq!(upstream.requests().len(), 0);
    assert_eq!(ask(Some(&mine)), 200, "{}", gateway.logs());
    assert_eq!(ask(Some(&other)), 401, "also when the token is known");
}

/// A proof may come once, at whichever worker.
#[test]
fn workers_share_the_memory_of_proofs() {
    let scene =
        Scene::loopback(|config| config.top("workers = 2").raw(&format!("[bearer.corp]\naudience = [{AUDIENCE:?}]")));
    let hand = Hand::new();
    let token = bound(&scene, &hand);
    let proof = hand.proof("GET", &scene.at("/api/x"), &token, "one");
    let passed = (0..30).filter(|_| send(&scene, &token, &[&proof]).status == 200).count();
    assert_eq!(passed, 1);
}
