//! The table: what is asked, by whom, and what becomes of it.

pub(crate) use crate::case::{API, APP, Case, Door, Outcome, Who, case, get};
use crate::tokens;
use Outcome::{Forbidden, Malformed, Misdirected, Nowhere, Pass, SignIn, Unauthorized};

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [
        rules(),
        routes(),
        callers(),
        credentials(),
        odd_paths(),
        hosts(),
        methods(),
        forged(),
        websockets(),
        queries(),
        pages(),
        tokens::all(),
    ]
    .concat()
}

/// Who may pass where.
fn rules() -> Vec<Case> {
    let (alice, bob, nobody) = (Who::Alice, Who::Bob, Who::Nobody);
    vec![
        get("/", nobody, SignIn),
        get("/", alice, Pass(Some("alice"))),
        get("/", bob, Pass(Some("bob"))),
        get("/public/x", nobody, Pass(None)),
        get("/public/x", alice, Pass(Some("alice"))),
        get("/public/", nobody, Pass(None)),
        get("/public", nobody, SignIn),
        get("/publicity", nobody, SignIn),
        get("/admin/users", nobody, SignIn),
        get("/admin/users", bob, Forbidden),
        get("/admin/users", alice, Pass(Some("alice"))),
        get("/admin/", bob, Forbidden),
        get("/admin/public/x", bob, Forbidden),
        get("/admin/open", nobody, Pass(None)),
        get("/admin/open/", bob, Forbidden),
        get("/staff/x", nobody, SignIn),
        get("/staff/x", bob, Forbidden),
        get("/staff/x", alice, Pass(Some("alice"))),
        get("/mail/x", nobody, SignIn),
        get("/mail/x", bob, Forbidden),
        get("/mail/x", alice, Pass(Some("alice"))),
        get("/both/x", bob, Forbidden),
        get("/both/x", alice, Pass(Some("alice"))),
        get("/nobody/x", alice, Forbidden),
        get("/nobody/x", nobody, SignIn),
        get("/other-provider/x", alice, Forbidden),
        get("/token/x", alice, Pass(Some("alice"))),
        get("/token/x", nobody, SignIn),
        get("/strip/page", alice, Pass(Some("alice"))),
        get("/strip/page", nobody, SignIn),
        // Nobody here has what this route puts into the path.
        get("/locker/x", alice, Forbidden),
        get("/locker/x", nobody, SignIn),
    ]
}

/// The most specific route, by path, method and host.
fn routes() -> Vec<Case> {
    let (alice, bob, nobody) = (Who::Alice, Who::Bob, Who::Nobody);
    vec![
        case("POST", APP, "/submit", nobody, SignIn),
        case("POST", APP, "/submit", bob, Forbidden),
        case("POST", APP, "/submit", alice, Pass(Some("alice"))),
        case("GET", APP, "/submit", bob, Pass(Some("bob"))),
        case("PUT", APP, "/submit", bob, Pass(Some("bob"))),
        case("GET", APP, "/read/x", nobody, Pass(None)),
        case("HEAD", APP, "/read/x", nobody, Pass(None)),
        case("POST", APP, "/read/x", nobody, SignIn),
        case("POST", APP, "/read/x", bob, Pass(Some("bob"))),
        case("GET", API, "/open/x", nobody, Pass(None)),
        case("GET", API, "/x", nobody, SignIn),
        case("GET", API, "/x", bob, Forbidden),
        case("GET", API, "/x", alice, Pass(Some("alice"))),
        case("GET", API, "/public/x", bob, Forbidden),
        case("GET", API, "/admin/x", nobody, SignIn),
        case("DELETE", API, "/only/get", bob, Forbidden),
        case("GET", API, "/only/get", alice, Pass(Some("alice"))),
    ]
}

