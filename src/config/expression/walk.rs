//! The walk over a parsed expression: every name must exist, every part must be one that is let in; patterns are compiled, and what
//! has to be counted or bounded gets a name of ours.

use std::net::IpAddr;
use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr, SourceInfo};
use ipnet::IpNet;

use super::{
    AMONG, EQUAL, ExpressionFault, FUNCTIONS, HOLDS, LOOP_OVER, LOOPS, PATTERN_NAME, PLUS, PRESENCE_NAME, PRINCIPAL,
    REQUEST, SIZE, TURN_NAME, UNEQUAL, word_at,
};
use crate::config::raw::report::nearest;
use crate::config::rule_settings::Pattern;

/// The most parts of an expression.
const MAX_PARTS: usize = 300;
/// Parts inside parts.
const MAX_DEPTH: usize = 32;
/// Loops inside loops.
const MAX_LOOPS: usize = 2;

/// Claims about the token, which are not among those of the person, and what an expression has in their place.
const ABOUT_THE_TOKEN: &[(&str, Option<&str>)] = &[
    ("_claim_names", None),
    ("_claim_sources", None),
    ("at_hash", None),
    ("aud", None),
    ("auth_time", Some("principal.auth_age")),
    ("c_hash", None),
    ("exp", None),
    ("iat", Some("principal.auth_age")),
    ("iss", Some("principal.issuer")),
    ("jti", None),
    ("nbf", None),
    ("nonce", None),
    ("s_hash", None),
    ("scope", Some("principal.scopes")),
    ("scp", Some("principal.scopes")),
    ("sid", None),
    ("sub", Some("principal.subject")),
];

const OPERATORS: &[&str] = &[
    op::CONDITIONAL,
    op::LOGICAL_AND,
    op::LOGICAL_OR,
    op::LOGICAL_NOT,
    op::SUBSTRACT,
    op::ADD,
    op::MULTIPLY,
    op::DIVIDE,
    op::MODULO,
    op::EQUALS,
    op::NOT_EQUALS,
    op::GREATER_EQUALS,
    op::LESS_EQUALS,
    op::GREATER,
    op::LESS,
    op::NEGATE,
    op::INDEX,
    op::IN,
    op::NOT_STRICTLY_FALSE,
];

/// What an expression turned out to hold.
#[derive(Default)]
pub(super) struct Found {
    pub(super) patterns: Vec<Pattern>,
    pub(super) reads_path: bool,
    pub(super) asks_who: bool,
}

/// Checks `tree`, and gives patterns, tests for presence, sums and turns their names.
pub(super) fn check(tree: &mut IdedExpr, source: &str, places: &SourceInfo) -> Result<Found, ExpressionFault> {
    let mut walk = Walk { source, places, found: Found::default(), parts: 0, variables: Vec::new(), loops: 0 };
    if let Some(kind) = never_a_truth_value(&tree.expr) {
        let fault = walk.fault(tree, format!("this expression gives {kind}, not yes or no"));
        return Err(fault.note("compare it: request.method == \"GET\""));
    }
    walk.part(tree, 0)?;
    Ok(walk.found)
}

struct Walk<'w> {
    source: &'w str,
    places: &'w SourceInfo,
    found: Found,
    parts: usize,
    /// The names of the loops around, and of what they gather.
    variables: Vec<String>,
    loops: usize,
}

