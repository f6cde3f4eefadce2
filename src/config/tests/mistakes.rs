//! What people read for each mistake.

use super::*;
use crate::config::settings::RewriteSettings;

/// Each line is put into a config that is right; the mistakes must hold the texts.
fn each(cases: &[(String, &[&str])]) {
    for (text, expected) in cases {
        let told = mistakes(text);
        for part in *expected {
            assert!(told.contains(part), "for\n{text}\nthis is told:\n{told}\nbut not: {part}");
        }
    }
}

fn url(url: &str) -> String {
    right("", "").replace("https://app.example.com", url)
}

fn provider(line: &str) -> String {
    right("", "").replace("client_id", &format!("{line}\nclient_id"))
}

fn issuer(issuer: &str) -> String {
    right("", "").replace("https://login.example.com", issuer)
}

fn upstream(line: &str) -> String {
    right("", line)
}

fn route(lines: &str) -> String {
    right("", &format!("[[routes]]\n{lines}"))
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let told = toml(
        r#"public_url = "http://app.example.com"
workrs = 2

[session]
idle = "soon"

[providers.corp]
isuer = "https://login.example.com"
client_id = "app"

[[routes]]
path = "/admin/*"
allow = "signed-in"
upstream = "ap"

[upstreams.app]
url = "http://127.0.0.1:3000/app"
"#,
    )
    .unwrap_err();
    let expected = r#"portcullis.toml:1:14: error: public_url: `public_url` is plain http, so session cookies could be read on the way
  |
1 | public_url = "http://app.example.com"
  |              ^^^^^^^^^^^^^^^^^^^^^^^^
  = write "https://app.example.com"; http is for localhost alone

portcullis.toml:2:1: error: workrs: `workrs` is no key of the top level
  |
2 | workrs = ***
  | ^^^^^^
  = did you mean `workers`?
  = allowed here: bearer, drain, limits, listen, log, prefix, providers, public_url, return_to, routes, session, signing, tls, trusted_proxies, upstreams, verify, workers

portcullis.toml:5:8: error: session.idle: `soon` is no duration
  |
5 | idle = "soon"
  |        ^^^^^^
  = write a whole number and a unit: "500ms", "30s", "5m", "8h" or "7d"

portcullis.toml:8:1: error: providers.corp.isuer: `isuer` is no key of [providers.corp]
  |
8 | isuer = ***
  | ^^^^^
  = did you mean `issuer`?
  = allowed here: allowed_login_parameters, authorization_parameters, ca, client_authentication, client_id, client_secret, clock_skew, groups_claim, issuer, label, max_age, preset, private_endpoints, revoke_tokens, roles_claims, scopes, signing_algorithms, timeout, userinfo

portcullis.toml:14:12: error: routes[0].upstream: there is no upstream `ap`
   |
14 | upstream = "ap"
   |            ^^^^
  = did you mean "app"?
  = known: app

portcullis.toml:17:7: error: upstreams.app.url: this URL has a path, a query or a fragment
   |
17 | url = "http://127.0.0.1:3000/app"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = write the origin alone: "http://127.0.0.1:3000"
  = a path for all requests of a route is its `add_prefix`

6 mistakes in the config"#;
    assert_eq!(told, expected);
}

#[test]
fn what_is_missing_is_told_at_its_table() {
    let told = mistakes("[providers.corp]\nclient_id = \"app\"\n[upstreams.app]\n");
    let expected = r#"portcullis.toml: error: public_url: `public_url` is missing
  = add the origin that browsers see: public_url = "https://app.example.com"

portcullis.toml:1:12: error: providers.corp.issuer: `issuer` is missing
  |
1 | [providers.corp]
  |            ^^^^
  = add the provider's issuer: issuer = "https://login.example.com"

portcullis.toml:3:12: error: upstreams.app.url: `url` is missing
  |
3 | [upstreams.app]
  |            ^^^
  = add where it is: url = "http://127.0.0.1:3000""#;
    assert_eq!(told, expected);
}