/// People are sent to sign in, programs are told.
fn callers() -> Vec<Case> {
    let (alice, bob, nobody) = (Who::Alice, Who::Bob, Who::Nobody);
    vec![
        get("/", nobody, Unauthorized).by_script(),
        get("/", alice, Pass(Some("alice"))).by_script(),
        get("/admin/x", bob, Forbidden).by_script(),
        get("/public/x", nobody, Pass(None)).by_script(),
        get("/api/x", nobody, Unauthorized),
        get("/api/x", nobody, Unauthorized).by_script(),
        get("/api/x", alice, Pass(Some("alice"))).by_script(),
        get("/", nobody, Unauthorized).with("X-Requested-With", "XMLHttpRequest"),
        get("/", nobody, SignIn).with("Sec-Fetch-Mode", "navigate").with("Sec-Fetch-Dest", "document"),
        get("/", nobody, Unauthorized).with("Sec-Fetch-Mode", "navigate").with("Sec-Fetch-Dest", "image"),
        get("/", nobody, Unauthorized).with("Sec-Purpose", "prefetch"),
        get("/", nobody, SignIn).with("User-Agent", "GoogleHC/1.0"),
        get("/admin/x", nobody, SignIn).with("User-Agent", "kube-probe/1.30"),
        case("HEAD", APP, "/", nobody, SignIn),
        case("POST", APP, "/form", nobody, SignIn),
        case("POST", APP, "/form", nobody, Unauthorized).by_script(),
    ]
}

/// What cookies are worth.
fn credentials() -> Vec<Case> {
    vec![
        get("/", Who::Garbage, SignIn),
        get("/", Who::Tampered, SignIn),
        get("/", Who::Twice, Unauthorized),
        get("/", Who::OtherKey, SignIn),
        get("/", Who::Ended, SignIn),
        get("/admin/x", Who::Ended, SignIn),
        get("/public/x", Who::Garbage, Pass(None)),
        get("/public/x", Who::Tampered, Pass(None)),
        get("/public/x", Who::Ended, Pass(None)),
        get("/public/x", Who::Twice, Pass(None)),
        get("/api/x", Who::Garbage, Unauthorized),
        get("/api/x", Who::Ended, Unauthorized).by_script(),
        case("GET", API, "/x", Who::AliceElsewhere, SignIn),
        case("GET", API, "/open/x", Who::AliceElsewhere, Pass(None)),
        get("/", Who::Nobody, SignIn).with("Authorization", "Basic YWxpY2U6YWxpY2U="),
        get("/public/x", Who::Alice, Pass(Some("alice"))).with("Cookie", "theme=dark; lang=en"),
        get("/public/x", Who::Alice, Pass(Some("alice"))).with("Cookie", "name=J\u{f6}rg"),
    ]
}

