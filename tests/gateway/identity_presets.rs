//! Every identity preset, read the way that product tells applications to read it: headers as they are, signed tokens with the key from
//! where that product has it.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis::demo::provider::Person;
use serde_json::{Value, json};

use crate::assertions::{claims_of, decoded, der, fits, json_at, part, verified, verified_with};
use crate::scene;
use crate::support::browser::Browser;
use crate::support::upstream::Recorded;

/// Alice as her provider knows her: one of her groups holds every joiner there is.
fn alice() -> Person {
    Person::new(
        "alice",
        json!({
            "sub": "alice", "name": "Alice Liddell", "preferred_username": "alice", "email": "alice@example.com",
            "email_verified": true, "groups": ["staff", "a,b|c d", "dev"], "roles": ["admin"], "hd": "example.com",
            "level": 3, "active": true, "address": {"city": "Berlin"},
        }),
    )
}

struct Scene {
    inner: scene::Scene,
    seen: Recorded,
    keys: tempfile::TempDir,
}

/// What an upstream with this preset sees of alice, who claims to be root under every name that she can think of.
fn scene(preset: &str, further: &str) -> Scene {
    let keys = tempfile::tempdir().unwrap();
    let mut named = Vec::new();
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let path = keys.path().join(algorithm);
        std::fs::write(&path, keygen(algorithm)).unwrap();
        named.push(format!("{{ file = \"{}\" }}", path.display()));
    }
    // The table of the upstream is open: what is said first is about it.
    let tables = format!("identity = {preset:?}\n{further}\n[signing]\nkeys = [{}]", named.join(", "));
    let inner = scene::Scene::loopback(|config| config.raw(&tables));
    inner.provider.control().put_person(alice());
    let mut browser = Browser::new();
    for name in FORGED {
        for spelling in [(*name).to_owned(), name.replace('-', "_"), name.to_uppercase()] {
            browser.fields.push((spelling, "root".to_owned()));
        }
    }
    let page = browser.sign_in("alice", &inner.at("/app"));
    assert_eq!(page.response.status, 200, "{preset}: {}\n{}", page.text(), inner.gateway.logs());
    let seen = inner.upstream.last_request();
    assert!(!seen.mentions("root"), "{preset}: the visitor's word was passed on: {:?}", seen.head.headers);
    Scene { inner, seen, keys }
}

const FORGED: &[&str] = &[
    "X-Forwarded-User",
    "X-Forwarded-Groups",
    "Remote-User",
    "Remote-Groups",
    "X-Authentik-Username",
    "X-Authentik-Jwt",
    "X-Pomerium-Jwt-Assertion",
    "X-Pomerium-Claim-Email",
    "OIDC-Claim-Sub",
    "OIDC-Claim-Groups",
    "X-Amzn-Oidc-Data",
    "X-Amzn-Oidc-Identity",
    "X-Goog-IAP-JWT-Assertion",
    "X-Goog-Authenticated-User-Email",
    "Cf-Access-Jwt-Assertion",
    "Cf-Access-Authenticated-User-Email",
    "X-MS-Client-Principal",
    "X-MS-Client-Principal-Name",
    "X-MS-Token-Aad-Access-Token",
    "X-Auth-Username",
    "X-Token-User-Roles",
    "X-Webauth-User",
    "X-Vouch-User",
    "X-User-Groups",
    "X-Authenticated-User",
    "X-Auth-Request-User",
    "X-Portcullis-Assertion",
];