#[test]
fn the_public_url_is_an_origin_over_tls() {
    for good in ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080", "http://app.localhost"] {
        assert!(toml(&url(good)).is_ok(), "{good}");
    }
    each(&[
        (url("http://app.example.com"), &["plain http", "write \"https://app.example.com\""]),
        (url("http://localhost.example.com"), &["plain http"]),
        (url("https://app.example.com/app"), &["write the origin alone: \"https://app.example.com\""]),
        (url("https://app.example.com?x"), &["a path, a query or a fragment"]),
        (url("https://u:p@app.example.com"), &["user name or password", "public_url = ***"]),
        (url("app.example.com"), &["no http or https URL"]),
        (url("https://app.example.com:99999"), &["no URL"]),
    ]);
}

#[test]
fn providers() {
    each(&[
        (right("", "").replace("[providers.corp]", "[providers.Corp]"), &["`Corp` is no name for a provider", "a-z"]),
        (right("", "").replace("[providers.corp]", &format!("[providers.{}]", "a".repeat(33))), &["is no name"]),
        (issuer("http://login.example.com"), &["plain http", "sign in as anyone"]),
        (issuer("https://login.example.com?x=1"), &["no query"]),
        (issuer("https://login.example.com#x"), &["no fragment"]),
        (issuer("https://u@login.example.com"), &["user name"]),
        (issuer("login.example.com"), &["no http or https URL"]),
        (provider("preset = \"keyclock\""), &["`keyclock` is no value of `preset`", "did you mean \"keycloak\"?"]),
        (provider("client_authentication = \"client_secret_basic\""), &["needs a `client_secret`"]),
        (provider("client_authentication = \"none\"\nclient_secret = \"x\""), &["but there is a `client_secret`"]),
        (provider("client_authentication = \"private_key_jwt\""), &["allowed: \"client_secret_basic\""]),
        (provider("scopes = [\"email\"]"), &["lacks \"openid\"", "add \"openid\""]),
        (provider("scopes = []"), &["lacks \"openid\""]),
        (provider("scopes = [\"openid email\"]"), &["`openid email` is no scope", "a text of its own"]),
        (provider("scopes = \"openid\""), &["not text", "put it in brackets"]),
        (provider("signing_algorithms = [\"none\"]"), &["let anyone sign in as anyone"]),
        (provider("signing_algorithms = [\"NONE\"]"), &["let anyone sign in as anyone"]),
        (provider("signing_algorithms = [\"HS256\"]"), &["`HS256` is an HMAC", "allowed: RS256"]),
        (provider("signing_algorithms = [\"ES265\"]"), &["did you mean \"ES256\"?"]),
        (provider("signing_algorithms = []"), &["no algorithm is left"]),
        (provider("userinfo = true"), &["not true or false"]),
        (provider("groups_claim = \"a..b\""), &["holds an empty name"]),
        (provider("roles_claims = [5]"), &["takes a claim", "not a whole number"]),
        (provider("authorization_parameters = { state = \"x\" }"), &["`state` is set by the sign-in itself"]),
        (provider("authorization_parameters = { redirect_uri = \"x\" }"), &["set by the sign-in itself"]),
        (provider("authorization_parameters = { max_age = 5 }"), &["takes a text"]),
        (provider("allowed_login_parameters = [\"nonce\"]"), &["set by the sign-in itself"]),
        (provider("ca = \"/nowhere/ca.pem\""), &["providers.corp.ca: can't use the PEM file /nowhere/ca.pem"]),
        (provider("private_endpoints = [\"https://x.example/path\"]"), &["write the origin alone"]),
        (provider("clock_skew = \"10m\""), &["out of bounds", "allowed: \"0s\" to \"5m\""]),
        (provider("timeout = \"0s\""), &["out of bounds"]),
    ]);
    assert!(toml(&issuer("http://127.0.0.1:9000/realm")).is_ok());
}

