//! How a mistake in a config is told: the place, the line with the text underlined, what is allowed there, and the fix.

use std::fmt;
use std::ops::Range;

use super::raw::layer::{Layer, Origin};
use super::raw::node::{Place, Step};
use super::raw::report::{Draft, printable};

/// One mistake, ready to be read. Holds nothing of a secret: values that may be one are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `portcullis.toml:4:1`, `environment variable PORTCULLIS_…`, or a file's name alone.
    pub place: String,
    /// The key in full, `upstreams.app.url` or `routes[2].path`; empty when the mistake is about no key.
    pub key: String,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// The line with the text underlined, over several lines; empty when there is no text to show.
    pub snippet: String,
    /// What is allowed, the fix, the nearest known name.
    pub notes: Vec<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: error: {}", self.place, told(&self.place, &self.key, &self.message))?;
        if !self.snippet.is_empty() {
            write!(f, "\n{}", self.snippet)?;
        }
        for note in &self.notes {
            write!(f, "\n  = {note}")?;
        }
        Ok(())
    }
}

/// Every mistake of a config; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) const fn new(list: Vec<Problem>) -> Self {
        Self(list)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            write!(f, "{problem}\n\n")?;
        }
        match self.0.len() {
            1 => f.write_str("1 mistake in the config"),
            count => write!(f, "{count} mistakes in the config"),
        }
    }
}

impl std::error::Error for Problems {}

/// A message after the key that it is about, unless the place has told that already.
fn told(place: &str, key: &str, message: &str) -> String {
    let argument = place.strip_prefix("argument --set ");
    if key.is_empty() || argument == Some(key) { message.to_owned() } else { format!("{key}: {message}") }
}

/// Looks the places up and writes the mistakes out, in the order of sources and lines.
pub(super) fn write_out(mut drafts: Vec<Draft>, layers: &[Layer]) -> Vec<Problem> {
    drafts.sort_by_cached_key(|draft| {
        let span = span_of(draft, layers);
        (draft.place.layer, span.map(|span| span.start), draft.wrong.message.clone())
    });
    let mut problems: Vec<Problem> = drafts
        .into_iter()
        .map(|draft| {
            let mut notes: Vec<String> =
                draft.related.iter().map(|(place, how)| format!("{how} {}", place_text(place, layers))).collect();
            let at = span_of(&draft, layers);
            if let (Some((text, range)), false) = (&draft.wrong.inside, is_shown_inside(&draft, layers)) {
                notes.push(pointed(text, range));
            }
            notes.extend(draft.wrong.notes);
            Problem {
                place: place_text_at(&draft.place, at.as_ref(), layers),
                key: key_in_full(&draft.place, layers),
                message: draft.wrong.message,
                snippet: snippet_of(&draft.place, at.as_ref(), layers),
                notes,
            }
        })
        .collect();
    problems.dedup();
    problems
}

/// A warning in one line: place, what, fix.
pub(super) fn one_line(draft: &Draft, layers: &[Layer]) -> String {
    let place = place_text(&draft.place, layers);
    let mut text = format!("{place}: {}", told(&place, &key_in_full(&draft.place, layers), &draft.wrong.message));
    for note in &draft.wrong.notes {
        text.push_str("; ");
        text.push_str(note);
    }
    text
}

/// A syntax error, written out. The line is cut where a secret could begin, since nobody knows yet what it says.
pub(super) fn syntax(layer: &Layer, message: &str, span: &Range<usize>) -> Problem {
    let Origin::File { name, text } = &layer.origin else {
        return Problem {
            place: String::new(),
            key: String::new(),
            message: message.to_owned(),
            snippet: String::new(),
            notes: Vec::new(),
        };
    };
    let (line, column) = line_and_column(text, span.start);
    let bounds = line_bounds(text, span.start);
    let shown = text.get(bounds.clone()).unwrap_or_default();
    let hidden: Vec<_> = first_unsafe(shown).map(|from| bounds.start + from..bounds.end).into_iter().collect();
    Problem {
        place: format!("{name}:{line}:{column}"),
        key: String::new(),
        message: message.to_owned(),
        snippet: snippet(text, span, &hidden),
        notes: Vec::new(),
    }
}

