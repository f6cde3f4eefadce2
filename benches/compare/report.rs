//! The table, as Markdown for the README.

use std::fmt::Write as _;

use crate::figure::{Bar, Figure, Spread, Values, spread};
use crate::machine;
use crate::stage::Stage;

/// The whole report.
pub(crate) fn markdown(stage: &Stage, figures: &[Figure]) -> String {
    let mut text = String::from(
        "| row | what | figure | compared with | Portcullis | ratio (min–max) | bar | |\n|---|---|---|--:|--:|--:|--:|---|\n",
    );
    for figure in figures {
        let (row, what, unit) = (figure.row, &figure.what, figure.unit);
        let (base, ours, bar) = (cell(&figure.base), cell(&figure.ours), bar(figure.bar));
        let ratio = figure.ratio().map_or_else(String::new, |ratio| ratio_text(&ratio));
        let verdict = match figure.is_met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        line(&mut text, format_args!("| {row} | {what} | {unit} | {base} | {ours} | {ratio} | {bar} | {verdict} |"));
    }
    let (rounds, seconds, cores) = (stage.args.rounds, stage.args.seconds, &stage.cores);
    line(
        &mut text,
        format_args!("\nMedians and, in brackets, least and greatest of {rounds} slices of {seconds} s each, in turn."),
    );
    line(
        &mut text,
        format_args!(
            "Servers on core {}, load and upstream on core {}. {}.",
            cores.tested,
            cores.load,
            machine::line()
        ),
    );
    for figure in figures {
        if let Some(note) = &figure.note {
            line(&mut text, format_args!("{}, {}: {note}.", figure.row, figure.unit));
        }
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String never fails.
    let _infallible = text.write_fmt(arguments);
    text.push('\n');
}

/// `nginx raw 28.1 (27.0–29.9)`.
fn cell(values: &Values) -> String {
    let Some(Spread { min, median, max }) = spread(&values.all) else { return "–".to_owned() };
    let name = if values.name == crate::stage::GATEWAY { String::new() } else { format!("{}: ", values.name) };
    match values.all.len() {
        1 => format!("{name}{}", number(median)),
        _ => format!("{name}{} ({}–{})", number(median), number(min), number(max)),
    }
}

fn ratio_text(ratio: &Spread) -> String {
    format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.min, ratio.max)
}

fn bar(bar: Bar) -> String {
    match bar {
        Bar::None => String::new(),
        Bar::RatioAtMost(most) => format!("≤ {most} ×"),
        Bar::RatioAtLeast(least) => format!("≥ {least} ×"),
        Bar::AtMost(most) => format!("≤ {most}"),
    }
}

/// Three digits that mean something, or all before the point.
fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