#[test]
fn upstreams() {
    each(&[
        (upstream("identity = \"grafanna\""), &["is no header preset", "did you mean \"grafana\"?"]),
        (upstream("headers = { \"X Y\" = \"a\" }"), &["`X Y` is no name of a header"]),
        (upstream("headers = { Host = \"a\" }"), &["`Host` can't be set here"]),
        (upstream("headers = { Content-Length = \"a\" }"), &["can't be set here"]),
        (upstream("headers = { Transfer_Encoding = \"a\" }"), &["can't be set here"]),
        (upstream("headers = { X_Request_Id = \"a\" }"), &["can't be set here"]),
        (upstream("headers = { X-Portcullis-Set-Cookie-1 = \"{sub}\" }"), &["proxies take it for ours"]),
        (upstream("headers = { Authorization = \"a\" }"), &["use `token`"]),
        (upstream("headers = { X-Forwarded-For = \"a\" }"), &["set by the gateway"]),
        (upstream("headers = { X-Team = \"a\", x_team = \"b\" }"), &["differ only in case", "the other one is at"]),
        (upstream("headers = { X-Team = \"{claims.team\" }"), &["braces"]),
        (upstream("headers = { X-Team = \"a\\nb\" }"), &["printable ASCII"]),
        (upstream("token = \"acces_token\""), &["did you mean \"access_token\"?"]),
        (upstream("connect_timeout = \"0s\""), &["out of bounds"]),
        (upstream("pass_host = \"yes\""), &["takes `true` or `false`, not text"]),
        (upstream("headers = { X-Forwarded-Prefix = \"a\" }"), &["can't be set here", "`strip_prefix`"]),
        (upstream("max_requests = 0"), &["`max_requests` is out of bounds", "allowed: 1 to 1000000000"]),
        (upstream("max_idle = -1"), &["`max_idle` is out of bounds", "allowed: 0 to 65536"]),
        (upstream("server_name = \"api.internal\""), &["`server_name` has no meaning for an http upstream"]),
        (
            upstream("ca = \"/nowhere\""),
            &["upstreams.app.ca: can't use the PEM file", "`ca` has no meaning for an http upstream"],
        ),
        (right("", "").replace("http://127.0.0.1:3000", "ftp://127.0.0.1"), &["no http or https URL"]),
        (
            right("", "[upstreams.other]\nurl = \"http://127.0.0.1:1\""),
            &["several upstreams (app, other), but no [[routes]]"],
        ),
    ]);
}

#[test]
fn addresses_of_upstreams() {
    let url = |text: &str| right("", "").replace("\"http://127.0.0.1:3000\"", text);
    let urls = |text: &str| right("", "").replace("url = \"http://127.0.0.1:3000\"", &format!("urls = {text}"));
    each(&[
        (url("\"http://a.example/base\""), &["has a path", "a path for all requests of a route is its `add_prefix`"]),
        (url("\"unix:app.sock\""), &["the path of a unix socket begins with `/`", "\"unix:/run/app.sock\""]),
        (url("[\"http://a.example\"]"), &["`url` takes a URL", "not a list"]),
        (urls("[]"), &["`urls` is an empty list"]),
        (urls("\"http://a.example\""), &["`urls` takes a list of URLs", "put it in brackets"]),
        (urls("[\"http://a.example\", \"ftp://b.example\"]"), &["no http or https URL"]),
        (
            urls("[\"http://a.example\", \"http://A.example:80/\"]"),
            &["this address is given twice", "it is also at portcullis.toml"],
        ),
        (upstream("urls = [\"http://a.example\"]"), &["`url` and `urls` are both given", "`url` is at"]),
        (upstream("balance = \"random\""), &["allowed: \"least_requests\", \"round_robin\""]),
        (upstream("eject_after = 1001"), &["allowed: 0 to 1000"]),
        (upstream("eject_for = \"1h\""), &["allowed: \"1s\" to \"10m\""]),
        (upstream("health = {}"), &["upstreams.app.health.path: `path` is missing"]),
        (upstream("health = { path = \"healthz\" }"), &["a path begins with `/`"]),
        (upstream("health = { path = \"/\", expect = \"2xx\" }"), &["`2xx` names no status codes"]),
        (upstream("health = { path = \"/\", healthy_after = 0 }"), &["allowed: 1 to 100"]),
        (upstream("health = { path = \"/\", inteval = \"1s\" }"), &["did you mean `interval`?"]),
        (upstream("client_certificate = {}"), &["`cert` is missing", "`key` is missing"]),
        (
            upstream("client_certificate = { cert = \"/nowhere\", key = \"/nowhere\" }"),
            &["client_certificate.cert: can't use", "client_certificate.key:"],
        ),
        (upstream("server_name = \"a b\""), &["`a b` is no host name"]),
    ]);
    let told = toml(&url("\"http://10.0.0.1:3000\"\ntoken = \"access_token\"")).unwrap().warnings;
    assert!(told[0].contains("gets a token over plain http"), "{told:?}");
    let quiet = toml(&url("\"unix:/run/app.sock\"\ntoken = \"access_token\"")).unwrap().warnings;
    assert!(quiet.is_empty(), "{quiet:?}");
}

