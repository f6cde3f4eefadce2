//! An outcome told: as text for people, as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::outcome::{Asked, Ending, Outcome};
use crate::config::settings::CsrfCheck;
use crate::gate::judge::Forged;
use crate::policy::condition::Truth;
use crate::policy::trace::{Admits, TracedTable};
use crate::policy::wanted::Wanted;

/// One word for how it ends.
const fn decision(ending: &Ending) -> &'static str {
    match ending {
        Ending::Ours => "endpoint",
        Ending::Passes { reported: false, .. } => "pass",
        Ending::Passes { reported: true, .. } => "report_only",
        Ending::SignIn { .. } => "sign_in",
        Ending::StepUp { .. } => "step_up",
        Ending::Forbidden => "forbid",
        Ending::Preflight { .. } => "preflight",
        Ending::Forged(Forged::WebSocket) => "foreign_origin",
        Ending::Forged(Forged::Lacking(_)) => "csrf",
        Ending::Refused { .. } => "refused",
    }
}

const fn word(truth: Truth) -> &'static str {
    match truth {
        Truth::Met => "met",
        Truth::Unmet => "unmet",
        Truth::Unclear => "unclear",
    }
}

/// For programs.
pub(super) fn json(outcome: &Outcome) -> Value {
    let request = &outcome.request;
    let mut told = json!({
        "decision": decision(&outcome.ending),
        "request": {
            "method": request.method, "url": request.url, "host": request.host, "path": request.path,
            "client": request.client, "principal": request.who,
        },
        "route": outcome.rules.first().map(|asked| &*asked.route),
        "rules": outcome.rules.iter().map(rule_json).collect::<Vec<_>>(),
    });
    let more = match &outcome.ending {
        Ending::Passes { upstream, csrf, .. } => json!({"csrf": csrf.map(csrf_word), "upstream": {
            "name": &*upstream.name, "addresses": upstream.addresses, "target": upstream.target, "token": upstream.token,
            "headers": upstream.headers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>(),
        }}),
        Ending::SignIn { wanted, status } => json!({"wanted": wanted_json(wanted), "status": status}),
        Ending::StepUp { wanted } => json!({"wanted": wanted_json(wanted)}),
        Ending::Refused { status, reason } => json!({"status": status, "reason": reason}),
        Ending::Preflight { shared, route } => {
            json!({"route": &**route, "status": if *shared { 204 } else { 403 }})
        }
        Ending::Forged(Forged::Lacking(check)) => json!({"status": 403, "csrf": csrf_word(*check)}),
        Ending::Forged(Forged::WebSocket) => json!({"status": 403}),
        Ending::Ours | Ending::Forbidden => json!({}),
    };
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.extend(more);
    }
    told
}

/// As the config has it.
const fn csrf_word(check: CsrfCheck) -> &'static str {
    match check {
        CsrfCheck::Token => "token",
        CsrfCheck::SameOrigin => "same-origin",
        CsrfCheck::SameSite => "same-site",
    }
}

fn wanted_json(wanted: &Wanted) -> Value {
    json!({"acr": wanted.acr, "amr": wanted.amr, "max_age": wanted.max_age.map(|age| age.as_secs())})
}

fn rule_json(asked: &Asked) -> Value {
    let tables = |tables: &[TracedTable]| tables.iter().map(table_json).collect::<Vec<_>>();
    let allow = match asked.rule.admits {
        Admits::Everyone => json!("everyone"),
        Admits::SignedIn => json!("signed-in"),
        Admits::AnyOf => json!(tables(&asked.rule.allow)),
    };
    json!({
        "route": &*asked.route, "path": asked.path, "report_only": asked.report_only, "decision": asked.decision,
        "deny": tables(&asked.rule.deny), "allow": allow,
    })
}

fn table_json(table: &TracedTable) -> Value {
    let keys: Vec<Value> = table
        .keys
        .iter()
        .map(|key| json!({"key": key.key, "wants": key.wants, "saw": key.saw, "result": word(key.truth)}))
        .collect();
    json!({"result": word(table.truth), "keys": keys})
}

/// For people.
pub(super) fn text(outcome: &Outcome) -> String {
    let request = &outcome.request;
    let mut lines = vec![format!("{} {}", printable(&request.method), printable(&request.url))];
    if let (Some(host), Some(path)) = (&request.host, &request.path) {
        lines.push(format!("  host {host}, path {}", printable(path)));
    }
    lines.push(match &request.who {
        Some(who) => format!("  as {}", printable(who)),
        None => "  nobody is signed in".to_owned(),
    });
    if let Some(client) = &request.client {
        lines.push(format!("  from {client}"));
    }
    for asked in &outcome.rules {
        lines.push(String::new());
        lines.extend(rule_lines(asked, outcome.rules.len() > 1));
    }
    lines.push(String::new());
    lines.extend(ending_lines(&outcome.ending));
    lines.join("\n")
}

