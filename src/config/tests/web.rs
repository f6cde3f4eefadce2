//! What people read for mistakes in what routes say about pages in browsers, and what the right ones mean.

use std::time::Duration;

use http::Method;

use super::*;
use crate::config::settings::{CorsOrigins, CorsSettings, CsrfCheck};

fn cors(lines: &str) -> String {
    right("", &format!("[[routes]]\npath = \"/*\"\nallow = \"signed-in\"\n[routes.cors]\n{lines}"))
}

fn of(lines: &str) -> CorsSettings {
    toml(&cors(lines)).unwrap_or_else(|told| panic!("{told}")).routes[0].cors.clone().unwrap()
}

#[test]
fn mistakes_in_cors() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["`origins` is missing", "add whose pages may read the answers"]),
        ("origins = []", &["`origins` is an empty list", "leave `cors` out"]),
        ("origins = \"https://a.example\"\nmethods = [\"get\"]", &["upper-case: \"GET\""]),
        ("origins = [\"null\"]", &["sandboxed page"]),
        ("origins = [\"*\"]\ncredentials = true", &["every page on the web", "name the origins"]),
        ("origins = [\"*\", \"https://a.example\"]", &["is every origin already"]),
        ("origins = [\"https://*.example.com\"]", &["no single origin", "name each origin"]),
        ("origins = [\".example.com\"]", &["no http or https URL"]),
        ("origins = [\"front.example.com\"]", &["no http or https URL"]),
        ("origins = [\"https://a.example/app\"]", &["has a path", "write the origin alone: \"https://a.example\""]),
        ("origins = [\"https://a.example?x\"]", &["a query"]),
        ("origins = [\"https://me@a.example\"]", &["user name or password"]),
        ("origins = [\"ftp://a.example\"]", &["no http or https URL"]),
        ("origins = [\"http://a.example\"]\ncredentials = true", &["impersonated on the way", "https://a.example"]),
        ("origins = [5]", &["origins[0]"]),
        ("origins = [\"https://a.example\"]\nmethods = []", &["`methods` is an empty list"]),
        ("origins = [\"https://a.example\"]\nmethods = [\"*\"]", &["`*` is no method"]),
        ("origins = [\"https://a.example\"]\nmethods = [\"TRACE\"]", &["never passed on"]),
        ("origins = [\"https://a.example\"]\nheaders = [\"*\"]", &["\"*\" means different headers", "name them"]),
        ("origins = [\"https://a.example\"]\nheaders = [\"X Team\"]", &["no name of a header"]),
        ("origins = [\"https://a.example\"]\nexpose = [\"*\"]", &["name them"]),
        ("origins = [\"https://a.example\"]\nmax_age = \"2d\"", &["out of bounds", "\"0s\" to \"1d\""]),
        ("origins = [\"https://a.example\"]\ncredential = true", &["did you mean `credentials`?"]),
        ("orgins = [\"https://a.example\"]", &["did you mean `origins`?"]),
    ];
    for (lines, expected) in cases {
        let told = mistakes(&cors(lines));
        for part in *expected {
            assert!(told.contains(part), "for\n{lines}\nthis is told:\n{told}\nbut not: {part}");
        }
    }
    let told = mistakes(&right("", "[[routes]]\npath = \"/*\"\nallow = \"signed-in\"\ncors = true"));
    assert!(told.contains("`cors` takes a table"), "{told}");
}

#[test]
fn what_csrf_takes() {
    let route = |lines: &str| right("", &format!("[[routes]]\npath = \"/*\"\nallow = \"signed-in\"\n{lines}"));
    let told = mistakes(&route("csrf = \"samesite\""));
    assert!(told.contains("allowed: \"token\", \"same-origin\", \"same-site\""), "{told}");
    assert!(mistakes(&route("csrf = true")).contains("`csrf` takes"), "a word says which");
    for (word, check) in
        [("token", CsrfCheck::Token), ("same-origin", CsrfCheck::SameOrigin), ("same-site", CsrfCheck::SameSite)]
    {
        assert_eq!(toml(&route(&format!("csrf = {word:?}"))).unwrap().routes[0].csrf, Some(check));
    }
    assert_eq!(toml(&route("")).unwrap().routes[0].csrf, None);
    let idle = toml(&route("csrf = \"token\"\nmethods = [\"GET\", \"HEAD\"]")).unwrap();
    assert!(idle.warnings.iter().any(|warning| warning.contains("has no effect")), "{:?}", idle.warnings);
}

#[test]
fn what_cors_means() {
    let plain = of("origins = [\"https://Front.example.com:443/\", \"http://localhost:5173\"]\ncredentials = true");
    let origins = ["https://front.example.com", "http://localhost:5173"].map(str::to_owned).to_vec();
    assert_eq!(plain.origins, CorsOrigins::These(origins), "as browsers write them");
    assert!(plain.credentials);
    assert_eq!(plain.methods, [Method::GET, Method::HEAD, Method::POST]);
    assert_eq!(plain.max_age, Duration::from_mins(10));
    assert!(plain.headers.is_empty() && plain.expose.is_empty());

    let open =
        of("origins = [\"*\"]\nmethods = [\"GET\"]\nheaders = [\"X-Team\"]\nexpose = [\"ETag\"]\nmax_age = \"0s\"");
    assert_eq!((open.origins, open.credentials), (CorsOrigins::Anyone, false));
    assert_eq!((open.methods.as_slice(), open.max_age), (&[Method::GET][..], Duration::ZERO));
    assert_eq!((open.headers[0].as_str(), open.expose[0].as_str()), ("x-team", "etag"));

    let none = toml(&right("", "[[routes]]\npath = \"/*\"\nallow = \"signed-in\"")).unwrap();
    assert!(none.routes[0].cors.is_none());
}