impl ExpressionFault {
    fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

impl Walk<'_> {
    fn part(&mut self, part: &mut IdedExpr, depth: usize) -> Result<(), ExpressionFault> {
        self.parts += 1;
        if self.parts > MAX_PARTS || depth > MAX_DEPTH {
            let fault = self.fault(part, "this expression has too many parts");
            return Err(fault.note("split it over several tables of the rule"));
        }
        if let Some(name) = self.presence(part)? {
            part.expr = Expr::Ident(name);
            return Ok(());
        }
        let place = self.place(part);
        match &mut part.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => {
                let name = name.clone();
                self.variable(&name, &place)
            }
            Expr::Select(select) => self.select(select, &place, depth),
            Expr::Call(call) => self.call(call, &place, depth),
            Expr::List(list) => {
                for element in &mut list.elements {
                    self.constant(element)?;
                }
                Ok(())
            }
            Expr::Comprehension(turns) => self.turns(turns, &place, depth),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(fault_at(place, "an expression of a rule builds no tables"))
            }
        }
    }

    /// The elements of a list are written out: a list of what is only known later could grow.
    fn constant(&mut self, part: &IdedExpr) -> Result<(), ExpressionFault> {
        self.parts += 1;
        match &part.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Call(call) if call.func_name == op::NEGATE => Ok(()),
            _ => {
                let fault = self.fault(part, "a list in an expression holds texts and numbers only");
                Err(fault.note("compare with each value by itself, joined by `||`"))
            }
        }
    }

    fn variable(&self, name: &str, place: &Range<usize>) -> Result<(), ExpressionFault> {
        if self.variables.iter().any(|variable| variable == name) {
            return Ok(());
        }
        if name == "request" || name == "principal" {
            let fields = if name == "request" { REQUEST } else { PRINCIPAL };
            let fault = fault_at(place.clone(), format!("`{name}` is no value by itself"));
            return Err(fault.note(format!("it has: {}", fields.join(", "))));
        }
        let fault = fault_at(place.clone(), format!("there is no `{name}` here"));
        let fault = match nearest(name, ["request", "principal"].into_iter()) {
            Some(near) => fault.note(format!("did you mean `{near}`?")),
            None => fault,
        };
        Err(fault.note("known: request, principal; texts stand in quotes"))
    }

    /// The root that a field is selected on, when it is one of ours.
    fn root(&self, operand: &IdedExpr) -> Option<&'static str> {
        let Expr::Ident(name) = &operand.expr else { return None };
        if self.variables.contains(name) {
            return None;
        }
        ["request", "principal"].into_iter().find(|root| root == name)
    }

    fn field(&mut self, root: &'static str, field: &str, place: Range<usize>) -> Result<(), ExpressionFault> {
        let fields = if root == "request" { REQUEST } else { PRINCIPAL };
        if !fields.contains(&field) {
            let fault = fault_at(place, format!("`{root}` has no `{field}`"));
            let fault = match nearest(field, fields.iter().copied()) {
                Some(near) => fault.note(format!("did you mean `{root}.{near}`?")),
                None if root == "principal" => fault.note(format!("a claim is `principal.claims.{field}`")),
                None => fault,
            };
            return Err(fault.note(format!("it has: {}", fields.join(", "))));
        }
        self.found.asks_who |= root == "principal";
        self.found.reads_path |= root == "request" && field == "path";
        Ok(())
    }

    fn select(&mut self, select: &mut SelectExpr, place: &Range<usize>, depth: usize) -> Result<(), ExpressionFault> {
        if let Some(root) = self.root(&select.operand) {
            self.parts += 1;
            let field = select.field.clone();
            return self.field(root, &field, self.after(place));
        }
        if self.is_claims(&select.operand) {
            claim(&select.field, self.after(place))?;
        }
        self.part(&mut select.operand, depth + 1)
    }

    /// A claim that a text of the expression names: `principal.claims["x"]`, `"x" in principal.claims`.
    fn named_claim(&self, call: &CallExpr) -> Result<(), ExpressionFault> {
        let ((op::INDEX, [table, name]) | (op::IN, [name, table])) = (call.func_name.as_str(), call.args.as_slice())
        else {
            return Ok(());
        };
        match &name.expr {
            Expr::Literal(LiteralValue::String(text)) if self.is_claims(table) => claim(text.inner(), self.place(name)),
            _ => Ok(()),
        }
    }

    /// `has(principal.email)`, which the language takes for a look into a table, asks us instead.
    fn presence(&mut self, part: &IdedExpr) -> Result<Option<String>, ExpressionFault> {
        let Expr::Select(select) = &part.expr else { return Ok(None) };
        match self.root(&select.operand) {
            Some(root) if select.test => {
                self.field(root, &select.field, self.place(part))?;
                Ok(Some(format!("{PRESENCE_NAME}{root}.{}", select.field)))
            }
            _ => Ok(None),
        }
    }

    fn call(&mut self, call: &mut CallExpr, place: &Range<usize>, depth: usize) -> Result<(), ExpressionFault> {
        let name = call.func_name.clone();
        if !OPERATORS.contains(&name.as_str()) && !FUNCTIONS.contains(&name.as_str()) {
            return Err(no_function(&name, place));
        }
        self.named_claim(call)?;
        match name.as_str() {
            op::ADD => PLUS.clone_into(&mut call.func_name),
            op::EQUALS if !call.args.iter().any(is_null) => EQUAL.clone_into(&mut call.func_name),
            op::NOT_EQUALS if !call.args.iter().any(is_null) => UNEQUAL.clone_into(&mut call.func_name),
            op::IN => match call.args.last() {
                Some(list) if matches!(list.expr, Expr::List(_)) => AMONG.clone_into(&mut call.func_name),
                Some(table) if self.is_claims(table) => {}
                _ => HOLDS.clone_into(&mut call.func_name),
            },
            "size" => SIZE.clone_into(&mut call.func_name),
            "matches" => self.pattern(call, place)?,
            "inNetwork" => self.network(call, place)?,
            _ => {}
        }
        for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
            if !matches!(&part.expr, Expr::Ident(name) if name.starts_with(PATTERN_NAME)) {
                self.part(part, depth + 1)?;
            }
        }
        Ok(())
    }

    fn pattern(&mut self, call: &mut CallExpr, place: &Range<usize>) -> Result<(), ExpressionFault> {
        let Some(last) = call.args.last_mut() else { return Ok(()) };
        let Expr::Literal(LiteralValue::String(text)) = &last.expr else {
            let fault = fault_at(place.clone(), "the pattern of `matches` has to be a text that stands here");
            return Err(fault.note("what is only known later can't be compiled before"));
        };
        let at = self.place(last);
        let pattern = Pattern::new(text.inner()).map_err(|message| {
            fault_at(at, message).note("it has to match the whole text; there is no look-around and no back-reference")
        })?;
        last.expr = Expr::Ident(format!("{PATTERN_NAME}{}", self.found.patterns.len()));
        self.found.patterns.push(pattern);
        Ok(())
    }

    fn network(&self, call: &CallExpr, place: &Range<usize>) -> Result<(), ExpressionFault> {
        let wrong = |at: Range<usize>| {
            let fault = fault_at(at, "`inNetwork` takes a network that stands here as text");
            fault.note("write request.client_ip.inNetwork(\"10.0.0.0/8\")")
        };
        let Some(last) = call.args.last() else { return Err(wrong(place.clone())) };
        let Expr::Literal(LiteralValue::String(text)) = &last.expr else { return Err(wrong(self.place(last))) };
        let is_network = text.inner().parse::<IpNet>().is_ok() || text.inner().parse::<IpAddr>().is_ok();
        if is_network { Ok(()) } else { Err(wrong(self.place(last))) }
    }

    fn turns(
        &mut self,
        turns: &mut ComprehensionExpr,
        place: &Range<usize>,
        depth: usize,
    ) -> Result<(), ExpressionFault> {
        // What gathers a list begins with an empty one.
        if matches!(turns.accu_init.expr, Expr::List(_) | Expr::Map(_)) {
            return Err(no_function("filter", place));
        }
        if self.loops >= MAX_LOOPS {
            return Err(fault_at(place.clone(), format!("loops stand inside loops no more than {MAX_LOOPS} deep")));
        }
        if ["request", "principal"].contains(&turns.iter_var.as_str()) {
            return Err(fault_at(place.clone(), format!("`{}` can't be the name in a loop", turns.iter_var)));
        }
        if self.is_claims(&turns.iter_range) {
            let fault = fault_at(place.clone(), "a loop goes over a list, and `principal.claims` is a table");
            return Err(fault.note("whether there is a claim: \"department\" in principal.claims"));
        }
        self.part(&mut turns.iter_range, depth + 1)?;
        let range = std::mem::take(&mut turns.iter_range);
        turns.iter_range = call_of(LOOP_OVER, vec![range]);
        self.loops += 1;
        let outside = self.variables.len();
        self.variables.extend([turns.iter_var.clone(), turns.accu_var.clone()]);
        self.part(&mut turns.loop_cond, depth + 1)?;
        self.part(&mut turns.loop_step, depth + 1)?;
        self.part(&mut turns.result, depth + 1)?;
        self.variables.truncate(outside);
        self.loops -= 1;
        let condition = std::mem::take(&mut turns.loop_cond);
        let no = Expr::Literal(LiteralValue::Boolean(false.into()));
        let turn = part_of(Expr::Ident(TURN_NAME.to_owned()));
        turns.loop_cond = call_of(op::CONDITIONAL, vec![turn, condition, part_of(no)]);
        Ok(())
    }

    /// Whether a part is all claims of the principal.
    fn is_claims(&self, part: &IdedExpr) -> bool {
        let Expr::Select(select) = &part.expr else { return false };
        self.root(&select.operand) == Some("principal") && select.field == "claims"
    }

    fn fault(&self, part: &IdedExpr, message: impl Into<String>) -> ExpressionFault {
        fault_at(self.place(part), message)
    }

    /// The bytes of a part, or of the operator that joins it. The parser counts characters.
    fn place(&self, part: &IdedExpr) -> Range<usize> {
        let from = self.places.offset_for(part.id).map_or(0, |(from, _)| from);
        let from = usize::try_from(from).unwrap_or_default();
        let byte = self.source.char_indices().nth(from).map_or(0, |(byte, _)| byte);
        word_at(self.source, byte)
    }

    /// The name after the dot at `place`.
    fn after(&self, place: &Range<usize>) -> Range<usize> {
        if self.source.get(place.clone()) == Some(".") { word_at(self.source, place.end) } else { place.clone() }
    }
}