/// The first byte of a line that nobody could parse that may belong to a secret: all after a key, or the whole line when
/// it begins with no key.
fn first_unsafe(line: &str) -> Option<usize> {
    let of_name = |c: char| c.is_ascii_lowercase() || "_-.".contains(c);
    let is_header =
        line.starts_with('[') && line.chars().all(|c| of_name(c) || c.is_ascii_digit() || "[] ".contains(c));
    if is_header || !line.contains(char::is_alphanumeric) {
        return None;
    }
    let key = line.find(['=', ':']).filter(|end| {
        let name = line.get(..*end).unwrap_or_default().trim_matches([' ', '"', '{', ',']);
        !name.is_empty() && name.chars().all(of_name)
    });
    Some(key.map_or(0, |end| end + 1))
}

fn layer_of<'l>(place: &Place, layers: &'l [Layer]) -> Option<&'l Layer> {
    layers.get(place.layer?)
}

/// The key that `place` means, as people write it: `providers.corp.issuer`, `routes[2].path`, counted from zero as in the
/// environment and on the command line. A name that no key of ours can have is quoted; on the command line it is cut, for
/// after a forgotten `=` it may be a secret.
fn key_in_full(place: &Place, layers: &[Layer]) -> String {
    let from_arguments = matches!(layer_of(place, layers).map(|layer| &layer.origin), Some(Origin::CommandLine));
    let mut text = String::new();
    for step in &place.path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                if key.chars().all(plain) {
                    text.push_str(key);
                } else if from_arguments {
                    text.extend(key.chars().take_while(|c| plain(*c)));
                } else {
                    text.extend(["\"", &printable(key), "\""]);
                }
            }
            Step::Index(index) => text.extend(["[", &index.to_string(), "]"]),
        }
    }
    text
}

/// The bytes of a layer's text that a mistake is about: its place, or what is meant inside of it where the value stands there as it is.
fn span_of(draft: &Draft, layers: &[Layer]) -> Option<Range<usize>> {
    let layer = layer_of(&draft.place, layers)?;
    let span = layer.span(&draft.place)?;
    Some(inner_span(draft, layer, &span).unwrap_or(span))
}

fn inner_span(draft: &Draft, layer: &Layer, span: &Range<usize>) -> Option<Range<usize>> {
    let Origin::File { text, .. } = &layer.origin else { return None };
    let (value, range) = draft.wrong.inside.as_ref()?;
    let from = span.start + text.get(span.clone())?.find(value.as_str())?;
    Some(from + range.start..from + range.end)
}

fn is_shown_inside(draft: &Draft, layers: &[Layer]) -> bool {
    let layer = layer_of(&draft.place, layers);
    layer.is_some_and(|layer| layer.span(&draft.place).is_some_and(|span| inner_span(draft, layer, &span).is_some()))
}

/// Where in a text a mistake is, when the text does not stand in the file as it is: escapes are written, or there is no file.
fn pointed(text: &str, range: &Range<usize>) -> String {
    let (line, column) = line_and_column(text, range.start);
    let place = if text.contains('\n') { format!("line {line}, column {column}") } else { format!("column {column}") };
    match text.get(range.clone()).filter(|part| !part.trim().is_empty()) {
        Some(part) => format!("at {place} of the text: `{}`", printable(part)),
        None => format!("at {place} of the text"),
    }
}

fn place_text(place: &Place, layers: &[Layer]) -> String {
    let span = layer_of(place, layers).and_then(|layer| layer.span(place));
    place_text_at(place, span.as_ref(), layers)
}

