//! Signed access tokens (RFC 9068 and plain ones): who gets in with one, and attacks 36 to 47 with tokens that are none.

use std::time::Duration;

use portcullis::demo::provider::Endpoint;
use serde_json::{Value, json};

use crate::bearer_scene::{AUDIENCE, ask, assert_refused, claims, dressed, get, good, now, object, scene, token, with};
use crate::scene::{Scene, provider};
use crate::support::client::Client;
use crate::support::gateway::GatewayConfig;
use crate::support::pause;
use crate::support::provider::CLIENT_ID;
use crate::support::upstream::Upstream;

#[test]
fn a_good_token_passes_and_the_application_is_told_who_it_is() {
    let scene = scene("");
    let answer = ask(&scene, "/api/x", &good(&scene.provider));
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), scene.gateway.logs());
    assert!(answer.head.all("set-cookie").is_empty());
    let seen = scene.upstream.last_request();
    assert_eq!(seen.header("x-forwarded-user"), Some("alice"));
    assert_eq!(seen.header("x-forwarded-groups"), Some("staff"));
    assert_eq!(seen.header("x-forwarded-roles"), Some("user"));
    assert_eq!(seen.header("authorization"), None, "a token for us is nobody else's");
}

/// The same rules hold for both kinds of caller.
#[test]
fn rules_hold_for_tokens_as_they_do_for_sessions() {
    let scene = scene("");
    for (target, changes, expected) in [
        ("/admin/x", json!({}), 403),
        ("/admin/x", json!({"roles": ["admin"]}), 200),
        ("/admin/x", json!({"roles": "admin"}), 200),
        ("/admin/x", json!({"roles": {"admin": true}}), 403),
        ("/admin/x", json!({"roles": "user,admin"}), 403),
        ("/orders/x", json!({}), 200),
        ("/orders/x", json!({"scope": "orders:write other"}), 200),
        ("/orders/x", json!({"scope": "orders"}), 403),
        ("/orders/x", json!({"scope": null, "scp": ["orders:read"]}), 200),
        ("/orders/x", json!({"scope": null}), 403),
        ("/orders/x", json!({"scope": {"orders:read": true}}), 403),
        ("/client/x", json!({}), 403),
        ("/client/x", json!({"azp": "mobile"}), 200),
        ("/client/x", json!({"azp": ["mobile"]}), 403),
        ("/client/x", json!({"azp": "Mobile"}), 403),
        ("/gold/x", json!({"acr": "gold", "auth_time": now()}), 200),
        ("/gold/x", json!({"acr": "silver", "auth_time": now()}), 401),
        ("/gold/x", json!({"acr": "gold", "auth_time": now() - 1000}), 401),
        ("/gold/x", json!({"acr": "gold"}), 401),
    ] {
        let answer = ask(&scene, target, &with(&scene.provider, &changes));
        assert_eq!(answer.status, expected, "{target} {changes}: {}", answer.text());
    }
}

