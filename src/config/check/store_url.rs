//! The URLs of session stores: `redis://`, `redis+sentinel://`, `redis+cluster://`, `sqlite:` and `postgres://`.
//!
//! No message shows more of one than its scheme and what is wrong, since what stands between may be a password.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use crate::config::raw::report::{Wrong, nearest, printable};
use crate::config::secret::SecretSource;
use crate::config::store_settings::{PostgresPlace, RedisAddress, RedisPlace, RedisServers, StorePlace};

const SCHEMES: [&str; 10] = [
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
    "redis+unix",
    "sqlite",
    "postgres",
    "postgresql",
];
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// What a store's URL names.
pub(super) fn parse(text: &str) -> Result<StorePlace, Wrong> {
    let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
    // Valkey speaks the same protocol, and some write its name.
    let scheme = scheme.replace("valkey", "redis");
    match scheme.as_str() {
        "sqlite" => sqlite(rest),
        "postgres" | "postgresql" => postgres(text),
        known if SCHEMES.contains(&known) => redis(known, rest),
        other => Err(unknown(other)),
    }
}

fn unknown(scheme: &str) -> Wrong {
    let mut wrong = Wrong::new(format!("`{}` is no store for sessions", printable(scheme)));
    if let Some(near) = nearest(scheme, SCHEMES.into_iter().chain(["cookie"])) {
        wrong = wrong.note(format!("did you mean \"{near}\"?"));
    }
    wrong.note("allowed: \"cookie\", \"redis://host\", \"redis+sentinel://host,host/primary\", \"redis+cluster://host,host\", \"sqlite:/path\" or \"postgres://host/database\"")
}

fn sqlite(rest: &str) -> Result<StorePlace, Wrong> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.contains(['?', '#']) || path.starts_with(":memory:") {
        return Err(Wrong::new("a store in SQLite is the path of a file")
            .note("write it as \"sqlite:/var/lib/portcullis/sessions.db\""));
    }
    let path = PathBuf::from(path);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) || path.is_dir() {
        return Err(Wrong::new("the store's file can't be made: its directory is not there")
            .note("make the directory, and let us write to it: SQLite keeps further files beside its own"));
    }
    Ok(StorePlace::Sqlite(path))
}

fn postgres(text: &str) -> Result<StorePlace, Wrong> {
    let unusable = |what: &str| {
        Wrong::new(format!("the store's URL {what}"))
            .note("write it as \"postgres://user@host/database?sslmode=verify-full\"")
    };
    let mut url = Url::parse(text).map_err(|error| unusable(&format!("can't be read: {error}")))?;
    if url.path().trim_start_matches('/').is_empty() {
        return Err(unusable("names no database"));
    }
    for (key, value) in url.query_pairs() {
        match &*key {
            "sslmode"
                if matches!(&*value, "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full") => {}
            "sslmode" => {
                return Err(unusable(
                    "has an `sslmode` that is none of disable, allow, prefer, require, verify-ca and verify-full",
                ));
            }
            "host" | "application_name" | "options" => {}
            "sslrootcert" | "sslcert" | "sslkey" => {
                return Err(unusable(&format!("has `{key}`; give `ca`, `cert` and `key` beside `url`")));
            }
            "password" => {
                return Err(unusable("has a password after its `?`; write it before the host, or as `password`"));
            }
            other => return Err(unusable(&format!("has `{}`, which nobody reads", printable(other)))),
        }
    }
    let password = url.password().map(str::to_owned);
    let password = password.as_deref().map(decode).transpose()?;
    if url.host_str().is_none_or(str::is_empty) && !url.query_pairs().any(|(key, _)| key == "host") {
        return Err(unusable("names no host"));
    }
    if password.is_some() {
        url.set_password(None).map_err(|()| unusable("names no host"))?;
    }
    Ok(StorePlace::Postgres(PostgresPlace { url: url.into(), password: password.map(inline) }))
}