#[test]
fn upstreams_that_are_no_application() {
    let kind = |lines: &str| right("", "").replace("url = \"http://127.0.0.1:3000\"", lines);
    each(&[
        (upstream("respond = 200"), &["can't be several things: url, respond", "keep one of them"]),
        (kind("files = \"/srv\"\nrespond = 200"), &["can't be several things: files, respond"]),
        (kind("files = \"www\""), &["this path is not absolute"]),
        (kind("files = \"/nowhere\""), &["can't use the directory /nowhere"]),
        (kind("files = \"/srv/session-key\""), &["is no directory"]),
        (kind("files = \"/srv\"\nidentity = \"grafana\""), &["`identity` has no meaning for a directory of files"]),
        (kind("files = \"/srv\"\ntoken = \"id_token\""), &["`token` has no meaning for a directory of files"]),
        (kind("files = \"/srv\"\nbody = \"x\""), &["`body` has no meaning for a directory of files"]),
        (kind("respond = 200\nca = \"/x\""), &["`ca` has no meaning for a fixed answer"]),
        (kind("respond = \"200\""), &["takes a whole number"]),
        (kind("respond = 302"), &["302 is no status that can be answered here"]),
        (kind("respond = 401"), &["401 is no status"]),
        (kind("respond = 204\nbody = \"x\""), &["an answer with 204 has no body"]),
        (kind("respond = 200\ncontent_type = \"html\""), &["`html` is no media type"]),
        (upstream("content_type = \"text/plain\""), &["`content_type` has no meaning for an application"]),
        (kind("body = \"x\""), &["upstreams.app.url: `url` is missing"]),
    ]);
    assert!(toml(&kind("files = \"/srv\"")).is_ok());
    assert!(toml(&kind("respond = 503\nbody = \"later\"")).is_ok());
}

#[test]
fn rewritten_paths() {
    let ok = |path: &str, line: &str| route(&format!("path = {path:?}\nallow = \"everyone\"\n{line}"));
    each(&[
        (
            ok("/*", "strip_prefix = \"/app\""),
            &["not every path of this route begins with `/app`", "path = \"/app/*\""],
        ),
        (ok("/application/*", "strip_prefix = \"/app\""), &["not every path of this route"]),
        (ok("/app/*", "strip_prefix = \"/app/\""), &["no slash at its end"]),
        (ok("/app/*", "strip_prefix = \"app\""), &["a path begins with `/`"]),
        (ok("/app/*", "strip_prefix = \"\""), &["a path begins with `/`"]),
        (ok("/app/*", "add_prefix = \"/a/../b\""), &["no dot segments"]),
        (ok("/app/*", "add_prefix = \"/a%2fb\""), &["no percent-encoding"]),
        (ok("/app/*", "add_prefix = \"/a?b\""), &["no query"]),
        (ok("/app/*", "strip_prefix = \"/app\"\nadd_prefix = \"/app\""), &["what is taken off is put back"]),
    ]);
    let settings = toml(&ok("/app/*", "strip_prefix = \"/app\"\nadd_prefix = \"/v1\"")).unwrap();
    let rewrite = settings.routes[0].rewrite.clone().unwrap();
    assert_eq!(rewrite, RewriteSettings::Prefixes { strip: "/app".to_owned(), add: "/v1".to_owned() });
    assert!(toml(&ok("/app/*", "")).unwrap().routes[0].rewrite.is_none());
}