/// Attacks 36, 38 to 40, 45 and 46: claims that are wrong, odd, or of another kind of token.
#[test]
fn claims_that_do_not_fit_are_refused() {
    let scene = scene("");
    let issuer = scene.provider.issuer().to_owned();
    let cases = [
        ("iss", json!(format!("{issuer}/"))),
        ("iss", json!(issuer.to_uppercase())),
        ("iss", json!("https://other.example")),
        ("iss", json!([issuer])),
        ("iss", Value::Null),
        ("aud", json!("https://other.example.com")),
        ("aud", json!(format!("{AUDIENCE}/"))),
        ("aud", json!([["https://api.example.com"]])),
        ("aud", json!({AUDIENCE: true})),
        ("aud", json!(CLIENT_ID)),
        ("aud", Value::Null),
        ("exp", json!(now() - 100)),
        ("exp", json!(1e300)),
        ("exp", json!(-1)),
        ("exp", json!("9999999999")),
        ("exp", json!(9_999_999_999.5)),
        ("exp", json!(u64::MAX)),
        ("exp", Value::Null),
        ("nbf", json!(now() + 1000)),
        ("iat", json!(now() + 1000)),
        ("sub", json!(["alice"])),
        ("sub", json!(1)),
        ("sub", json!("")),
        ("sub", json!("a\u{0}")),
        ("sub", json!("a".repeat(300))),
        ("sub", Value::Null),
        ("client_id", Value::Null),
        ("jti", Value::Null),
        ("iat", Value::Null),
        ("nonce", json!("n")),
        ("at_hash", json!("h")),
        ("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})),
        ("typ", json!("ID")),
        ("typ", json!("Refresh")),
        ("token_use", json!("id")),
    ];
    for (name, value) in cases {
        let answer = ask(&scene, "/api/x", &with(&scene.provider, &json!({ name: value })));
        assert_refused(&scene, &answer, &format!("{name}: {value}"));
    }
    let both = with(&scene.provider, &json!({"aud": ["https://other.example", AUDIENCE]}));
    assert_eq!(ask(&scene, "/api/x", &both).status, 200, "one of several audiences is ours");
}

/// Attacks 41 to 43 and 46: headers that ask for another key, another algorithm, or another kind of token.
#[test]
fn headers_that_do_not_fit_are_refused_and_nothing_in_them_is_fetched() {
    let scene = scene("");
    let listener = Upstream::start();
    let url = format!("{}/keys", listener.url());
    let jwk = Client::new(scene.provider.issuer()).get("/jwks").send().json()["keys"][0].clone();
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "NoNe"}),
        json!({"alg": "HS256"}),
        json!({"alg": "RS256"}),
        json!({"alg": "ES384"}),
        json!({"typ": "logout+jwt"}),
        json!({"typ": "dpop+jwt"}),
        json!({"typ": "secevent+jwt"}),
        json!({"typ": 7}),
        json!({"cty": "JWT"}),
        json!({"crit": ["exp"]}),
        json!({"b64": false}),
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": "' or 1=1 --"}),
        json!({"kid": "k".repeat(5000)}),
        json!({"kid": 7}),
    ] {
        let answer = ask(&scene, "/api/x", &token(&scene.provider, &header, &claims(&scene.provider)));
        assert_refused(&scene, &answer, &header.to_string());
    }
    for header in [json!({"jku": url}), json!({"x5u": url}), json!({"jwk": jwk}), json!({"x5c": ["AAAA"]})] {
        let mut header = header;
        header["alg"] = json!("RS256");
        let forged = scene.provider.control().sign_as_stranger(&object(&header), &object(&claims(&scene.provider)));
        assert_refused(&scene, &ask(&scene, "/api/x", &forged.unwrap()), &header.to_string());
    }
    assert_eq!(listener.connections(), 0, "a URL in a token was asked");
    let unsigned = good(&scene.provider).rsplit_once('.').unwrap().0.to_owned();
    for text in [format!("{unsigned}."), unsigned, "abc".to_owned(), "a.b.c".to_owned(), "e30.e30.e30".to_owned()] {
        assert_refused(&scene, &ask(&scene, "/api/x", &text), &text);
    }
    let mut long = good(&scene.provider);
    long.push_str(&"A".repeat(20_000));
    assert_refused(&scene, &ask(&scene, "/api/x", &long), "a long one");
}

#[test]
fn each_issuer_has_algorithms_and_a_format_of_its_own() {
    let pinned = scene("signing_algorithms = [\"RS256\"]");
    assert_refused(&pinned, &ask(&pinned, "/api/x", &good(&pinned.provider)), "ES256 is not listed");
    let strict = scene("format = \"at+jwt\"");
    let plain = |scene: &Scene, typ: &Value| {
        let header = if typ.is_null() { json!({}) } else { json!({ "typ": typ }) };
        ask(scene, "/api/x", &token(&scene.provider, &header, &claims(&scene.provider)))
    };
    for typ in [json!("JWT"), Value::Null] {
        assert_refused(&strict, &plain(&strict, &typ), &typ.to_string());
    }
    assert_eq!(plain(&strict, &json!("application/AT+JWT")).status, 200);
    let any = scene("");
    for typ in [json!("JWT"), Value::Null, json!("at+jwt")] {
        assert_eq!(plain(&any, &typ).status, 200, "{typ}");
    }
}