fn redis(scheme: &str, rest: &str) -> Result<StorePlace, Wrong> {
    let unusable = |what: &str| Wrong::new(format!("the store's URL {what}")).note(example(scheme));
    let rest = rest.strip_prefix("//").ok_or_else(|| unusable("lacks `//` after its scheme"))?;
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    if scheme == "redis+unix" {
        return unix(rest, query, &unusable);
    }
    if query.is_some() || rest.contains('#') {
        return Err(unusable("has something after its path, which nobody reads"));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
    let (username, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        Some((name, password)) => (decode(name)?, decode(password)?),
        None => (String::new(), String::new()),
    };
    let is_sentinel = scheme.ends_with("+sentinel");
    let port = if is_sentinel { SENTINEL_PORT } else { REDIS_PORT };
    let mut addresses: Vec<RedisAddress> = hosts
        .split(',')
        .map(|host| address(host, port))
        .collect::<Option<_>>()
        .ok_or_else(|| unusable("names a host that can't be read"))?;
    let mut parts = path.split('/');
    let first = parts.next().unwrap_or_default();
    let (servers, database) = if is_sentinel {
        if first.is_empty() {
            return Err(unusable("doesn't name the primary that the sentinels watch"));
        }
        let servers = RedisServers::Sentinels { sentinels: addresses, primary: decode(first)? };
        (servers, parts.next().unwrap_or_default())
    } else if scheme.ends_with("+cluster") {
        (RedisServers::Cluster(addresses), first)
    } else if addresses.len() > 1 {
        return Err(unusable("names several hosts; write redis+sentinel:// or redis+cluster://"));
    } else {
        (RedisServers::One(addresses.pop().ok_or_else(|| unusable("names no host"))?), first)
    };
    let database = if database.is_empty() { Some(0) } else { database.parse().ok() };
    let database = database.ok_or_else(|| unusable("has a database that is no number"))?;
    if parts.next().is_some_and(|more| !more.is_empty()) {
        return Err(unusable("has a path that nobody reads"));
    }
    if database != 0 && matches!(servers, RedisServers::Cluster(_)) {
        return Err(unusable("names a database, and a cluster has only one"));
    }
    Ok(StorePlace::Redis(RedisPlace {
        servers,
        tls: scheme.starts_with("rediss"),
        username: (!username.is_empty()).then_some(username),
        password: (!password.is_empty()).then(|| inline(password)),
        sentinel_password: None,
        database,
    }))
}

fn unix(path: &str, query: Option<&str>, unusable: &dyn Fn(&str) -> Wrong) -> Result<StorePlace, Wrong> {
    if !path.starts_with('/') {
        return Err(unusable("names no path of a socket"));
    }
    let database = match query.map(|query| query.strip_prefix("db=").and_then(|number| number.parse().ok())) {
        None => 0,
        Some(Some(number)) => number,
        Some(None) => return Err(unusable("has something after its path that is not `db=` and a number")),
    };
    Ok(StorePlace::Redis(RedisPlace {
        servers: RedisServers::One(RedisAddress::Unix(PathBuf::from(decode(path)?))),
        tls: false,
        username: None,
        password: None,
        sentinel_password: None,
        database,
    }))
}

fn address(text: &str, default_port: u16) -> Option<RedisAddress> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some("")))
        }
        None => text
            .split_once(':')
            .map_or((text, Some("")), |(host, port)| (host, Some(port).filter(|port| !port.is_empty()))),
    };
    let port = match port? {
        "" => default_port,
        digits => digits.parse().ok().filter(|port| *port != 0)?,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    (!host.is_empty() && host.bytes().all(plain)).then(|| RedisAddress::Tcp(host.to_owned(), port))
}

fn example(scheme: &str) -> String {
    let shown = match scheme {
        "redis+unix" => "redis+unix:///run/redis/redis.sock?db=0",
        "redis+sentinel" | "rediss+sentinel" => {
            "redis+sentinel://user@sentinel-1:26379,sentinel-2:26379/primary-name/0"
        }
        "redis+cluster" | "rediss+cluster" => "redis+cluster://user@node-1:6379,node-2:6379",
        _ => "redis://user@host:6379/0",
    };
    format!("write it as \"{shown}\"")
}

fn inline(password: String) -> SecretSource {
    SecretSource::Inline(SecretString::from(password))
}

