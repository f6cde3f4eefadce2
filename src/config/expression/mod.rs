//! A rule's expression in the Common Expression Language: parsed, checked and bounded at load, so that little can go wrong later.
//!
//! 1. It sees what was checked of a request and of a person ([`REQUEST`], [`PRINCIPAL`]), and nothing else. A name that does not exist
//!    is a mistake of the config.
//! 2. The size of its text, the number and the depth of its parts, and the loops inside loops are bounded. No part of the language that
//!    builds lists or tables is let in, so nothing it makes can grow; each turn of a loop is counted when it is evaluated.
//! 3. What would take a value of any shape gets the name of a function that does not, so that a claim of another shape than a rule expects
//!    is an error.
//! 4. Patterns are texts in the expression itself, compiled at load by an engine whose time is linear ([`Pattern`]).

mod walk;

use std::ops::Range;
use std::sync::Arc;

use cel::{IdedExpr, ParseError, Program};

use super::rule_settings::Pattern;

/// The longest text of an expression, in bytes.
pub const MAX_SOURCE: usize = 2048;
/// Brackets inside brackets: as deep as its text may go, so that reading it needs a bounded stack.
const MAX_BRACKETS: usize = 16;

/// What `request` has.
pub const REQUEST: &[&str] = &["method", "host", "path", "client_ip", "client_certificate"];
/// What `principal` has.
pub const PRINCIPAL: &[&str] = &[
    "provider",
    "issuer",
    "subject",
    "email",
    "preferred_username",
    "name",
    "groups",
    "roles",
    "scopes",
    "acr",
    "amr",
    "auth_age",
    "claims",
];
/// Functions that an expression may call, besides the loops.
pub const FUNCTIONS: &[&str] =
    &["size", "contains", "startsWith", "endsWith", "matches", "inNetwork", "string", "int", "double"];
/// The loops that it may have.
pub const LOOPS: &[&str] = &["all", "exists", "exists_one"];

/// How the name of a pattern begins, where the text of one stood. No text of an expression can hold it.
pub const PATTERN_NAME: &str = "@pattern.";
/// How the name of a test for presence begins.
pub const PRESENCE_NAME: &str = "@has.";
/// What a loop asks before each turn: whether there may be another one.
pub const TURN_NAME: &str = "@turn";
/// What stands for `+`: a sum of numbers, or a text that is not too long.
pub const PLUS: &str = "@plus";
/// What stands for `==`, but beside a `null` that is written out: both have to be of one kind.
pub const EQUAL: &str = "@equal";
/// What stands for `!=` in the same way.
pub const UNEQUAL: &str = "@unequal";
/// What stands for `in` before a list that is written out.
pub const AMONG: &str = "@among";
/// What stands for `in` before a list that is only known later. Before `principal.claims`, which is a table, `in` stays.
pub const HOLDS: &str = "@holds";
/// What stands for `size`: of lists and texts.
pub const SIZE: &str = "@size";
/// What is around that which a loop goes over: it has to be a list.
pub const LOOP_OVER: &str = "@loop_over";

/// An expression that was checked.
#[derive(Clone, Debug)]
pub struct Expression(Arc<Checked>);

#[derive(Debug)]
struct Checked {
    source: String,
    tree: IdedExpr,
    patterns: Vec<Pattern>,
    reads_path: bool,
    asks_who: bool,
}

/// What is wrong with an expression, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionFault {
    /// One sentence without a full stop.
    pub message: String,
    /// What is allowed, the fix.
    pub notes: Vec<String>,
    /// Bytes of the text; never empty, and within the text when that is not empty.
    pub at: Range<usize>,
}

impl Expression {
    /// Parses and checks an expression.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(source: &str) -> Result<Self, ExpressionFault> {
        let whole = 0..source.len().max(1);
        let fault = |message: String| ExpressionFault { message, notes: Vec::new(), at: whole.clone() };
        if source.trim().is_empty() {
            return Err(fault("this expression is empty".to_owned()));
        }
        if source.len() > MAX_SOURCE {
            return Err(fault(format!("this expression is longer than {MAX_SOURCE} bytes")));
        }
        check_brackets(source)?;
        let program = Program::compile(source).map_err(|errors| first(source, &errors.errors))?;
        let mut tree = program.expression().clone();
        let found = walk::check(&mut tree, source, program.source_info())?;
        Ok(Self(Arc::new(Checked {
            source: source.to_owned(),
            tree,
            patterns: found.patterns,
            reads_path: found.reads_path,
            asks_who: found.asks_who,
        })))
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What is to be evaluated. In it, patterns, tests for presence, sums, comparisons, sizes and the turns of loops have the
    /// names above.
    pub fn tree(&self) -> &IdedExpr {
        &self.0.tree
    }

    /// Its patterns, by their number.
    pub fn patterns(&self) -> &[Pattern] {
        &self.0.patterns
    }

    /// Whether it looks at the path, of which a request may have several readings.
    pub fn reads_path(&self) -> bool {
        self.0.reads_path
    }

    /// Whether it looks at the person, so that somebody has to sign in.
    pub fn asks_who(&self) -> bool {
        self.0.asks_who
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl Eq for Expression {}

/// The first of the parser's complaints, which others may only follow from.
fn first(source: &str, errors: &[ParseError]) -> ExpressionFault {
    let Some(error) = errors.iter().min_by_key(|error| error.pos) else {
        let message = "this is no expression".to_owned();
        return ExpressionFault { message, notes: Vec::new(), at: 0..source.len().max(1) };
    };
    let text = error.msg.lines().next().unwrap_or_default();
    let text = text.strip_prefix("Syntax error: ").unwrap_or(text);
    // The parser lists every token that it knows; the place says more.
    let text = text.split(" expecting ").next().unwrap_or(text);
    let shown: String = text.chars().filter(|c| !c.is_control()).take(120).collect();
    ExpressionFault {
        message: format!("this is no expression: {}", shown.trim_end_matches(['.', ' '])),
        notes: Vec::new(),
        at: at_position(source, error.pos),
    }
}

/// The bytes at a line and a column, both counted from one, columns in characters.
fn at_position(source: &str, (line, column): (isize, isize)) -> Range<usize> {
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    let before: usize = source.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = source.get(before..).unwrap_or_default();
    let offset = rest.char_indices().nth(column - 1).map_or_else(|| rest.trim_end().len(), |(offset, _)| offset);
    word_at(source, before + offset)
}

/// The word or the character at a byte; the last character when there is none.
fn word_at(source: &str, from: usize) -> Range<usize> {
    let last = source.char_indices().next_back().map_or(0, |(at, _)| at);
    let from = from.min(last);
    let rest = source.get(from..).unwrap_or_default();
    let is_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let word = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
    let length = if word > 0 { word } else { rest.chars().next().map_or(1, char::len_utf8) };
    from..from + length
}

/// Brackets and signs before a value nest in the parser. Those inside texts don't count, and may as well be few.
fn check_brackets(source: &str) -> Result<(), ExpressionFault> {
    let mut depth: usize = 0;
    let mut signs = 0;
    for (at, letter) in source.char_indices() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        signs = if matches!(letter, '!' | '-' | '?') { signs + 1 } else { signs };
        if depth > MAX_BRACKETS || signs > MAX_BRACKETS {
            let notes = vec!["split it over several tables of the rule".to_owned()];
            return Err(ExpressionFault {
                message: "this expression nests too deeply".to_owned(),
                notes,
                at: at..at + 1,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