/// What is never there must not be asked for: whoever denies by it would deny nobody.
fn claim(name: &str, place: Range<usize>) -> Result<(), ExpressionFault> {
    let Some((name, instead)) = ABOUT_THE_TOKEN.iter().find(|(known, _)| *known == name) else { return Ok(()) };
    let fault = fault_at(place, format!("`{name}` is about the token, so it is no claim of the person"));
    Err(match instead {
        Some(instead) => fault.note(format!("write {instead}")),
        None => fault.note("no rule can use it"),
    })
}

fn no_function(name: &str, place: &Range<usize>) -> ExpressionFault {
    if name == "map" || name == "filter" {
        let fault = fault_at(place.clone(), format!("`{name}` builds a list, which no rule needs"));
        return fault.note("write exists, all or exists_one");
    }
    let fault = fault_at(place.clone(), format!("there is no function `{name}` here"));
    let known = || FUNCTIONS.iter().chain(LOOPS).copied().chain(["has"]);
    let fault = match nearest(name, known()) {
        Some(near) => fault.note(format!("did you mean `{near}`?")),
        None => fault,
    };
    fault.note(format!("known: {}", known().collect::<Vec<_>>().join(", ")))
}

fn fault_at(at: Range<usize>, message: impl Into<String>) -> ExpressionFault {
    ExpressionFault { message: message.into(), notes: Vec::new(), at }
}

const fn part_of(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

fn call_of(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    part_of(Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }))
}

const fn is_null(part: &IdedExpr) -> bool {
    matches!(part.expr, Expr::Literal(LiteralValue::Null))
}

/// What a whole expression gives when that can't be yes or no.
fn never_a_truth_value(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Literal(LiteralValue::Boolean(_)) => None,
        Expr::Literal(_) => Some("a fixed value"),
        Expr::List(_) => Some("a list"),
        Expr::Call(call) => match call.func_name.as_str() {
            op::ADD
            | op::SUBSTRACT
            | op::MULTIPLY
            | op::DIVIDE
            | op::MODULO
            | op::NEGATE
            | "size"
            | "int"
            | "double" => Some("a number"),
            "string" => Some("a text"),
            _ => None,
        },
        Expr::Select(select) => match (&select.operand.expr, select.test) {
            (Expr::Ident(root), false) if root == "request" || (root == "principal" && select.field != "claims") => {
                Some("a text, a list or a number")
            }
            _ => None,
        },
        _ => None,
    }
}
