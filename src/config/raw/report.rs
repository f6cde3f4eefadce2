//! What is found wrong while a config is read: collected, never thrown, so that every mistake is told at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use super::node::{Part, Place};

/// A place in a text where its syntax breaks.
pub(in crate::config) struct SyntaxError {
    /// What the parser says.
    pub(in crate::config) message: String,
    /// Bytes of the text.
    pub(in crate::config) span: Range<usize>,
}

/// Why a text means nothing where it stands: a sentence, and notes such as the fix.
#[derive(Debug)]
pub(in crate::config) struct Wrong {
    /// One sentence without a full stop.
    pub(in crate::config) message: String,
    /// What is allowed, the fix.
    pub(in crate::config) notes: Vec<String>,
    /// Where in the value, when the value is a text with an inside of its own: all of it, and the bytes that are meant.
    pub(in crate::config) inside: Option<(String, Range<usize>)>,
}

impl Wrong {
    /// A mistake without notes.
    pub(in crate::config) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), notes: Vec::new(), inside: None }
    }

    /// In these bytes of the value's `text`.
    pub(in crate::config) fn inside(mut self, text: &str, at: Range<usize>) -> Self {
        self.inside = Some((text.to_owned(), at));
        self
    }

    /// With a note.
    pub(in crate::config) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

impl From<String> for Wrong {
    /// Splits `what is wrong; how to write it` into message and note.
    fn from(text: String) -> Self {
        match text.split_once("; ") {
            Some((message, note)) => Self::new(message).note(note),
            None => Self::new(text),
        }
    }
}

/// One mistake or warning, its place not yet looked up.
pub(in crate::config) struct Draft {
    /// Where.
    pub(in crate::config) place: Place,
    /// What and how to mend it.
    pub(in crate::config) wrong: Wrong,
    /// Other places that have to do with it.
    pub(in crate::config) related: Vec<(Place, &'static str)>,
    /// Whether it may only follow from a part of the config that could not be read.
    pub(in crate::config) may_follow: bool,
}

/// A key that nobody asked for.
pub(in crate::config) struct Unknown {
    /// Its place.
    pub(in crate::config) place: Place,
    /// Its name.
    pub(in crate::config) key: String,
    /// What its table is called.
    pub(in crate::config) title: String,
    /// What the table takes.
    pub(in crate::config) allowed: Vec<&'static str>,
}

/// Collects what is found.
#[derive(Default)]
pub(in crate::config) struct Report {
    errors: RefCell<Vec<Draft>>,
    warnings: RefCell<Vec<Draft>>,
    unknown: RefCell<Vec<Unknown>>,
    dangers: RefCell<Vec<String>>,
    hidden: RefCell<Vec<Place>>,
    known: RefCell<BTreeSet<String>>,
}

/// All that was found, taken out of a [`Report`].
pub(in crate::config) struct Findings {
    /// Mistakes.
    pub(in crate::config) errors: Vec<Draft>,
    /// What should be mended.
    pub(in crate::config) warnings: Vec<Draft>,
    /// Settings whose name begins with `insecure_`.
    pub(in crate::config) dangers: Vec<String>,
    /// Values that may be secrets.
    pub(in crate::config) hidden: Vec<Place>,
    /// Every key that was asked for, as a pattern such as `providers.*.issuer`.
    pub(in crate::config) known: BTreeSet<String>,
}

impl Report {
    /// A mistake.
    pub(in crate::config) fn error(&self, place: Place, wrong: Wrong) {
        self.errors.borrow_mut().push(Draft { place, wrong, related: Vec::new(), may_follow: false });
    }

    /// A mistake that may only follow from a part that could not be read.
    pub(in crate::config) fn absence(&self, place: Place, wrong: Wrong) {
        self.errors.borrow_mut().push(Draft { place, wrong, related: Vec::new(), may_follow: true });
    }

    /// A mistake that two places make together.
    pub(in crate::config) fn clash(&self, place: Place, other: Place, how: &'static str, wrong: Wrong) {
        self.errors.borrow_mut().push(Draft { place, wrong, related: vec![(other, how)], may_follow: false });
    }

    /// Something to mend that does not stop us.
    pub(in crate::config) fn warn(&self, place: Place, wrong: Wrong) {
        self.warnings.borrow_mut().push(Draft { place, wrong, related: Vec::new(), may_follow: false });
    }

    /// A dangerous setting that is on: `key: what it gives up`.
    pub(in crate::config) fn danger(&self, text: impl Into<String>) {
        self.dangers.borrow_mut().push(text.into());
    }

    /// A key that nobody asked for; its value is never shown, since it may be a misspelt secret.
    pub(in crate::config) fn unknown(&self, unknown: Unknown) {
        self.hide(Place { part: Part::Value, ..unknown.place.clone() });
        self.unknown.borrow_mut().push(unknown);
    }

    /// Whether no mistake was found at `place` itself.
    pub(in crate::config) fn is_clean_at(&self, place: &Place) -> bool {
        !self.errors.borrow().iter().any(|draft| draft.place == *place)
    }

    /// Whether no mistake was found at `place` or inside it.
    pub(in crate::config) fn is_clean_within(&self, place: &Place) -> bool {
        let inside = |other: &Place| other.layer == place.layer && other.path.starts_with(&place.path);
        !self.errors.borrow().iter().any(|draft| inside(&draft.place))
            && !self.unknown.borrow().iter().any(|unknown| inside(&unknown.place))
    }

    /// Keeps a value from being shown.
    pub(in crate::config) fn hide(&self, place: Place) {
        self.hidden.borrow_mut().push(place);
    }

    /// Notes that a key exists.
    pub(in crate::config) fn know(&self, pattern: String) {
        self.known.borrow_mut().insert(pattern);
    }

    /// Everything that was found.
    pub(in crate::config) fn finish(self) -> Findings {
        let known = self.known.into_inner();
        let mut errors = self.errors.into_inner();
        for unknown in self.unknown.into_inner() {
            errors.push(Draft {
                wrong: explain(&unknown, &known),
                place: unknown.place.of_key(),
                related: Vec::new(),
                may_follow: false,
            });
        }
        Findings {
            errors,
            warnings: self.warnings.into_inner(),
            dangers: self.dangers.into_inner(),
            hidden: self.hidden.into_inner(),
            known,
        }
    }
}

fn explain(unknown: &Unknown, known: &BTreeSet<String>) -> Wrong {
    let Unknown { key, title, allowed, .. } = unknown;
    let mut wrong = Wrong::new(format!("`{}` is no key of {title}", printable(key)));
    if let Some(near) = nearest(key, allowed.iter().copied()) {
        wrong = wrong.note(format!("did you mean `{near}`?"));
    } else if let Some(elsewhere) = known.iter().find(|pattern| pattern.rsplit('.').next() == Some(key)) {
        let top = if elsewhere.contains('.') { "" } else { " at the top level" };
        wrong = wrong.note(format!("there is a key `{elsewhere}`{top}; is it in the wrong table?"));
    }
    wrong.note(format!("allowed here: {}", allowed.join(", ")))
}

/// The candidate that `word` most likely was meant to be, if any is close.
pub(in crate::config) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = (word.chars().count() / 3).clamp(1, 3);
    let folded = word.to_lowercase().replace('-', "_");
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase().replace('-', "_")), candidate))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A text with everything that could confuse a terminal replaced, cut to a readable length.
pub(in crate::config) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}
