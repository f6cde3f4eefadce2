//! Which source wins, and what text-only sources mean by their text.

use secrecy::ExposeSecret as _;

use super::*;
use crate::config::settings::{Allow, UpstreamKind};

#[test]
fn defaults_then_files_then_environment_then_command_line() {
    let mut desk = Desk::new();
    desk.write("a.toml", &right("drain = \"1s\"", "[limits]\nheader_timeout = \"11s\"\nidle_timeout = \"12s\""));
    desk.write("b.yaml", "drain: 2s\nlimits:\n  idle_timeout: 22s\n");
    desk.write("c.json", "{\"drain\": \"3s\"}");
    let drain = |desk: &Desk, files: &[&str]| desk.load(files).unwrap_or_else(|told| panic!("{told}")).drain.as_secs();
    assert_eq!(drain(&desk, &["a.toml"]), 1);
    assert_eq!(drain(&desk, &["a.toml", "b.yaml"]), 2);
    assert_eq!(drain(&desk, &["a.toml", "b.yaml", "c.json"]), 3);
    assert_eq!(drain(&desk, &["c.json", "a.toml"]), 1);
    desk.environment.insert("PORTCULLIS_DRAIN".to_owned(), "4s".to_owned());
    assert_eq!(drain(&desk, &["a.toml", "b.yaml", "c.json"]), 4);
    desk.sets.push("drain=5s".to_owned());
    assert_eq!(drain(&desk, &["a.toml", "b.yaml", "c.json"]), 5);
    let limits = desk.load(&["a.toml", "b.yaml"]).unwrap().limits;
    assert_eq!((limits.header_timeout.as_secs(), limits.idle_timeout.as_secs()), (11, 22));
}

#[test]
fn the_environment_reaches_every_kind_of_key() {
    let mut desk = Desk::new();
    desk.write("a.toml", &right("", "").replace("[providers.corp]", "[providers.my-corp]"));
    for (name, value) in [
        ("PORTCULLIS_PROVIDERS__MY_CORP__CLIENT_ID", "0123"),
        ("PORTCULLIS_PROVIDERS__MY_CORP__CLIENT_SECRET", "0123"),
        ("PORTCULLIS_PROVIDERS__MY_CORP__SCOPES", "openid, email"),
        ("PORTCULLIS_WORKERS", "3"),
        ("PORTCULLIS_UPSTREAMS__APP__PASS_HOST", "false"),
        ("PORTCULLIS_LISTEN__HTTP", "[\"127.0.0.1:1\", \"127.0.0.1:2\"]"),
        ("PORTCULLIS_UPSTREAMS__APP__HEADERS", "{\"X-Team\": \"{claims.team}\"}"),
        ("PORTCULLIS_ROUTES", "[{\"path\": \"/*\", \"allow\": {\"roles\": [\"admin\"]}}]"),
        ("PORTCULLIS_SERVICE_HOST", "10.0.0.1"),
        ("PORTCULLIS_PORT", "tcp://10.0.0.1:80"),
        ("HOME", "/root"),
    ] {
        desk.environment.insert(name.to_owned(), value.to_owned());
    }
    let settings = desk.load(&["a.toml"]).unwrap_or_else(|told| panic!("{told}"));
    let provider = &settings.providers[0];
    assert_eq!(provider.client_id, "0123", "a text is never taken for a number");
    assert_eq!(provider.client_secret.as_ref().unwrap().read().unwrap().expose_secret(), "0123");
    assert_eq!(provider.scopes, ["openid", "email"]);
    assert_eq!(settings.workers.unwrap().get(), 3);
    assert_eq!(settings.listen.http.len(), 2);
    let UpstreamKind::Application(application) = &settings.upstreams[0].kind else { panic!("an application") };
    assert!(!application.pass_host);
    assert_eq!(settings.upstreams[0].headers[0].1, "{claims.team}");
    assert!(matches!(&settings.routes[0].allow, Allow::AnyOf(_)));
}

#[test]
fn a_later_source_replaces_where_a_secret_is() {
    let mut desk = Desk::new();
    let text = right("", "").replace("client_id", "client_secret = { file = \"/run/secrets/nothing\" }\nclient_id");
    desk.write("a.toml", &text);
    assert!(desk.load(&["a.toml"]).unwrap_err().contains("can't read the secret's file"));
    desk.environment.insert("PORTCULLIS_PROVIDERS__CORP__CLIENT_SECRET__ENV".to_owned(), "OTHER".to_owned());
    desk.environment.insert("OTHER".to_owned(), "hush".to_owned());
    let source = desk.load(&["a.toml"]).unwrap_or_else(|told| panic!("{told}")).providers.remove(0).client_secret;
    assert_eq!(source.unwrap().origin(), "environment variable OTHER");
}

#[test]
fn every_source_tells_its_mistakes_at_once() {
    let mut desk = Desk::new();
    desk.write("a.toml", &right("drian = \"1s\"", ""));
    desk.write("b.yaml", "session:\n  idle: soon\n  lifetme: 1d\n");
    desk.write("c.json", "{\n  \"log\": { \"level\": \"inof\", \"format\": 5 }\n}\n");
    desk.environment.insert("PORTCULLIS_SESION__IDLE".to_owned(), "8h".to_owned());
    desk.environment.insert("PORTCULLIS_LIMITS__CONNECTIONS".to_owned(), "many".to_owned());
    desk.sets = vec!["prefix=auth".to_owned(), "workers".to_owned()];
    let told = desk.load(&["a.toml", "b.yaml", "c.json"]).unwrap_err();
    let expected = r#"a.toml:2:1: error: drian: `drian` is no key of the top level
  |
2 | drian = ***
  | ^^^^^
  = did you mean `drain`?
  = allowed here: bearer, drain, limits, listen, log, prefix, providers, public_url, return_to, routes, session, signing, tls, trusted_proxies, upstreams, verify, workers

b.yaml:2:9: error: session.idle: `soon` is no duration
  |
2 |   idle: soon
  |         ^^^^
  = write a whole number and a unit: "500ms", "30s", "5m", "8h" or "7d"

b.yaml:3:3: error: session.lifetme: `lifetme` is no key of [session]
  |
3 |   lifetme: ***
  |   ^^^^^^^
  = did you mean `lifetime`?
  = allowed here: cache, cookie_name, flow_lifetime, idle, keys, lifetime, max_cookie_bytes, refresh_ahead, refresh_grace, store

c.json:2:21: error: log.level: `inof` is no level
  |
2 |   "log": { "level": "inof", "format": 5 }
  |                     ^^^^^^
  = did you mean "info"?
  = allowed: off, error, warn, info, debug, trace, or with a module: "info,portcullis=debug"

c.json:2:39: error: log.format: `format` takes one of "text", "json", not a whole number
  |
2 |   "log": { "level": "inof", "format": 5 }
  |                                       ^
  = put it in quotes

environment variable PORTCULLIS_LIMITS__CONNECTIONS: error: limits.connections: `connections` takes a whole number
  = allowed: 1 to 1000000

environment variable PORTCULLIS_SESION__IDLE: error: sesion: `sesion` is no key of the top level
  = did you mean `session`?
  = allowed here: bearer, drain, limits, listen, log, prefix, providers, public_url, return_to, routes, session, signing, tls, trusted_proxies, upstreams, verify, workers

argument --set prefix: error: a path begins with `/`
  = write "/auth"
  = allowed: "/x" for one path, "/x/*" for all below it, "/*" for everything

argument --set workers: error: an `=` is missing
  = write --set session.idle=8h

9 mistakes in the config"#;
    assert_eq!(told, expected);
}
