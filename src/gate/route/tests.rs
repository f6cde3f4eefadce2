//! Precedence of routes, odd paths under every reading, and cost that doesn't grow with the number of routes.

use http::uri::PathAndQuery;
use proptest::prelude::*;

use super::*;
use crate::config::settings::Allow;

fn setting(host: Option<&str>, path: &str, methods: &[Method]) -> RouteSettings {
    let pattern = match path.strip_suffix('*') {
        Some(below) => PathPattern::Below(below.to_owned()),
        None => PathPattern::Exact(path.to_owned()),
    };
    RouteSettings {
        name: Arc::from(format!("{} {path} {methods:?}", host.unwrap_or("-"))),
        host: host.map(ToOwned::to_owned),
        path: pattern,
        methods: if methods.is_empty() { None } else { Some(methods.to_vec()) },
        allow: Allow::SignedIn,
        deny: Vec::new(),
        report_only: false,
        signed_out: SignedOut::Auto,
        upstream: 0,
        rewrite: None,
        allowances: PathAllowances::default(),
        body_bytes: None,
        bearer: Vec::new(),
        retry_unauthorized: false,
        cors: None,
        csrf: None,
    }
}

fn any(path: &str) -> RouteSettings {
    setting(None, path, &[])
}

fn table(settings: &[RouteSettings]) -> RouteTable {
    RouteTable::compile(settings).unwrap()
}

fn found(table: &RouteTable, host: &str, method: &Method, path: &str) -> Option<String> {
    table.find(host, method, path).map(|route| route.name.to_string())
}

fn get(table: &RouteTable, path: &str) -> Option<String> {
    found(table, "app.example.com", &Method::GET, path)
        .map(|name| name.trim_start_matches("- ").trim_end_matches(" []").to_owned())
}

fn lookup<'t>(table: &'t RouteTable, path: &str) -> Lookup<'t> {
    let path = CanonicalPath::parse(&PathAndQuery::try_from(path).unwrap()).unwrap();
    table.lookup("app.example.com", &Method::GET, &path)
}

fn names(lookup: &Lookup<'_>) -> String {
    let short = |route: &Arc<Route>| route.name.trim_start_matches("- ").trim_end_matches(" []").to_owned();
    match lookup {
        Lookup::Found { route, also } => {
            let mut also: Vec<String> = also.iter().map(|other| short(other.route)).collect();
            also.sort();
            format!("{} + {}", short(route), also.join(", "))
        }
        Lookup::Odd => "odd".to_owned(),
        Lookup::Nothing => "nothing".to_owned(),
    }
}

#[test]
fn patterns_mean_what_they_say() {
    let table = table(&[any("/x"), any("/y/*"), any("/z/")]);
    for (path, expected) in [
        ("/x", Some("/x")),
        ("/x/", None),
        ("/xx", None),
        ("/X", None),
        ("/y", None),
        ("/y/", Some("/y/*")),
        ("/y/a", Some("/y/*")),
        ("/y/a/b/", Some("/y/*")),
        ("/yy/a", None),
        ("/z/", Some("/z/")),
        ("/z", None),
        ("/", None),
        ("", None),
        ("*", None),
        ("x", None),
    ] {
        assert_eq!(get(&table, path).as_deref(), expected, "{path}");
    }
}