fn keygen(algorithm: &str) -> Vec<u8> {
    let made =
        Command::new(env!("CARGO_BIN_EXE_portcullis")).args(["keygen", &format!("--signing={algorithm}")]).output();
    let made = made.expect("keygen runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

impl Scene {
    /// The only value of a header.
    fn one(&self, name: &str) -> &str {
        let values = self.seen.head.all(name);
        assert_eq!(values.len(), 1, "{name}: {values:?} in {:?}", self.seen.head.headers);
        values[0]
    }

    fn all(&self, expected: &[(&str, &str)]) {
        for (name, value) in expected {
            assert_eq!(self.one(name), *value, "{name}");
        }
    }
}

#[test]
fn plain_headers_say_who_in_each_products_words() {
    for (preset, expected) in [
        (
            "portcullis",
            &[
                ("X-Forwarded-User", "alice"),
                ("X-Forwarded-Email", "alice@example.com"),
                ("X-Forwarded-Preferred-Username", "alice"),
                ("X-Forwarded-Groups", "staff,dev"),
                ("X-Forwarded-Roles", "admin"),
            ][..],
        ),
        ("oauth2-proxy", &[("X-Forwarded-User", "alice"), ("X-Forwarded-Groups", "staff,dev")]),
        (
            "authelia",
            &[
                ("Remote-User", "alice"),
                ("Remote-Groups", "staff,dev"),
                ("Remote-Name", "Alice Liddell"),
                ("Remote-Email", "alice@example.com"),
            ],
        ),
        (
            "authentik",
            &[
                ("X-authentik-username", "alice"),
                ("X-authentik-groups", "staff|dev"),
                ("X-authentik-entitlements", "admin"),
                ("X-authentik-uid", "alice"),
            ],
        ),
        ("vouch", &[("X-Vouch-User", "alice@example.com"), ("X-Vouch-Success", "true")]),
        (
            "gatekeeper",
            &[
                ("X-Auth-Subject", "alice"),
                ("X-Auth-Groups", "staff,dev"),
                ("X-Auth-Roles", "admin"),
                ("X-Auth-Username", "alice"),
            ],
        ),
        (
            "caddy-security",
            &[("X-Token-Subject", "alice"), ("X-Token-User-Name", "Alice Liddell"), ("X-Token-User-Roles", "admin")],
        ),
        ("remote-user", &[("Remote-User", "alice")]),
        ("grafana", &[("X-WEBAUTH-USER", "alice"), ("X-WEBAUTH-GROUPS", "staff,dev")]),
        (
            "traefik",
            &[
                ("X-Forwarded-User", "alice@example.com"),
                ("X-User-Groups", "staff,dev"),
                ("X-User-Roles", "admin"),
                ("X-Forwarded-Displayname", "Alice Liddell"),
            ],
        ),
    ] {
        scene(preset, "").all(expected);
    }
    let scene = scene("traefik", "");
    let user: Value = serde_json::from_str(scene.one("X-Authenticated-User")).unwrap();
    assert_eq!(user, json!({"provider": "corp", "user": "alice"}));
}

/// A name that holds the joiner, which in each of these is another one, is left out; never two.
#[test]
fn no_group_becomes_two() {
    for (preset, header, joiner, whole) in [
        ("portcullis", "X-Forwarded-Groups", ',', vec!["staff", "dev"]),
        ("authentik", "X-authentik-groups", '|', vec!["staff", "dev"]),
        ("mod_auth_openidc", "OIDC_CLAIM_groups", ',', vec!["staff", "dev"]),
    ] {
        let scene = scene(preset, "");
        assert_eq!(scene.one(header).split(joiner).collect::<Vec<_>>(), whole, "{preset}");
        assert!(scene.inner.gateway.logs_come_to_hold("can't be written into their identity header"));
    }
}

/// Apache's module: a header for each claim, its values as `json_object` and friends write them there.
#[test]
fn mod_auth_openidc() {
    for (preset, prefix) in [("mod_auth_openidc", "OIDC_CLAIM_"), ("mod_auth_openidc-dashed", "OIDC-CLAIM-")] {
        let scene = scene(preset, "token = \"access_token\"");
        for (claim, value) in [
            ("sub", "alice"),
            ("preferred_username", "alice"),
            ("email", "alice@example.com"),
            ("email_verified", "1"),
            ("active", "1"),
            ("level", "3"),
            ("groups", "staff,dev"),
            ("address", "{\"city\":\"Berlin\"}"),
        ] {
            assert_eq!(scene.one(&format!("{prefix}{claim}")), value, "{claim}");
        }
        let sent = scene.one("authorization").strip_prefix("Bearer ").unwrap().to_owned();
        assert_eq!(scene.one(if prefix.contains('_') { "OIDC_access_token" } else { "OIDC-access-token" }), sent);
        let without = self::scene(preset, "");
        assert!(
            without.seen.head.headers.iter().all(|(name, _)| !name.to_lowercase().contains("access")),
            "a token that nobody asked for"
        );
    }
}

/// Pomerium's guide: ES256, the key from `/.well-known/pomerium/jwks.json` of the host in `aud`, issuer and audience are that host.
#[test]
fn pomerium() {
    let scene = scene("pomerium", "");
    let token = scene.one("X-Pomerium-Jwt-Assertion");
    assert_eq!(part(token, 0)["alg"], "ES256");
    let host = scene.inner.gateway.url().trim_start_matches("http://").to_owned();
    let claims = verified_with(token, &json_at(&scene.inner.gateway, "/.well-known/pomerium/jwks.json"));
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!(host), &json!(host)));
    assert_eq!(
        (&claims["sub"], &claims["user"], &claims["email"]),
        (&json!("alice"), &json!("alice"), &json!("alice@example.com"))
    );
    assert_eq!(claims["groups"], json!(["staff", "a,b|c d", "dev"]), "a list needs no joiner");
    assert_eq!(claims["name"], "Alice Liddell");
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
    assert!(claims["sid"].as_str().is_some_and(|sid| sid.len() > 10) && claims["jti"].is_string());
}