/// A path has one meaning, or the route allows it by name, or it is refused.
fn odd_paths() -> Vec<Case> {
    let (alice, bob, nobody) = (Who::Alice, Who::Bob, Who::Nobody);
    // Apache and Caddy resolve nothing before they ask; what they refuse by themselves is told here.
    vec![
        get("/public/../admin/x", nobody, Malformed),
        get("/public/../admin/x", bob, Malformed),
        get("/public/%2e%2e/admin/x", bob, Malformed),
        get("/public/..%2fadmin/x", bob, Malformed),
        get("/public/.%2e/admin/x", bob, Malformed),
        get("/public/%2E%2E%2Fadmin/x", bob, Malformed),
        get("/public/./x", nobody, Malformed),
        get("/public/x/.", nobody, Malformed),
        get("/public/x/..", nobody, Malformed),
        get("/public/%252e%252e/admin", nobody, Malformed),
        get("/public//x", nobody, Malformed),
        get("//admin/x", bob, Malformed),
        get("//public/x", nobody, Malformed),
        get("/public/%2fx", nobody, Malformed),
        get("/public/a%2Fb", nobody, Malformed),
        get("/public/a%5cb", nobody, Malformed),
        get("/public\\..\\admin", nobody, Malformed),
        get("/public;/../admin", nobody, Malformed),
        get("/public;x=1/y", nobody, Malformed),
        get("/admin;x=1/users", bob, Malformed),
        get("/public/a%00b", nobody, Malformed).but(&[Door::Apache], 404),
        get("/public/%", nobody, Malformed),
        get("/public/%zz", nobody, Malformed),
        get("/public/%c0%af", nobody, Malformed),
        get("/public/%c0%ae%c0%ae/admin", nobody, Malformed),
        get("/public/%ff", nobody, Malformed),
        get("/%61dmin/users", bob, Forbidden),
        get("/%61dmin/users", alice, Pass(Some("alice"))),
        get("/%70ublic/x", nobody, Pass(None)),
        get("/ADMIN/users", bob, Pass(Some("bob"))),
        get("/public/%C3%BC", nobody, Pass(None)),
        get("/public/a%20b", nobody, Pass(None)),
        get("/legacy/a;x=1/b", alice, Pass(Some("alice"))),
        get("/legacy/a;x=1/b", nobody, SignIn),
        get("/legacy/admin;x=1/users", bob, Forbidden),
        get("/legacy/admin;x=1/users", alice, Pass(Some("alice"))),
        get("/legacy/a%2Fb", alice, Pass(Some("alice"))),
        get("/legacy/admin%2Fusers", bob, Forbidden),
        get("/legacy//a", alice, Pass(Some("alice"))),
        get("/legacy//admin/users", bob, Forbidden),
        get("/legacy/%2e%2e/admin", alice, Malformed),
        // What only looks as if it were ours.
        get("/.auth/../admin/x", nobody, Malformed),
        get("/.auth/../public/x", nobody, Malformed),
        get("/.auth/%2e%2e/admin/x", nobody, Malformed),
        get("/.auth/..%2fadmin/x", bob, Malformed),
        get("/.auth/login/../../admin/x", bob, Malformed),
        // Apache sends this to us, who have nothing there.
        get("/.auth//../admin/x", bob, Malformed).but(&[Door::Apache], 404),
        get("/.auth/..;/admin/x", bob, Malformed),
        get("/.auth\\..\\admin\\x", bob, Malformed),
        get("/public/../.auth/../admin/x", bob, Malformed),
        // Who gets the request itself never sees a fragment; who is told of it can't know what the proxy does with one.
        get("/public/x#/admin", nobody, Malformed).at(Door::Proxy, Pass(None)).at(Door::Explain, Pass(None)),
        get("/admin/x#/public/x", bob, Malformed).at(Door::Proxy, Forbidden).at(Door::Explain, Forbidden),
    ]
}

/// A host has one spelling here, whatever it has outside.
fn hosts() -> Vec<Case> {
    let (alice, bob, nobody) = (Who::Alice, Who::Bob, Who::Nobody);
    vec![
        case("GET", "APP.example.com", "/public/x", nobody, Pass(None)),
        case("GET", "APP.Example.COM", "/admin/x", alice, Pass(Some("alice"))),
        case("GET", "app.example.com:443", "/admin/x", bob, Forbidden),
        case("GET", "app.example.com.", "/admin/x", nobody, SignIn),
        case("GET", "API.example.com", "/public/x", bob, Forbidden),
        case("GET", "api.example.com.", "/public/x", nobody, SignIn),
        case("GET", "evil.example", "/public/x", nobody, Misdirected),
        case("GET", "evil.example", "/admin/x", alice, Misdirected),
        case("GET", "app.example.com.evil.example", "/public/x", nobody, Misdirected),
        case("GET", "evilapp.example.com", "/public/x", nobody, Misdirected),
        case("GET", "app.example.com:8443", "/public/x", nobody, Misdirected),
        case("GET", "127.0.0.2", "/public/x", nobody, Misdirected),
    ]
}

/// A method is what the request line says.
fn methods() -> Vec<Case> {
    let (alice, bob, nobody) = (Who::Alice, Who::Bob, Who::Nobody);
    vec![
        case("OPTIONS", APP, "/admin/x", nobody, SignIn),
        case("OPTIONS", APP, "/admin/x", bob, Forbidden),
        case("OPTIONS", APP, "/public/x", nobody, Pass(None)),
        case("DELETE", APP, "/admin/x", nobody, SignIn),
        case("DELETE", APP, "/admin/x", alice, Pass(Some("alice"))),
        case("PATCH", APP, "/x", bob, Pass(Some("bob"))),
        case("PUT", APP, "/admin/x", bob, Forbidden),
        case("PROPFIND", APP, "/admin/x", bob, Forbidden),
        case("PROPFIND", APP, "/x", bob, Nowhere),
        case("get", APP, "/public/x", nobody, Malformed),
        case("GeT", APP, "/public/x", nobody, Malformed),
        case("TRACE", APP, "/public/x", nobody, Outcome::Status(405)),
        get("/submit", bob, Pass(Some("bob"))).with("X-HTTP-Method-Override", "POST"),
        case("POST", APP, "/submit", bob, Forbidden).with("X-HTTP-Method-Override", "GET"),
        case("POST", APP, "/submit", bob, Forbidden).with("X-HTTP-Method", "GET"),
        case("POST", APP, "/submit", bob, Forbidden).with("X-Method-Override", "GET"),
    ]
}