/// Attack 46: an ID token is for our client, and is not taken even where that is an audience.
#[test]
fn an_id_token_is_no_access_token() {
    let scene = Scene::loopback(|config| {
        dressed(config, "").raw(&format!(
            "[bearer.own]\nprovider = \"corp\"\naudience = [{CLIENT_ID:?}]\n[[routes]]\npath = \"/own/*\"\nallow = \"signed-in\"\nbearer = \"own\""
        ))
    });
    let id_token =
        json!({"iss": scene.provider.issuer(), "aud": CLIENT_ID, "sub": "alice", "iat": now(), "exp": now() + 300});
    let text = token(&scene.provider, &json!({"typ": "JWT"}), &id_token);
    assert_refused(&scene, &ask(&scene, "/own/x", &text), "an ID token");
    let mut access = id_token;
    access["scope"] = json!("openid");
    let text = token(&scene.provider, &json!({"typ": "JWT"}), &access);
    assert_eq!(ask(&scene, "/own/x", &text).status, 200);
    // Row 33: what is known of a token counts only where the same audience is asked for.
    assert_eq!(ask(&scene, "/open/x", &text).status, 401, "another audience, the same token");
    assert_eq!(ask(&scene, "/own/x", &text).status, 200);
}

/// Row 10 and attack 40: several issuers, and each one's tokens only where they are taken.
#[test]
fn tokens_of_one_issuer_are_none_of_another() {
    let partner = provider();
    let issuer = partner.issuer().to_owned();
    let scene = Scene::loopback(|config| {
        dressed(config, "").raw(&format!(
            "[bearer.partner]\nissuer = {issuer:?}\naudience = [{AUDIENCE:?}]\nroles_claims = [\"roles\"]\n\
             [[routes]]\npath = \"/both/*\"\nallow = {{ providers = [\"partner\", \"corp\"] }}\nbearer = true\n\
             [[routes]]\npath = \"/partner/*\"\nallow = {{ providers = [\"partner\"] }}\nbearer = \"partner\""
        ))
    });
    let (ours, theirs) = (good(&scene.provider), good(&partner));
    assert_eq!(ask(&scene, "/both/x", &ours).status, 200);
    assert_eq!(ask(&scene, "/both/x", &theirs).status, 200, "{}", scene.gateway.logs());
    assert_eq!(ask(&scene, "/partner/x", &theirs).status, 200);
    assert_eq!(ask(&scene, "/partner/x", &ours).status, 401);
    assert_eq!(ask(&scene, "/open/x", &theirs).status, 401);
    // One issuer's key under the other's name.
    let forged = token(&partner, &json!({"typ": "at+jwt"}), &claims(&scene.provider));
    assert_eq!(ask(&scene, "/both/x", &forged).status, 401);
    assert_eq!(ask(&scene, "/both/x", "random").status, 401);
}

#[test]
fn a_token_is_taken_until_its_end_and_not_after() {
    let scene = Scene::loopback(|config| dressed(config.provider_line("clock_skew = \"0s\""), ""));
    let end = now() + 8;
    let short = with(&scene.provider, &json!({ "exp": end }));
    assert_eq!(ask(&scene, "/api/x", &short).status, 200);
    assert_eq!(ask(&scene, "/api/x", &short).status, 200);
    while now() <= end {
        pause(Duration::from_millis(200));
    }
    assert_eq!(ask(&scene, "/api/x", &short).status, 401, "what is kept of it ends with it");
}

/// Attack 47, R15: forged tokens with keys that nobody knows don't make us flood the issuer; a rotation is noticed all the same.
#[test]
fn unknown_keys_are_asked_for_once_in_a_while() {
    let scene = scene("");
    assert_eq!(ask(&scene, "/api/x", &good(&scene.provider)).status, 200);
    let (before, began) = (scene.provider.control().count(Endpoint::Jwks), now());
    for number in 0..200 {
        let header = json!({"typ": "at+jwt", "kid": format!("random-{number}")});
        let answer = ask(&scene, "/api/x", &token(&scene.provider, &header, &claims(&scene.provider)));
        assert_eq!(answer.status, 401, "{number}");
    }
    // Once in ten seconds: on a slow machine that may be a few times.
    let allowed = before + 2 + (now() - began) / 10;
    assert!(scene.provider.control().count(Endpoint::Jwks) <= allowed);
    assert_eq!(ask(&scene, "/api/x", &good(&scene.provider)).status, 200, "good ones go on working");
}