#[test]
fn routes() {
    let ok = "allow = \"signed-in\"\n";
    each(&[
        (route("allow = \"everyone\""), &["routes[0].path: `path` is missing"]),
        (route("path = \"/*\""), &["routes[0].allow: `allow` is missing"]),
        (route(&format!("{ok}path = \"x\"")), &["a path begins with `/`", "write \"/x\""]),
        (route(&format!("{ok}path = \"/a*\"")), &["`*` stands only at the end"]),
        (route(&format!("{ok}path = \"/.auth/*\"")), &["Portcullis's own"]),
        (route(&format!("{ok}path = \"/.auth\"")), &["Portcullis's own"]),
        (route(&format!("{ok}path = \"/*\"\nhost = \"app.example.com:443\"")), &["has no port"]),
        (route(&format!("{ok}path = \"/*\"\nhost = \"https://app.example.com\"")), &["a host is no URL"]),
        (route(&format!("{ok}path = \"/*\"\nhost = \"*.example.com\"")), &["no single host"]),
        (route(&format!("{ok}path = \"/*\"\nmethods = [\"get\"]")), &["upper-case: \"GET\""]),
        (route(&format!("{ok}path = \"/*\"\nmethods = []")), &["empty list"]),
        (route(&format!("{ok}path = \"/*\"\nmethods = [\"CONNECT\"]")), &["never passed on"]),
        (
            route(&format!("{ok}path = \"/*\"\nmethods = [\"TRACE\", \"G!\"]")),
            &["never passed on", "`G!` is no method"],
        ),
        (route(&format!("{ok}path = \"/*\"\nsigned_out = \"403\"")), &["allowed: \"redirect\", \"401\", \"auto\""]),
        (route(&format!("{ok}path = \"/*\"\nencoded_slash = 1")), &["takes `true` or `false`"]),
        (route("path = \"/*\"\nallow = \"signed_in\""), &["`signed_in` is no rule", "did you mean \"signed-in\"?"]),
        (route("path = \"/*\"\nallow = {}"), &["does it mean everyone or nobody?"]),
        (route("path = \"/*\"\nallow = []"), &["nobody could ever pass"]),
        (route("path = \"/*\"\nallow = [{ roles = [\"a\"] }, {}]"), &["empty table"]),
        (route("path = \"/*\"\nallow = { roles = [] }"), &["`roles` is an empty list"]),
        (
            route("path = \"/*\"\nallow = { rolls = [\"a\"] }"),
            &["`rolls` is no key of `allow`", "did you mean `roles`?"],
        ),
        (route("path = \"/*\"\nallow = { providers = [\"cor\"] }"), &["no provider `cor`", "did you mean \"corp\"?"]),
        (route("path = \"/*\"\nallow = { emails = [\"alice\"] }"), &["`alice` is no email address"]),
        (route("path = \"/*\"\nallow = { email_domains = [\"@example.com\"] }"), &["write \"example.com\""]),
        (
            route("path = \"/*\"\nallow = { email_domains = [\"*.example.com\"] }"),
            &["each subdomain is named on its own"],
        ),
        (route("path = \"/*\"\nallow = { emails = [\"a@b@example.com\"] }"), &["is no email address"]),
        (route("path = \"/*\"\nallow = { email_domains = [\"müller.example\"] }"), &["is no domain", "xn--"]),
        (route("path = \"/*\"\nallow = [\"signed-in\"]"), &["a table in this list"]),
        (right("routes = 5", ""), &["`routes` takes a list of tables"]),
    ]);
}

#[test]
fn routes_that_tie_name_both_places() {
    let two = |one: &str, other: &str| {
        route(&format!(
            "path = \"/x\"\nallow = \"everyone\"\n{one}\n[[routes]]\npath = \"/x\"\nallow = \"signed-in\"\n{other}"
        ))
    };
    let told = mistakes(&two("", ""));
    let expected = r#"portcullis.toml:15:8: error: routes[1].path: two routes tie: the same host, the same path and a method in common
   |
15 | path = "/x"
   |        ^^^^
  = the other one is at portcullis.toml:11:8
  = narrow one of them by `host` or `methods`, or leave it out"#;
    assert_eq!(told, expected);
    let host = "host = \"A.example.com\"";
    each(&[
        (two("methods = [\"GET\", \"PUT\"]", "methods = [\"PUT\"]"), &["two routes tie"]),
        (two(host, "host = \"a.EXAMPLE.com\""), &["two routes tie"]),
    ]);
    assert!(toml(&two("methods = [\"GET\"]", "methods = [\"PUT\"]")).is_ok());
    assert!(toml(&two("", "methods = [\"PUT\"]")).is_ok(), "methods narrow a route");
    assert_eq!(toml(&two(host, "")).unwrap().routes[0].host.as_deref(), Some("a.example.com"));
}