fn rule_lines(asked: &Asked, several: bool) -> Vec<String> {
    let mut lines = vec![format!("route `{}`", printable(&asked.route))];
    if several {
        lines.push(format!("  for the reading {}", printable(&asked.path)));
    }
    for (index, table) in asked.rule.deny.iter().enumerate() {
        lines.extend(table_lines(&format!("deny {}", index + 1), table, "denies", "does not deny"));
    }
    match asked.rule.admits {
        Admits::Everyone => lines.push("  allow: everyone".to_owned()),
        Admits::SignedIn => lines.push("  allow: everyone who is signed in".to_owned()),
        Admits::AnyOf => {
            for (index, table) in asked.rule.allow.iter().enumerate() {
                lines.extend(table_lines(&format!("allow {}", index + 1), table, "admits", "does not admit"));
            }
        }
    }
    if asked.report_only {
        lines.push("  report_only: what the rule forbids passes, and the log says so".to_owned());
    }
    lines.push(format!("  → {}", asked.decision));
    lines
}

fn table_lines(name: &str, table: &TracedTable, yes: &str, no: &str) -> Vec<String> {
    let is_denial = name.starts_with("deny");
    // What can't be read never admits, and denies.
    let holds = table.truth == Truth::Met || (is_denial && table.truth == Truth::Unclear);
    let mut lines = vec![format!("  {name}: {}", if holds { yes } else { no })];
    for key in &table.keys {
        let mark = match key.truth {
            Truth::Met => '✓',
            Truth::Unmet => '✗',
            Truth::Unclear => '?',
        };
        let mut line = format!("    {mark} {} wants {}", key.key, printable(&key.wants.to_string()));
        match &key.saw {
            Some(saw) => write!(line, ", saw {}", printable(&saw.to_string())).unwrap_or_default(),
            None if key.key == "expression" => {}
            None => line.push_str(", saw nothing"),
        }
        if key.truth == Truth::Unclear {
            line.push_str(" (can't be read)");
        }
        lines.push(line);
    }
    lines
}

fn ending_lines(ending: &Ending) -> Vec<String> {
    match ending {
        Ending::Ours => vec!["passes: Portcullis's own endpoint answers".to_owned()],
        Ending::Passes { upstream, reported, csrf } => {
            let how =
                if *reported { "passes, though the rule would have forbidden it (report_only)" } else { "passes" };
            let mut lines = vec![
                format!("{how}: to upstream `{}` ({})", upstream.name, upstream.addresses.join(", ")),
                format!("  path   {}", printable(&upstream.target)),
                format!("  token  {}", upstream.token),
            ];
            if let Some(check) = csrf {
                lines.push(format!("  csrf   {}: 403 unless {}", csrf_word(*check), shown(*check)));
            }
            lines.extend(upstream.headers.iter().map(|(name, value)| format!("  {name}: {}", printable(value))));
            lines
        }
        Ending::SignIn { wanted, status } => {
            let how = match status {
                None => "a redirect for a browser, 401 for everyone else".to_owned(),
                Some(status) => status.to_string(),
            };
            vec![format!("sign in first{}: {how}", wants(wanted))]
        }
        Ending::StepUp { wanted } => vec![format!(
            "sign in again{}: a redirect for a browser, 401 with insufficient_user_authentication for everyone else",
            wants(wanted)
        )],
        Ending::Forbidden => vec!["forbidden: 403".to_owned()],
        Ending::Preflight { shared: true, route } => {
            vec![format!("a preflight: 204, answered here by the `cors` of the route `{}`", printable(route))]
        }
        Ending::Preflight { shared: false, route } => {
            vec![format!("a preflight: 403, the route `{}` does not share this with that origin", printable(route))]
        }
        Ending::Forged(Forged::WebSocket) => {
            vec!["forbidden: 403, another site's page opens a WebSocket in somebody's name".to_owned()]
        }
        Ending::Forged(Forged::Lacking(check)) => {
            vec![format!("forbidden: 403 by `csrf = \"{}\"`, unless {}", csrf_word(*check), shown(*check))]
        }
        Ending::Refused { status, reason } => vec![format!("refused: {status}, {reason}")],
    }
}

const fn shown(check: CsrfCheck) -> &'static str {
    match check {
        CsrfCheck::Token => "X-CSRF-Token has the token of the session",
        CsrfCheck::SameOrigin => "a page of this origin sends it",
        CsrfCheck::SameSite => "a page of this site sends it",
    }
}

fn wants(wanted: &Wanted) -> String {
    let mut parts = Vec::new();
    if !wanted.acr.is_empty() {
        parts.push(format!("acr {}", wanted.acr.join(" or ")));
    }
    if !wanted.amr.is_empty() {
        parts.push(format!("amr {}", wanted.amr.join(" or ")));
    }
    if let Some(max_age) = wanted.max_age {
        parts.push(format!("no longer than {}s ago", max_age.as_secs()));
    }
    if parts.is_empty() { String::new() } else { format!(" with {}", parts.join(", ")) }
}

/// Control characters would write to the terminal what they like.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