/// AWS's sample: the header's `signer` is compared first, then the key is fetched as PEM by `kid`, then the token verified as it stands,
/// padding included.
#[test]
fn aws_alb() {
    const ARN: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/gate/50dc6c495c0c9188";
    let scene = scene("aws-alb", &format!("token = \"access_token\"\n[upstreams.app.assertion]\nsigner = {ARN:?}"));
    scene.all(&[("x-amzn-oidc-identity", "alice")]);
    let token = scene.one("x-amzn-oidc-data");
    assert!(token.split('.').all(|part| part.len() % 4 == 0), "the parts are padded");
    // The sample decodes the header with the standard alphabet.
    let header: Value = serde_json::from_slice(&STANDARD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    assert_eq!((&header["signer"], &header["alg"]), (&json!(ARN), &json!("ES256")));
    assert_eq!(header["client"], crate::support::provider::CLIENT_ID);
    assert_eq!(header["iss"], scene.inner.provider.issuer());
    assert!(header["exp"].is_u64());
    let kid = header["kid"].as_str().unwrap();
    let groups: Vec<usize> = kid.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "verifiers take key ids of this form alone: {kid}");
    let pem = scene.inner.gateway.get(&format!("/.auth/keys/{kid}")).send();
    assert_eq!(pem.status, 200);
    // The point stands at the end of a P-256 key's `SubjectPublicKeyInfo`.
    let spki = der(&pem.text());
    let point = &spki[spki.len() - 65..];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED, point);
    assert!(key.verify(signed.as_bytes(), &decoded(signature)).is_ok());
    let claims = claims_of(token);
    assert_eq!(
        (&claims["sub"], &claims["email"], &claims["level"]),
        (&json!("alice"), &json!("alice@example.com"), &json!(3))
    );
    assert_eq!(claims.get("aud"), None);
    assert_eq!(scene.one("x-amzn-oidc-accesstoken"), scene.one("authorization").trim_start_matches("Bearer "));
}

/// Google's page on signed headers: ES256, `kid` in the key file (either form), issuer, audience, times; the unsigned headers have a prefix.
#[test]
fn google_iap() {
    const AUDIENCE: &str = "/projects/123456789/global/backendServices/987654321";
    let scene = scene("google-iap", &format!("[upstreams.app.assertion]\naudience = {AUDIENCE:?}"));
    scene.all(&[
        ("X-Goog-Authenticated-User-Email", "accounts.google.com:alice@example.com"),
        ("X-Goog-Authenticated-User-Id", "accounts.google.com:alice"),
    ]);
    let token = scene.one("X-Goog-IAP-JWT-Assertion");
    let claims = verified_with(token, &json_at(&scene.inner.gateway, "/iap/verify/public_key-jwk"));
    let pems = json_at(&scene.inner.gateway, "/iap/verify/public_key");
    assert!(pems[part(token, 0)["kid"].as_str().unwrap()].as_str().unwrap().starts_with("-----BEGIN PUBLIC KEY-----"));
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!(AUDIENCE), &json!("https://cloud.google.com/iap")));
    assert_eq!(
        (&claims["sub"], &claims["email"], &claims["hd"]),
        (&json!("accounts.google.com:alice"), &json!("alice@example.com"), &json!("example.com"))
    );
    assert!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap() <= 600);
    assert_eq!(part(token, 0)["alg"], "ES256");
}

/// Cloudflare's sample: the keys from `/cdn-cgi/access/certs` of the team's domain, RS256 alone, the application's tag in `aud`, the domain in
/// `iss`.
#[test]
fn cloudflare_access() {
    const TAG: &str = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2";
    let scene = scene("cloudflare-access", &format!("[upstreams.app.assertion]\naudience = {TAG:?}"));
    scene.all(&[("Cf-Access-Authenticated-User-Email", "alice@example.com")]);
    let token = scene.one("Cf-Access-Jwt-Assertion");
    assert_eq!(part(token, 0)["alg"], "RS256");
    let certs = json_at(&scene.inner.gateway, "/cdn-cgi/access/certs");
    let claims = verified_with(token, &certs);
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!([TAG]), &json!(scene.inner.gateway.url())));
    assert_eq!(
        (&claims["email"], &claims["type"], &claims["sub"]),
        (&json!("alice@example.com"), &json!("app"), &json!("alice"))
    );
    assert!(claims["nbf"].is_u64() && claims["identity_nonce"].is_string());
    assert!(certs["public_certs"].as_array().unwrap().iter().any(|key| key["kid"] == part(token, 0)["kid"]));
}