#[test]
fn a_sign_in_needs_a_provider_and_a_public_site_none() {
    let text = |allow: &str| {
        format!(
            "public_url = \"https://a.example\"\nsession.keys = [{{ file = \"/run/secrets/session-key\" }}]\n\
             [upstreams.app]\nurl = \"http://127.0.0.1:1\"\n[[routes]]\npath = \"/*\"\nallow = \"{allow}\"\n"
        )
    };
    assert!(toml(&text("everyone")).is_ok());
    assert!(mistakes(&text("signed-in")).contains("`providers` is missing"));
}

#[test]
fn listeners_and_proxies() {
    each(&[
        (right("", "[listen]\nhttp = [\"fd:2\"]"), &["write \"fd:3\""]),
        (right("", "[listen]\nadmin = \"unix:/run/a.sock\""), &["`admin` listens on an IP address only"]),
        (right("", "[listen]\nunix_mode = \"660x\""), &["is no mode"]),
        (right("", "[listen]\nunix_mode = \"0060\""), &["read and write for its owner"]),
        (right("", "[listen]\nproxy_protocol = true"), &["no proxy is trusted", "networks ="]),
        (
            right(
                "",
                "[listen]\nproxy_protocol = true\nhttp = [\"unix:/p\"]\n[trusted_proxies]\nnetworks = [\"10.0.0.0/8\"]",
            ),
            &["a unix socket has no address"],
        ),
        (right("", "[tls]\nclient_certificates = \"optional\""), &["`client_ca` is missing"]),
        (
            right("", "[[tls.certificates]]\ncert = \"/nowhere\""),
            &["tls.certificates[0].cert: can't use", "tls.certificates[0].key: `key` is missing"],
        ),
        (right("", "[listen]\nhttp = []"), &["nothing listens"]),
        (right("", "[listen]\nhttp = [\"127.0.0.1:1\"]\nadmin = \"127.0.0.1:1\""), &["given twice", "it is also at"]),
        (right("", "[listen]\nhttps = [\"127.0.0.1:1\"]"), &["`cert` is missing", "`key` is missing"]),
        (right("", "[tls]\ncert = \"/nowhere\"\nkey = \"/nowhere\""), &["tls.cert: can't use", "tls.key: can't use"]),
        (
            right("", "[trusted_proxies]\nnetworks = [\"0.0.0.0/0\"]"),
            &["trusts every machine", "insecure_trust_every_proxy"],
        ),
        (right("", "[trusted_proxies]\nnetworks = [\"::/0\"]"), &["trusts every machine"]),
        (right("", "[trusted_proxies]\nnetworks = [\"0.0.0.0/1\", \"128.0.0.0/1\"]"), &["trusts every machine"]),
        (right("", "[trusted_proxies]\nnetworks = [\"10.1.0.0/8\"]"), &["write \"10.0.0.0/8\""]),
    ]);
    let text = "[trusted_proxies]\nnetworks = [\"0.0.0.0/0\"]\ninsecure_trust_every_proxy = true";
    let settings = toml(&right("", text)).unwrap();
    assert!(settings.dangers[0].starts_with("trusted_proxies.insecure_trust_every_proxy: "), "{:?}", settings.dangers);
    let open = toml(&right("", "[listen]\nadmin = \"0.0.0.0:9090\"")).unwrap();
    assert!(open.warnings[0].contains("`admin` can be reached from other machines"), "{:?}", open.warnings);
}

