//! The keys of `[upstreams.…]` that are about a fixed answer.

use http::{HeaderValue, StatusCode};

use crate::config::raw::convert;
use crate::config::raw::report::{Wrong, printable};
use crate::config::raw::table::Table;
use crate::config::settings::AnswerSettings;

/// The keys that are read here beside `respond`; they have no meaning without it.
pub(super) const KEYS: [&str; 2] = ["body", "content_type"];

/// Statuses that mean nothing without further headers, or say what only a range or an upgrade can make true.
const NEEDS_MORE: [u16; 6] = [206, 401, 405, 407, 416, 426];

/// The most that an answer may hold, in bytes: what is larger is a file.
const MAX_BODY: usize = 64 * 1024;

/// A fixed answer; `None` when there is none, or when its status is wrong.
pub(super) fn answer(table: &Table<'_>) -> Option<AnswerSettings> {
    let status = table.node("respond").and_then(|node| {
        let checked = convert::whole(node, "respond").and_then(status);
        checked.map_err(|wrong| table.report().error(node.place.clone(), wrong)).ok()
    });
    let body = table.parse("body", "a text", |text| {
        if text.len() > MAX_BODY {
            return Err(Wrong::new("this answer is larger than 64KiB").note("serve it from a directory: files = \"…\""));
        }
        Ok(text.to_owned())
    });
    let content_type = table.parse("content_type", "a media type such as \"text/plain\"", content_type);
    let status = status?;
    let body = body.unwrap_or_default();
    if [204, 205, 304].contains(&status.as_u16()) && !body.is_empty() {
        table.error("body", Wrong::new(format!("an answer with {} has no body", status.as_u16())).note("leave it out"));
    }
    Some(AnswerSettings {
        status,
        body,
        content_type: content_type.unwrap_or(HeaderValue::from_static("text/plain; charset=utf-8")),
    })
}

fn status(number: i128) -> Result<StatusCode, Wrong> {
    let allowed =
        "allowed: 200 to 299 and 400 to 599, but not 206, 401, 405, 407, 416 and 426, which need more than a body";
    let code = u16::try_from(number)
        .ok()
        .filter(|code| ((200..=299).contains(code) || (400..=599).contains(code)) && !NEEDS_MORE.contains(code));
    code.and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(|| Wrong::new(format!("{number} is no status that can be answered here")).note(allowed))
}

/// A media type (RFC 9110, section 8.3.1), perhaps with parameters.
fn content_type(text: &str) -> Result<HeaderValue, Wrong> {
    let wrong = || {
        Wrong::new(format!("`{}` is no media type", printable(text))).note("write it like \"text/html; charset=utf-8\"")
    };
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let (kind, subtype) = essence.split_once('/').ok_or_else(wrong)?;
    let printable_ascii = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !token(kind) || !token(subtype) || !printable_ascii {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_by_itself() {
        for good in [200, 204, 404, 410, 503] {
            assert!(status(good).is_ok(), "{good}");
        }
        for bad in [0, 100, 101, 199, 206, 301, 304, 401, 405, 407, 416, 426, 600, 65_736, -1] {
            assert!(status(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_media_type_is_one() {
        for good in ["text/plain", "text/html; charset=utf-8", "application/problem+json"] {
            assert!(content_type(good).is_ok(), "{good}");
        }
        for bad in ["", "text", "text/", "/html", "te xt/html", "text/html\r\nX: y", "text/ü"] {
            assert!(content_type(bad).is_err(), "{bad}");
        }
    }
}
