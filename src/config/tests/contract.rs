//! The two configs of the contract, word for word.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::settings::{
    Allow, ClientAuthentication, ListenAddress, PathPattern, SignedOut, StoreSettings, TokenSettings,
};

const LARGER: &str = r#"public_url = "https://app.example.com"
workers    = 2                    # one per core when absent

[listen]
http  = ["127.0.0.1:8080"]        # also "unix:/run/portcullis.sock", "fd:3" (socket activation)
https = []                        # with [tls] cert/key, re-read when they change
admin = "127.0.0.1:9090"          # health, readiness, metrics, dashboard; never on a public listener

[trusted_proxies]                 # empty by default
networks = ["10.0.0.0/8"]

[session]
keys     = [{ file = "/run/secrets/session-key" }]
store    = "cookie"               # or "redis://…" (sentinel and cluster too), "sqlite:…", "postgres://…"
idle     = "8h"
lifetime = "7d"

[providers.corp]
preset   = "keycloak"             # "oidc" when absent; presets are data files, not code
label    = "Corporate login"
issuer   = "https://login.example.com/realms/corp"
client_id = "app"
client_secret = { env = "CORP_SECRET" }
scopes   = ["openid", "profile", "email"]

[upstreams.app]
url      = "http://127.0.0.1:3000"
identity = "oauth2-proxy"         # header preset; "portcullis" when absent

[upstreams.api]
url   = "https://api.internal:6060"
token = "access_token"            # Authorization: Bearer …

[[routes]]
path     = "/public/*"
allow    = "everyone"
upstream = "app"

[[routes]]
path     = "/admin/*"
allow    = { roles = ["admin"] }  # keys are and-ed, lists are any-of; a list of tables is or
upstream = "app"

[[routes]]
path       = "/api/*"
allow      = "signed-in"
signed_out = "401"                # "redirect", "401", or "auto": by Sec-Fetch-Mode, Accept, X-Requested-With
upstream   = "api"

[[routes]]
path     = "/*"
allow    = "signed-in"
upstream = "app"
"#;

const SMALLEST: &str = r#"public_url = "https://app.example.com"

[providers.corp]
issuer        = "https://login.example.com/realms/corp"
client_id     = "app"
client_secret = { file = "/run/secrets/client-secret" }

[session]
keys = [{ file = "/run/secrets/session-key" }]     # first seals, every one opens

[upstreams.app]
url = "http://127.0.0.1:3000"
"#;

#[test]
fn the_smallest_config_loads() {
    let settings = toml(SMALLEST).unwrap();
    assert_eq!(settings.public_url.as_str(), "https://app.example.com/");
    assert_eq!(settings.prefix, "/.auth");
    assert_eq!(settings.workers, None);
    assert_eq!(settings.listen.http, [ListenAddress::Tcp("127.0.0.1:8080".parse().unwrap())]);
    assert!(settings.trusted_proxies.is_empty());
    assert!(matches!(settings.session.store, StoreSettings::Cookie));
    assert_eq!(settings.session.idle, Duration::from_hours(8));
    let provider = &settings.providers[0];
    assert_eq!(provider.client_authentication, ClientAuthentication::Basic);
    assert_eq!(provider.scopes, ["openid", "profile", "email"]);
    assert!(!provider.signing_algorithms.iter().any(|name| name == "none" || name.starts_with("HS")));
    let [route] = settings.routes.as_slice() else { panic!("one implied route") };
    assert_eq!(route.path, PathPattern::Below("/".to_owned()));
    assert_eq!(route.allow, Allow::SignedIn);
    assert_eq!(&*settings.upstreams[route.upstream].name, "app");
    assert!(settings.warnings.is_empty() && settings.dangers.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn the_smallest_file_is_the_contracts() {
    let shipped = read("config/smallest.toml");
    assert_eq!(shipped.split_once('\n').unwrap().1, SMALLEST);
}

#[test]
fn the_larger_config_loads() {
    let mut desk = Desk::new();
    desk.environment.insert("CORP_SECRET".to_owned(), "hush".to_owned());
    desk.write("portcullis.toml", LARGER);
    let settings = desk.load(&["portcullis.toml"]).unwrap();
    assert_eq!(settings.workers.unwrap().get(), 2);
    assert_eq!(settings.trusted_proxies[0].to_string(), "10.0.0.0/8");
    assert_eq!(settings.providers[0].label, "Corporate login");
    assert_eq!(settings.providers[0].roles_claims[1], ["resource_access", "app", "roles"]);
    let [api, app] = settings.upstreams.as_slice() else { panic!("two upstreams") };
    assert!(matches!((&api.token, &app.token), (TokenSettings::AccessToken, TokenSettings::None)));
    assert_eq!((api.identity.as_str(), app.identity.as_str()), ("portcullis", "oauth2-proxy"));
    let [public, admin, by_api, rest] = settings.routes.as_slice() else { panic!("four routes") };
    assert_eq!((public.upstream, admin.upstream, by_api.upstream, rest.upstream), (1, 1, 0, 1));
    assert_eq!(public.allow, Allow::Everyone);
    assert_eq!(by_api.signed_out, SignedOut::Unauthorized);
    let Allow::AnyOf(tables) = &admin.allow else { panic!("a table") };
    assert_eq!(tables[0].roles.as_deref(), Some(["admin".to_owned()].as_slice()));
    assert_eq!(tables[0].groups, None);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn the_same_config_reads_the_same_in_every_format() {
    let mut desk = Desk::new();
    desk.environment.insert("CORP_SECRET".to_owned(), "hush".to_owned());
    desk.write("a.toml", LARGER);
    let value: serde_json::Value = ::toml::from_str(LARGER).unwrap();
    desk.write("a.json", &serde_json::to_string_pretty(&value).unwrap());
    desk.write("a.yaml", &serde_saphyr::to_string(&value).unwrap());
    let read = |name: &str| format!("{:#?}", desk.load(&[name]).unwrap());
    assert_eq!(read("a.toml"), read("a.json"));
    assert_eq!(read("a.toml"), read("a.yaml"));
}

#[test]
fn without_a_config_the_default_places_are_named() {
    let told = load(&LoadRequest::default()).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("neither ./portcullis.toml nor /etc/portcullis/portcullis.toml exists"), "{told}");
    let files = vec![PathBuf::from("/nowhere/a.toml"), PathBuf::from("/nowhere/b.toml")];
    let told = load(&LoadRequest { files, ..LoadRequest::default() }).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("/nowhere/a.toml: error: the config file can't be read"), "{told}");
    assert!(told.contains("/nowhere/b.toml: error: the config file can't be read"), "{told}");
    assert!(told.ends_with("2 mistakes in the config"), "nothing that only follows from a lost file is told: {told}");
}