#[test]
fn the_most_specific_path_wins_whatever_the_order() {
    let paths = ["/*", "/", "/a/*", "/a/b", "/a/b/*", "/a/", "/a/b/c/d"];
    for turn in 0..paths.len() {
        let mut turned: Vec<RouteSettings> = paths.iter().map(|path| any(path)).collect();
        turned.rotate_left(turn);
        let table = table(&turned);
        for (path, expected) in [
            ("/", "/"),
            ("/q", "/*"),
            ("/a", "/*"),
            ("/a/", "/a/"),
            ("/a/q", "/a/*"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/*"),
            ("/a/b/c", "/a/b/*"),
            ("/a/b/c/d", "/a/b/c/d"),
            ("/a/b/c/d/", "/a/b/*"),
            ("/a/c/d", "/a/*"),
        ] {
            assert_eq!(get(&table, path).as_deref(), Some(expected), "{path} turned by {turn}");
        }
    }
}

#[test]
fn a_host_beats_a_path_and_falls_back_to_any_host() {
    let table = table(&[any("/admin/x"), any("/only"), setting(Some("Api.example.com"), "/admin/*", &[])]);
    let at = |host, path| found(&table, host, &Method::GET, path);
    assert_eq!(at("api.example.com", "/admin/x").as_deref(), Some("Api.example.com /admin/* []"));
    assert_eq!(at("app.example.com", "/admin/x").as_deref(), Some("- /admin/x []"));
    assert_eq!(at("api.example.com", "/only").as_deref(), Some("- /only []"));
    assert_eq!(at("app.example.com", "/admin/y"), None);
}

#[test]
fn methods_narrow_and_fall_back() {
    let table = table(&[
        any("/*"),
        setting(None, "/a", &[Method::GET]),
        setting(None, "/b", &[Method::POST, Method::HEAD]),
        setting(None, "/b", &[Method::GET]),
        any("/b"),
    ]);
    let at = |method: &Method, path| found(&table, "h", method, path).unwrap();
    assert_eq!(at(&Method::GET, "/a"), "- /a [GET]");
    assert_eq!(at(&Method::POST, "/a"), "- /* []");
    assert_eq!(at(&Method::HEAD, "/a"), "- /a [GET]", "HEAD tells what GET would");
    assert_eq!(at(&Method::HEAD, "/b"), "- /b [POST, HEAD]");
    assert_eq!(at(&Method::GET, "/b"), "- /b [GET]");
    assert_eq!(at(&Method::DELETE, "/b"), "- /b []");
    let odd = Method::from_bytes(b"PROPFIND").unwrap();
    assert_eq!(at(&odd, "/a"), "- /* []");
}

#[test]
fn ties_are_an_error() {
    assert!(RouteTable::compile(&[any("/a"), any("/a")]).is_err());
    let overlapping = [setting(None, "/a", &[Method::GET]), setting(None, "/a", &[Method::PUT, Method::GET])];
    let tie = RouteTable::compile(&overlapping).unwrap_err();
    assert!(matches!(tie, RouteError::Tie(tie) if (&*tie.first, &*tie.second) == ("- /a [GET]", "- /a [PUT, GET]")));
    assert!(RouteTable::compile(&[any("/a"), any("/a/*"), setting(Some("h"), "/a", &[])]).is_ok());
    assert!(RouteTable::compile(&[any("/a"), setting(None, "/a", &[Method::GET])]).is_ok());
    assert!(RouteTable::compile(&[setting(None, "/a", &[Method::GET, Method::GET])]).is_ok());
}

#[test]
fn odd_paths_need_the_allowance_of_their_own_route() {
    let mut open = any("/*");
    open.allowances = PathAllowances { encoded_slash: true, path_parameters: true, empty_segments: true };
    let table = table(&[open, any("/admin/*")]);
    for path in ["/admin;x/users", "/admin%2fusers", "//admin/users", "/admin/a;b", "/admin/a%2fb", "/admin//a"] {
        assert_eq!(names(&lookup(&table, path)), "odd", "{path}");
    }
    for path in ["/a;b", "/a%2fb", "//a", "/a/b;c/d"] {
        assert_eq!(names(&lookup(&table, path)), "/* + ", "{path}");
    }
}

#[test]
fn every_reading_has_to_admit() {
    let mut admin = any("/admin/*");
    admin.allowances = PathAllowances { encoded_slash: true, path_parameters: true, empty_segments: true };
    let table = table(&[any("/*"), admin, any("/admin"), any("/files/secret")]);
    for (path, expected) in [
        ("/admin;x/users", "/admin/* + /*"),
        ("/admin%2fusers", "/admin/* + /*"),
        ("//admin/users", "/admin/* + /*"),
        ("/admin/users;x", "/admin/* + "),
        ("/admin%23/x", "/* + /admin"),
        ("/admin%3fx", "/* + /admin"),
        ("/admin.", "/* + /admin"),
        ("/admin%20", "/* + /admin"),
        ("/admin./x", "/* + /admin/*"),
        ("/files/secret%20", "/* + /files/secret"),
        ("/files/secre%74", "/files/secret + "),
        ("/wiki/Inc.", "/* + "),
    ] {
        assert_eq!(names(&lookup(&table, path)), expected, "{path}");
    }
}

#[test]
fn a_reading_without_a_route_reaches_no_upstream() {
    let mut app = any("/app/*");
    app.allowances.path_parameters = true;
    let table = table(&[app]);
    assert_eq!(names(&lookup(&table, "/app/x;y")), "/app/* + ");
    assert_eq!(names(&lookup(&table, "/app;y/x")), "nothing");
    assert_eq!(names(&lookup(&table, "/other")), "nothing");
}

#[test]
fn deep_paths_and_many_routes_cost_no_more() {
    let mut settings: Vec<RouteSettings> = (0..10_000).map(|n| any(&format!("/r{n}/*"))).collect();
    settings.push(any("/*"));
    let table = table(&settings);
    let deep = "/a".repeat(8_000);
    let started = crate::base::clock::instant();
    for _ in 0..10_000 {
        assert!(table.find("h", &Method::GET, &deep).is_some());
        assert!(table.find("h", &Method::GET, "/r9999/x").is_some());
    }
    // A lookup stops at the first segment that no route has: even an unoptimised build takes about a microsecond, while
    // walking either the path or the routes would take a thousand times as long.
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

/// The rules of the module, said as slowly as possible.
fn slow(settings: &[RouteSettings], path: &str) -> Option<String> {
    let fits = |setting: &&RouteSettings| match &setting.path {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Below(prefix) => path.starts_with(prefix.as_str()),
    };
    let weight = |setting: &&RouteSettings| match &setting.path {
        PathPattern::Exact(_) => usize::MAX,
        PathPattern::Below(prefix) => prefix.len(),
    };
    settings.iter().filter(fits).max_by_key(weight).map(|setting| setting.name.to_string())
}

proptest! {
    #[test]
    fn the_tree_agrees_with_the_slow_way(
        patterns in proptest::collection::hash_set("(/[ab]{1,2}){0,3}(/|/[*])|(/[ab]{1,2}){1,3}", 0..12),
        path in "(/[ab]{1,2}){0,4}/?",
    ) {
        let settings: Vec<RouteSettings> = patterns.iter().map(|pattern| any(pattern)).collect();
        let table = table(&settings);
        prop_assert_eq!(found(&table, "h", &Method::GET, &path), slow(&settings, &path));
    }
}