/// What a visitor says in our place or in a proxy's counts for nothing.
fn forged() -> Vec<Case> {
    let (alice, bob, nobody) = (Who::Alice, Who::Bob, Who::Nobody);
    vec![
        get("/public/x", nobody, Pass(None)).with("X-Forwarded-User", "root").with("X-Forwarded-Groups", "staff"),
        get("/public/x", nobody, Pass(None)).with("X-Forwarded-Preferred-Username", "alice"),
        get("/public/x", bob, Pass(Some("bob"))).with("X-Forwarded-Preferred-Username", "alice"),
        get("/admin/x", bob, Forbidden).with("X-Forwarded-Roles", "admin"),
        get("/admin/x", nobody, SignIn).with("X-Forwarded-User", "alice"),
        get("/public/x", nobody, Pass(None)).with("X_Forwarded_User", "root").with("X.Forwarded.User", "root"),
        get("/public/x", bob, Pass(Some("bob"))).with("X_Forwarded_Preferred_Username", "alice"),
        get("/public/x", bob, Pass(Some("bob"))).with("Remote-User", "root").with("REMOTE_USER", "root"),
        get("/public/x", bob, Pass(Some("bob"))).with("X-Auth-Request-User", "root").with("X-Remote-User", "root"),
        get("/public/x", bob, Pass(Some("bob"))).with("OIDC_CLAIM_sub", "root").with("X-WEBAUTH-USER", "root"),
        // Envoy lets nobody name X-Forwarded-* in `Connection`, and answers so before it asks.
        get("/public/x", bob, Pass(Some("bob")))
            .with("Connection", "close, X-Forwarded-User, X-Forwarded-For")
            .but(&[Door::EnvoyHttp, Door::EnvoyGrpc], 400),
        get("/admin/x", bob, Forbidden).with("X-Original-URL", "/public/x"),
        get("/admin/x", bob, Forbidden).with("X-Original-URI", "/public/x"),
        get("/admin/x", bob, Forbidden).with("X-Forwarded-Uri", "/public/x"),
        get("/admin/x", bob, Forbidden).with("X-Rewrite-URL", "/public/x"),
        get("/admin/x", bob, Forbidden).with("X-Forwarded-Prefix", "/public"),
        get("/admin/x", nobody, SignIn).with("X-Forwarded-Uri", "/public/x").with("X-Forwarded-Method", "GET"),
        case("POST", APP, "/submit", bob, Forbidden).with("X-Forwarded-Method", "GET"),
        case("POST", APP, "/submit", bob, Forbidden).with("X-Original-Method", "GET"),
        case("GET", API, "/x", bob, Forbidden).with("X-Forwarded-Host", "app.example.com"),
        get("/admin/x", bob, Forbidden).with("X-Forwarded-For", "127.0.0.1"),
        get("/admin/x", bob, Forbidden).with("Forwarded", "for=127.0.0.1;host=api.example.com;proto=http"),
        get("/admin/x", alice, Pass(Some("alice"))).with("X-Forwarded-For", "6.6.6.6").with("X-Real-IP", "6.6.6.6"),
        get("/public/x", nobody, Pass(None)).with("X-Portcullis-Assertion", "forged"),
        get("/public/x", alice, Pass(Some("alice"))).with("X-Portcullis-Cookie", "forged=1"),
    ]
}

