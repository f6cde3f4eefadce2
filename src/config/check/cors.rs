//! `cors` and `csrf` of a route: which pages of other origins may read its answers, and what a writing request has to show.

use http::{HeaderName, Method};
use url::Url;

use super::address;
use super::route::methods;
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::Table;
use crate::config::settings::{CorsOrigins, CorsSettings, CsrfCheck};

/// What stands for every origin.
const ANYONE: &str = "*";

/// One item of `origins`.
enum Item {
    Anyone,
    Origin(Url),
}

/// The route's `cors`; nothing when it has none, or one with mistakes.
pub(super) fn cors(route: &Table<'_>) -> Option<CorsSettings> {
    let table = route.table_as("cors", "routes[].cors");
    let credentials = table.flag("credentials", false);
    let items = table.each("origins", "a list of origins such as [\"https://front.example.com\"]", |text| {
        if text == ANYONE {
            return Ok(Item::Anyone);
        }
        origin(text, credentials).map(Item::Origin)
    });
    let methods = methods(&table);
    let headers = names(&table, "headers", "a list of headers such as [\"Content-Type\"]");
    let expose = names(&table, "expose", "a list of headers such as [\"ETag\"]");
    let max_age = table.duration("max_age", "10m", ("0s", "1d"));
    if !route.has("cors") {
        return None;
    }
    if !table.has("origins") {
        table.missing("origins", "whose pages may read the answers: origins = [\"https://front.example.com\"]");
        return None;
    }
    let items = items?;
    if items.is_empty() && table.report().is_clean_within(&table.place("origins")) {
        table.error(
            "origins",
            Wrong::new("`origins` is an empty list").note("leave `cors` out to let no other origin in"),
        );
    }
    let anyone = items.iter().find(|item| matches!(item.value, Item::Anyone));
    if let Some(anyone) = anyone {
        if credentials {
            let wrong = Wrong::new("every page on the web could read what a signed-in person sees");
            table.report().error(anyone.place.clone(), wrong.note("name the origins, or leave out `credentials`"));
        } else if items.len() > 1 {
            let wrong = Wrong::new("\"*\" is every origin already").note("leave out the others, or leave out \"*\"");
            table.report().error(anyone.place.clone(), wrong);
        }
    }
    let origins = if anyone.is_some() {
        CorsOrigins::Anyone
    } else {
        let known = items.iter().filter_map(|item| match &item.value {
            Item::Origin(url) => Some(url.origin().ascii_serialization()),
            Item::Anyone => None,
        });
        CorsOrigins::These(known.collect())
    };
    let methods = if table.has("methods") { methods? } else { vec![Method::GET, Method::HEAD, Method::POST] };
    Some(CorsSettings { origins, methods, headers, expose, max_age, credentials })
}

/// The route's `csrf`; nothing when it has none. `methods` are the route's own.
pub(super) fn csrf(route: &Table<'_>, methods: Option<&[Method]>) -> Option<CsrfCheck> {
    let words =
        [("token", CsrfCheck::Token), ("same-origin", CsrfCheck::SameOrigin), ("same-site", CsrfCheck::SameSite)];
    let check = route.choice("csrf", &words)?;
    if methods.is_some_and(|methods| methods.iter().all(Method::is_safe)) {
        let wrong = Wrong::new("`csrf` has no effect on methods that only read").note("leave it out");
        route.report().warn(route.place("csrf"), wrong);
    }
    Some(check)
}

/// One origin. Nothing stands for several of them, and what has no origin of its own (`null`) is nobody to trust.
fn origin(text: &str, credentials: bool) -> Result<Url, Wrong> {
    if text == "null" {
        return Err(Wrong::new("`null` is what any sandboxed page or local file calls itself")
            .note("give that page an origin of its own"));
    }
    if text.contains('*') {
        return Err(Wrong::new(format!("`{}` is no single origin", printable(text)))
            .note("name each origin, whole: \"https://front.example.com\""));
    }
    let url = address::origin(text)?;
    if credentials && url.scheme() == "http" && !address::is_loopback(&url) {
        return Err(Wrong::new(
            "a plain http origin can be impersonated on the way, and would read what a signed-in person sees",
        )
        .note(format!("write \"https://{}\", or leave out `credentials`", url.host_str().unwrap_or_default())));
    }
    Ok(url)
}

/// Names of headers, each one by itself: `*` would not mean `Authorization` and with credentials nothing at all (Fetch, section 3.3.3).
fn names(table: &Table<'_>, key: &'static str, expected: &str) -> Vec<HeaderName> {
    let names = table.each(key, expected, |text| {
        let wrong =
            || Wrong::new(format!("`{}` is no name of a header", printable(text))).note("write it like \"X-Team\"");
        if text == ANYONE {
            return Err(Wrong::new("\"*\" means different headers to different browsers").note("name them"));
        }
        HeaderName::try_from(text).map_err(|_| wrong())
    });
    names.unwrap_or_default().into_iter().map(|name| name.value).collect()
}