fn decode(text: &str) -> Result<String, Wrong> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Wrong::new("the store's URL is no UTF-8 after its `%` are decoded"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn redis_of(text: &str) -> RedisPlace {
        match parse(text).unwrap() {
            StorePlace::Redis(place) => place,
            other => panic!("{other:?}"),
        }
    }

    fn tcp(host: &str, port: u16) -> RedisAddress {
        RedisAddress::Tcp(host.to_owned(), port)
    }

    #[test]
    fn every_form_of_redis_is_read() {
        let one = redis_of("redis://cache");
        assert_eq!(one.servers, RedisServers::One(tcp("cache", 6379)));
        assert!(!one.tls && one.username.is_none() && one.password.is_none() && one.database == 0);
        let one = redis_of("rediss://alice:p%40ss%2Fword@[::1]:7000/3");
        assert_eq!(one.servers, RedisServers::One(tcp("::1", 7000)));
        assert!(one.tls && one.database == 3);
        assert_eq!(one.username.as_deref(), Some("alice"));
        assert_eq!(one.password.unwrap().read().unwrap().expose_secret(), "p@ss/word");
        assert!(redis_of("redis://:hush@cache").username.is_none());
        assert_eq!(redis_of("valkey://cache").servers, RedisServers::One(tcp("cache", 6379)));
        assert!(redis_of("valkeys://cache").tls);
        let sentinels = vec![tcp("a", 26379), tcp("b", 5000)];
        let primary = "main".to_owned();
        assert_eq!(
            redis_of("redis+sentinel://a,b:5000/main/2").servers,
            RedisServers::Sentinels { sentinels, primary }
        );
        assert_eq!(redis_of("redis+sentinel://a,b:5000/main/2").database, 2);
        let nodes = vec![tcp("a", 7000), tcp("b", 6379)];
        let cluster = redis_of("rediss+cluster://u:p@a:7000,b/");
        assert!(cluster.tls);
        assert_eq!(cluster.servers, RedisServers::Cluster(nodes));
        let unix = RedisAddress::Unix(PathBuf::from("/run/redis.sock"));
        assert_eq!(redis_of("redis+unix:///run/redis.sock?db=4").servers, RedisServers::One(unix));
    }

    #[test]
    fn files_and_databases_are_read() {
        assert!(
            matches!(parse("sqlite:sessions.db"), Ok(StorePlace::Sqlite(path)) if path.to_str() == Some("sessions.db"))
        );
        assert!(
            matches!(parse("sqlite:///tmp/s.db"), Ok(StorePlace::Sqlite(path)) if path.to_str() == Some("/tmp/s.db"))
        );
        let Ok(StorePlace::Postgres(place)) = parse("postgres://u:p%40w@db/app?sslmode=verify-full") else { panic!() };
        assert_eq!(place.url, "postgres://u@db/app?sslmode=verify-full");
        assert_eq!(place.password.unwrap().read().unwrap().expose_secret(), "p@w");
        assert!(parse("postgresql:///app?host=/run/postgresql").is_ok());
    }

    #[test]
    fn what_can_not_be_a_store_is_told_with_the_fix_and_without_the_password() {
        for (text, expected) in [
            ("memcached://u:hush@h", "is no store"),
            ("redi://u:hush@h", "did you mean \"redis\"?"),
            ("cookies", "did you mean \"cookie\"?"),
            ("redis:u:hush@h", "lacks `//`"),
            ("redis://u:hush@h/x", "no number"),
            ("redis://u:hush@h/1/2", "nobody reads"),
            ("redis://u:hush@h?ssl=true", "nobody reads"),
            ("redis://u:hush@a,b", "redis+cluster://"),
            ("redis://u:hush@", "can't be read"),
            ("redis://u:hush@h:0", "can't be read"),
            ("redis://u:hush@h:99999", "can't be read"),
            ("redis+sentinel://u:hush@a,b", "doesn't name the primary"),
            ("redis+cluster://u:hush@a/1", "only one"),
            ("redis+unix://run/hush", "names no path"),
            ("sqlite:", "the path of a file"),
            ("sqlite::memory:", "the path of a file"),
            ("sqlite:/no/such/directory/hush.db", "its directory is not there"),
            ("postgres://u:hush@h", "names no database"),
            ("postgres:///app", "names no host"),
            ("postgres://u:hush@h/app?sslmode=on", "`sslmode`"),
            ("postgres://u:hush@h/app?pool=3", "which nobody reads"),
            ("postgres://u@h/app?password=hush", "before the host"),
        ] {
            let wrong = parse(text).unwrap_err();
            let told = format!("{} {}", wrong.message, wrong.notes.join(" "));
            assert!(told.contains(expected), "{text}: {told}");
            assert!(!told.contains("hush"), "{told}");
        }
    }
}