/// Another site's page opens no connection in somebody's name.
fn websockets() -> Vec<Case> {
    let ws = |who, expected| {
        let mut case = get("/live", who, expected);
        case.headers = vec![
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        case
    };
    vec![
        ws(Who::Nobody, Unauthorized).with("Origin", "https://app.example.com"),
        ws(Who::Alice, Forbidden).with("Origin", "https://evil.example"),
        ws(Who::Alice, Forbidden).with("Origin", "https://app.example.com.evil.example"),
        ws(Who::Alice, Forbidden).with("Origin", "http://app.example.com"),
        ws(Who::Alice, Forbidden).with("Origin", "null"),
    ]
}

/// What other pages send in somebody's name, and what they ask in advance.
fn pages() -> Vec<Case> {
    let (alice, nobody) = (Who::Alice, Who::Nobody);
    let post = |target, who, expected| case("POST", APP, target, who, expected).by_script();
    // Proxies that know no other answer than yes and no keep a preflight that we answer; Envoy hands it on.
    let preflight = |target| {
        let mut case = case("OPTIONS", APP, target, nobody, Outcome::Status(204))
            .by_script()
            .with("Origin", "https://front.example.com")
            .with("Access-Control-Request-Method", "POST");
        for door in [Door::Verify, Door::Nginx, Door::Caddy, Door::Haproxy, Door::Apache] {
            case = case.at(door, Forbidden);
        }
        case
    };
    vec![
        post("/guarded/x", alice, Forbidden),
        post("/guarded/x", alice, Forbidden).with("Sec-Fetch-Site", "cross-site"),
        post("/guarded/x", alice, Forbidden).with("Sec-Fetch-Site", "same-site"),
        post("/guarded/x", alice, Forbidden).with("Origin", "https://evil.example"),
        post("/guarded/x", alice, Forbidden).with("Origin", "null"),
        post("/guarded/x", alice, Pass(Some("alice"))).with("Sec-Fetch-Site", "same-origin"),
        post("/guarded/x", alice, Pass(Some("alice"))).with("Origin", "https://app.example.com"),
        post("/guarded/x", nobody, Unauthorized).with("Sec-Fetch-Site", "cross-site"),
        get("/guarded/x", alice, Pass(Some("alice"))).with("Sec-Fetch-Site", "cross-site"),
        post("/with-token/x", alice, Forbidden).with("Sec-Fetch-Site", "same-origin"),
        // Where there is no session, nobody can tell whether a token is its own.
        post("/with-token/x", alice, Forbidden)
            .with("X-CSRF-Token", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
            .at(Door::Explain, Pass(Some("alice"))),
        preflight("/shared/x"),
        preflight("/shared/x").with("Cookie", "theme=dark"),
        case("OPTIONS", APP, "/shared/x", nobody, Forbidden)
            .by_script()
            .with("Origin", "https://evil.example")
            .with("Access-Control-Request-Method", "POST"),
        case("OPTIONS", APP, "/api/x", alice, Unauthorized)
            .by_script()
            .with("Origin", "https://front.example.com")
            .with("Access-Control-Request-Method", "GET"),
        case("OPTIONS", APP, "/public/x", alice, Pass(None))
            .by_script()
            .with("Origin", "https://front.example.com")
            .with("Access-Control-Request-Method", "GET"),
        case("OPTIONS", APP, "/shared/x", nobody, Unauthorized).by_script().with("Origin", "https://front.example.com"),
        case("OPTIONS", APP, "/api/x", nobody, Unauthorized)
            .by_script()
            .with("Origin", "https://front.example.com")
            .with("Access-Control-Request-Method", "GET"),
    ]
}

/// A query is never looked at.
fn queries() -> Vec<Case> {
    let (bob, nobody) = (Who::Bob, Who::Nobody);
    vec![
        get("/admin/x?/public/x", bob, Forbidden),
        get("/admin/x?y=/public/../x", nobody, SignIn),
        get("/public/x?next=/../admin", nobody, Pass(None)),
        get("/public/x?a=%2f&b=%00", nobody, Pass(None)),
        get("/?path=/public/x", nobody, SignIn),
        get("/public/x?", nobody, Pass(None)),
        get("/.auth/nothing?x=/public/x", nobody, Nowhere),
    ]
}