/// Microsoft's page on user identities: base64 of JSON with typed claims; the name is the claim of type `name_typ`, roles those of `role_typ`.
#[test]
fn azure_easyauth() {
    let scene = scene("azure-easyauth", "token = \"id_token\"");
    scene.all(&[
        ("X-MS-CLIENT-PRINCIPAL-ID", "alice"),
        ("X-MS-CLIENT-PRINCIPAL-NAME", "alice"),
        ("X-MS-CLIENT-PRINCIPAL-IDP", "corp"),
    ]);
    let principal: Value =
        serde_json::from_slice(&STANDARD.decode(scene.one("X-MS-CLIENT-PRINCIPAL")).unwrap()).unwrap();
    let of = |kind: &Value| -> Vec<&str> {
        let claims = principal["claims"].as_array().unwrap().iter().filter(|claim| claim["typ"] == *kind);
        claims.map(|claim| claim["val"].as_str().expect("values are texts")).collect()
    };
    assert_eq!(of(&principal["name_typ"]), ["alice"]);
    assert_eq!(of(&principal["role_typ"]), ["admin"]);
    assert_eq!(of(&json!("groups")), ["staff", "a,b|c d", "dev"], "a list needs no joiner");
    assert_eq!(of(&json!("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress")), ["alice@example.com"]);
    assert_eq!(of(&json!("level")), ["3"]);
    assert_eq!(principal["auth_typ"], "corp");
    assert_eq!(scene.one("X-MS-TOKEN-AAD-ID-TOKEN"), scene.one("authorization").trim_start_matches("Bearer "));
}

/// Where an upstream asks for it, our own: the key from the usual place, an audience of its own.
#[test]
fn our_own_assertion() {
    for (preset, further, audience) in [
        ("portcullis", "assertion = true", None),
        ("grafana", "[upstreams.app.assertion]\naudience = \"grafana\"\nalgorithm = \"EdDSA\"", Some("grafana")),
    ] {
        let scene = scene(preset, further);
        let token = scene.one("X-Portcullis-Assertion");
        let claims = verified(token, &scene.inner.gateway);
        let upstream = scene.inner.upstream.url();
        assert_eq!(claims["aud"], audience.unwrap_or(&upstream));
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!(scene.inner.gateway.url()), &json!("alice")));
        assert_eq!(part(token, 0)["alg"], if audience.is_some() { "EdDSA" } else { "ES256" });
    }
    let without = scene("portcullis", "");
    assert_eq!(without.seen.header("X-Portcullis-Assertion"), None);
    // Whoever changes a letter of one has nothing.
    let scene = scene("portcullis", "assertion = true");
    let token = scene.one("X-Portcullis-Assertion");
    let set = json_at(&scene.inner.gateway, "/.auth/jwks.json");
    let key = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == part(token, 0)["kid"]).unwrap();
    let mut letters: Vec<char> = token.chars().collect();
    let middle = token.find('.').unwrap() + 10;
    letters[middle] = if letters[middle] == 'A' { 'B' } else { 'A' };
    assert!(fits(token, key) && !fits(&letters.into_iter().collect::<String>(), key));
}

/// Keys change in their files while the gateway serves: what was signed before verifies as long as its key is named, and then no more.
#[test]
fn signing_keys_change_without_a_restart() {
    let scene = scene("portcullis", "assertion = true");
    let gateway = &scene.inner.gateway;
    let old = scene.one("X-Portcullis-Assertion").to_owned();
    let old_key = std::fs::read(scene.keys.path().join("ES256")).unwrap();
    let ids = || -> Vec<Value> {
        json_at(gateway, "/.auth/jwks.json")["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect()
    };
    let before = ids();
    // The new one first, the old one in the place of one that nobody needs.
    std::fs::write(scene.keys.path().join("EdDSA"), &old_key).unwrap();
    std::fs::write(scene.keys.path().join("ES256"), keygen("ES256")).unwrap();
    assert!(crate::support::comes_true(|| ids().len() == 3 && ids() != before));
    assert_eq!(claims_of(&old), verified(&old, gateway), "still published");
    scene.inner.signed_in("alice");
    let seen = scene.inner.upstream.last_request();
    let new = seen.header("X-Portcullis-Assertion").unwrap().to_owned();
    assert_ne!(part(&new, 0)["kid"], part(&old, 0)["kid"]);
    verified(&new, gateway);
    std::fs::write(scene.keys.path().join("EdDSA"), "not a key").unwrap();
    assert!(gateway.logs_come_to_hold("the signing keys can't be read anew"));
    assert_eq!(ids().len(), 3, "what was there stays in use");
    std::fs::write(scene.keys.path().join("EdDSA"), keygen("EdDSA")).unwrap();
    assert!(crate::support::comes_true(|| !ids().contains(&part(&old, 0)["kid"])), "the old key is gone");
    let secret = String::from_utf8(old_key).unwrap().lines().nth(1).unwrap().to_owned();
    assert!(secret.len() > 20 && !gateway.logs().contains(&secret));
}
