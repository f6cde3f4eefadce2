//! `[upstreams.….health]`: how the addresses of an application are looked after.

use std::ops::RangeInclusive;

use http::uri::PathAndQuery;

use super::pattern;
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::Table;
use crate::config::settings::HealthSettings;

/// The questions, when the config asks for any.
pub(super) fn health(upstream: &Table<'_>) -> Option<HealthSettings> {
    let given = upstream.has("health");
    let table = upstream.table("health");
    let path = table.parse("path", "a path such as \"/healthz\"", path);
    if given && !table.has("path") {
        table.missing("path", "what to ask for: path = \"/healthz\"");
    }
    let interval = table.duration("interval", "5s", ("100ms", "1h"));
    let timeout = table.duration("timeout", "2s", ("100ms", "1m"));
    let healthy_after = table.whole("healthy_after", 1..=100).unwrap_or(2);
    let unhealthy_after = table.whole("unhealthy_after", 1..=100).unwrap_or(3);
    let expect = table.parse("expect", "status codes such as \"200-399\" or \"204\"", expect);
    Some(HealthSettings {
        path: path?,
        interval,
        timeout,
        healthy_after,
        unhealthy_after,
        expect: expect.unwrap_or(200..=399),
    })
}

fn path(text: &str) -> Result<PathAndQuery, Wrong> {
    let path = text.split_once('?').map_or(text, |(path, _)| path);
    pattern::check_path(path)?;
    let example = "write it like \"/healthz\"";
    if text.contains('#') {
        return Err(Wrong::new("a path has no fragment").note(example));
    }
    PathAndQuery::try_from(text).map_err(|_| {
        Wrong::new("this query holds a character that URLs only carry encoded").note("write it percent-encoded")
    })
}

fn expect(text: &str) -> Result<RangeInclusive<u16>, Wrong> {
    let wrong = || {
        Wrong::new(format!("`{}` names no status codes", printable(text)))
            .note("allowed: one code such as \"204\", or two with a `-` such as \"200-399\", from 200 to 599")
    };
    let code = |text: &str| {
        let plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|code| plain && (200..=599).contains(code)).ok_or_else(wrong)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (code(first)?, code(last)?);
    if first > last { Err(wrong()) } else { Ok(first..=last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_codes_are_one_or_a_range() {
        assert_eq!(expect("204").unwrap(), 204..=204);
        assert_eq!(expect("200-399").unwrap(), 200..=399);
        for bad in ["", "2xx", "399-200", "100-200", "200-600", "200-", "-200", "200..399", "200 - 399", "+20", "0200"]
        {
            assert!(expect(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_may_have_a_query() {
        assert_eq!(path("/healthz?full=1").unwrap().as_str(), "/healthz?full=1");
        for bad in ["healthz", "/a#b", "/a?b#c", "/a b", "/a?b c", "/../x", "//x", "http://a.example/x"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