#[test]
fn new_keys_are_found_and_tokens_of_old_ones_end_with_them() {
    let scene = scene("");
    let old = good(&scene.provider);
    assert_eq!(ask(&scene, "/api/x", &old).status, 200);
    scene.provider.control().rotate_keys().unwrap();
    assert_eq!(ask(&scene, "/api/x", &old).status, 200, "nobody has noticed yet");
    assert_eq!(ask(&scene, "/api/x", &good(&scene.provider)).status, 200, "{}", scene.gateway.logs());
    assert_eq!(ask(&scene, "/api/x", &old).status, 401, "its key is withdrawn");
}

#[test]
fn while_the_issuer_is_away_nobody_is_let_in_unknown() {
    let provider = provider();
    provider.pause();
    let scene = Scene::with(GatewayConfig::on_loopback(), provider, |config| dressed(config, ""));
    let answer = ask(&scene, "/api/x", &good(&scene.provider));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some() && answer.header("www-authenticate").is_none());
    assert_eq!(scene.upstream.requests().len(), 0);
    scene.provider.resume();
    let comes = crate::support::comes_true(|| ask(&scene, "/api/x", &good(&scene.provider)).status == 200);
    assert!(comes, "{}", scene.gateway.logs());
    scene.provider.pause();
    assert_eq!(ask(&scene, "/api/x", &good(&scene.provider)).status, 200, "its keys are known");
}

/// Attack 49 of the peers' list: no token in any log.
#[test]
fn tokens_stand_in_no_log() {
    let scene = Scene::loopback(|config| dressed(config, "").raw("[log]\nlevel = \"debug\""));
    let (fine, forged) = (good(&scene.provider), with(&scene.provider, &json!({"aud": "other"})));
    ask(&scene, "/api/x", &fine);
    ask(&scene, "/api/x", &forged);
    get(&scene, &format!("/api/x?access_token={fine}")).send();
    assert!(scene.gateway.logs_come_to_hold("turned away"));
    let logs = scene.gateway.logs();
    for text in [&fine, &forged] {
        let signature = text.rsplit_once('.').unwrap().1;
        assert!(!logs.contains(signature), "{logs}");
    }
}

/// Attacks 36 and 37: an address admits only when the token says that it was verified, and by its whole domain.
#[test]
fn an_address_in_a_token_admits_only_when_it_was_verified() {
    let scene = Scene::loopback(|config| {
        dressed(config, "")
            .raw("[[routes]]\npath = \"/mail/*\"\nallow = { email_domains = [\"corp.example\"] }\nbearer = true")
    });
    for (email, verified, expected) in [
        (json!("alice@corp.example"), json!(true), 200),
        (json!("alice@corp.example"), json!("true"), 403),
        (json!("alice@corp.example"), json!(false), 403),
        (json!("alice@corp.example"), json!("false"), 403),
        (json!("alice@corp.example"), json!(1), 403),
        (json!("alice@corp.example"), Value::Null, 403),
        (json!("alice@corp.example.evil"), json!(true), 403),
        (json!("alice@sub.corp.example"), json!(true), 403),
        (json!("a@evil.example@corp.example"), json!(true), 403),
        (json!(["alice@corp.example"]), json!(true), 403),
    ] {
        let text = with(&scene.provider, &json!({"email": email, "email_verified": verified}));
        assert_eq!(ask(&scene, "/mail/x", &text).status, expected, "{email} {verified}");
    }
}

/// Attacks 44 and 45: encrypted tokens and other serialisations are none that we take, and are refused fast.
#[test]
fn other_forms_of_tokens_are_refused() {
    let scene = scene("");
    let token = good(&scene.provider);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    // `{"alg":"PBES2-HS256+A128KW","p2c":1000000000,"enc":"A128GCM"}`
    let costly = "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJwMmMiOjEwMDAwMDAwMDAsImVuYyI6IkExMjhHQ00ifQ";
    for text in [
        format!("{costly}.AAAA.AAAA.AAAA.AAAA"),
        format!("{costly}....AAAA"),
        format!("{signed}.{signature}."),
        format!("{signed}.{signature}.{signature}"),
        format!("{signed}.{signature}="),
        format!("{signed}.{}", &signature[1..]),
        format!(".{signed}.{signature}"),
        "....".to_owned(),
    ] {
        assert_refused(&scene, &ask(&scene, "/api/x", &text), &text);
    }
}
