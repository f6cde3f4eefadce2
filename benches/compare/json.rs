//! Every slice as JSON, for scripts that draw or compare runs.

use serde_json::{Value, json};

use crate::Outcome;
use crate::figure::Figure;
use crate::machine;
use crate::stage::Stage;

/// The whole run.
pub(crate) fn text(stage: &Stage, figures: &[Figure]) -> Outcome<String> {
    let run = json!({
        "machine": machine::line(),
        "cores": { "tested": stage.cores.tested, "load": stage.cores.load },
        "rounds": stage.args.rounds,
        "seconds": stage.args.seconds,
        "figures": figures.iter().map(figure).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&run)? + "\n")
}

fn figure(figure: &Figure) -> Value {
    json!({
        "row": figure.row,
        "what": figure.what,
        "unit": figure.unit,
        "base": { "name": figure.base.name, "values": figure.base.all },
        "ours": { "name": figure.ours.name, "values": figure.ours.all },
        "ratio": figure.ratio().map(|ratio| json!({ "median": ratio.median, "min": ratio.min, "max": ratio.max })),
        "met": figure.is_met(),
        "note": figure.note,
    })
}