#[test]
fn the_rest_of_the_tables() {
    let session = |line: &str| right("", "").replace("keys =", &format!("{line}\nkeys ="));
    each(&[
        (session("store = \"redis://:pw@r:6379/x\""), &["a database that is no number", "store = ***"]),
        (session("store = 5"), &["takes a text or a table"]),
        (session("store = { prefix = \"x\" }"), &["`url` is missing"]),
        (
            session(
                "store = { url = \"sqlite:s.db\", password = \"pw\", ca = \"/no\", key = \"/no\", prefix = \"X\" }",
            ),
            &["no password", "/no", "`cert` is missing", "no prefix"],
        ),
        (
            session(
                "store = { url = \"redis://h\", sentinel_password = \"pw\", keep_for = \"2d\", sessions = \"small\" }",
            ),
            &["names no sentinels", "allowed: \"0s\" to \"24h\"", "allowed: \"all\", \"large\""],
        ),
        (session("store = \"memory\""), &["`memory` is no store"]),
        (session("idle = \"8d\""), &["`idle` is longer than `lifetime`"]),
        (session("idle = \"0s\""), &["out of bounds"]),
        (session("lifetime = \"0s\""), &["out of bounds"]),
        (session("idle = 8"), &["takes a duration", "put it in quotes"]),
        (session("cookie_name = \"a b\""), &["is no name for our cookies"]),
        (session("cookie_name = \"__Host-x\""), &["added by us"]),
        (session("max_cookie_bytes = \"64KiB\""), &["leaves no room"]),
        (session("cache = 15"), &["`cache` is out of bounds", "allowed: 16 to 100000000"]),
        (session("workers = 2"), &["there is a key `workers` at the top level"]),
        (right("workers = 0", ""), &["allowed: 1 to 1024"]),
        (right("workers = 1025", ""), &["allowed: 1 to 1024"]),
        (right("workers = \"2\"", ""), &["takes a whole number, not text"]),
        (right("workers = 2.5", ""), &["not a fraction"]),
        (right("drain = 2026-01-01", ""), &["not a date or time"]),
        (right("prefix = \"/.auth/\"", ""), &["without a slash at its end"]),
        (right("prefix = \"/\"", ""), &["one path for our own endpoints"]),
        (right("log = \"debug\"", ""), &["`log` takes a table, not text"]),
        (right("", "[limits]\nheader_bytes = \"1KiB\""), &["allowed: \"4KiB\" to \"256KiB\""]),
        (right("", "[limits]\nheader_bytes = \"64KB\""), &["is no size"]),
        (right("", "[limits]\nheaders = 5"), &["allowed: 10 to 1000"]),
        (right("", "[limits]\nbody_timeout = \"0s\""), &["allowed: \"1s\" to \"1h\""]),
        (right("", "[limits]\nsend_timeout = \"2h\""), &["allowed: \"1s\" to \"1h\""]),
        (right("", "[limits]\nrequest_timeout = \"0s\""), &["allowed: \"1s\" to \"30d\""]),
        (right("", "[limits]\nconnections_per_address = 0"), &["allowed: 1 to 1000000"]),
        (route("path = \"/*\"\nallow = \"signed-in\"\nbody_bytes = \"0B\""), &["`body_bytes` is out of bounds"]),
        (upstream("client_cert_header = true"), &["`client_cert_header`, but clients are asked for none", "client_ca"]),
        (
            route("path = \"/*\"\nallow = { client_certificate = [\"dns:a.example\"] }"),
            &["but clients are asked for none"],
        ),
        (route("path = \"/*\"\nallow = { client_certificate = [\"a.example\"] }"), &["says not how to tell"]),
        (route("path = \"/*\"\nallow = { client_certificate = [\"dns:*.example\"] }"), &["has no `*`"]),
        (route("path = \"/*\"\nallow = { client_certificate = [\"sha256:abc\"] }"), &["no SHA-256 fingerprint"]),
        (right("", "[limits]\nconnections = 0"), &["allowed: 1 to 1000000"]),
        (right("", "[limits]\nh2_streams = 0"), &["allowed: 1 to 1000"]),
        (right("", "[limits]\nh2_streams = 1001"), &["allowed: 1 to 1000"]),
        (right("", "[limits]\nh2_resets = 1"), &["allowed: 10 to 1000000"]),
        (right("", "[limits]\nh2_window = \"1KiB\""), &["allowed: \"64KiB\" to \"16MiB\""]),
        (right("", "[listen]\nh2c = \"yes\""), &["`h2c` takes"]),
        (right("", "[log]\nlevel = \"portcullis=loud\""), &["is no level"]),
        (right("", "[return_to]\norigins = [\"http://x.example\"]"), &["can be impersonated"]),
        (right("", "[return_to]\norigins = [\"https://x.example/y\"]"), &["write the origin alone"]),
    ]);
}