fn place_text_at(place: &Place, span: Option<&Range<usize>>, layers: &[Layer]) -> String {
    let Some(layer) = layer_of(place, layers) else {
        let mut files = layers.iter().filter_map(|layer| match &layer.origin {
            Origin::File { name, .. } => Some(name),
            Origin::Environment | Origin::CommandLine => None,
        });
        return match (files.next(), files.next()) {
            (Some(only), None) => only.clone(),
            _ => "the config".to_owned(),
        };
    };
    match &layer.origin {
        Origin::File { name, text } => span.map_or_else(
            || name.clone(),
            |span| {
                let (line, column) = line_and_column(text, span.start);
                format!("{name}:{line}:{column}")
            },
        ),
        Origin::Environment | Origin::CommandLine => {
            layer.spot(&place.path).and_then(|spot| spot.label.clone()).unwrap_or_else(|| "the environment".to_owned())
        }
    }
}

fn snippet_of(place: &Place, span: Option<&Range<usize>>, layers: &[Layer]) -> String {
    let Some(layer) = layer_of(place, layers) else { return String::new() };
    match (&layer.origin, span) {
        (Origin::File { text, .. }, Some(span)) => snippet(text, span, &layer.hidden),
        _ => String::new(),
    }
}

/// Line and column of a byte, both counted from one, columns in characters.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn line_bounds(text: &str, at: usize) -> Range<usize> {
    let at = at.min(text.len());
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let end = text.get(at..).and_then(|after| after.find('\n')).map_or(text.len(), |newline| at + newline);
    start..end
}

/// The line of `span` with the span underlined, and every hidden stretch masked.
fn snippet(text: &str, span: &Range<usize>, hidden: &[Range<usize>]) -> String {
    let bounds = line_bounds(text, span.start);
    let line = text.get(bounds.clone()).unwrap_or_default();
    let (mut shown, mut marks) = (String::new(), String::new());
    let mut masked = false;
    for (offset, letter) in line.char_indices() {
        let at = bounds.start + offset;
        let mark = if span.contains(&at) { '^' } else { ' ' };
        if hidden.iter().any(|range| range.contains(&at)) {
            if !masked {
                shown.push_str("***");
                marks.extend([mark; 3]);
            }
            masked = true;
            continue;
        }
        masked = false;
        match letter {
            '\t' => shown.push(' '),
            '\r' => continue,
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
        marks.push(mark);
    }
    if !marks.contains('^') {
        marks.push('^');
    }
    let (number, _) = line_and_column(text, span.start);
    let gutter = " ".repeat(number.to_string().len());
    format!("{gutter} |\n{number} | {}\n{gutter} | {}", shown.trim_end(), marks.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unparsed_line_shows_no_more_than_its_key() {
        for (line, shown) in [
            ("client_secret = hush", "client_secret ="),
            ("  \"client_secret\": \"hush\",", "  \"client_secret\":"),
            ("  \"hush\",", ""),
            ("  - aHVzaA==", ""),
            ("aHVzaA=", ""),
            ("hush", ""),
            ("[providers.corp", "[providers.corp"),
            ("[\"hush\"", ""),
            ("}", "}"),
        ] {
            let end = first_unsafe(line).unwrap_or(line.len());
            assert_eq!(line.get(..end), Some(shown), "{line}");
        }
    }

    #[test]
    fn the_underline_stands_below_its_text() {
        let text = "a = 1\n\tü = \"x\" # \u{1b}[2J\n";
        let start = text.find("\"x\"").unwrap();
        assert_eq!(snippet(text, &(start..start + 3), &[]), "  |\n2 |  ü = \"x\" # \u{fffd}[2J\n  |      ^^^");
        let hidden = start..start + 3;
        assert_eq!(
            snippet(text, &hidden, std::slice::from_ref(&hidden)),
            "  |\n2 |  ü = *** # \u{fffd}[2J\n  |      ^^^"
        );
        assert_eq!(line_and_column(text, start), (2, 6));
    }
}
