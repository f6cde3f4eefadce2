//! The command line of the comparison.

use std::path::PathBuf;

/// What `--help` says.
pub(crate) const HELP: &str = "\
cargo bench --bench compare -- [options]
  --rounds N       slices of each side after the warm-up (default 7, at least 5 for figures that are quoted)
  --seconds N      seconds a slice (default 2)
  --only A,B       the rows of these names alone; an unknown name lists them all
  --sessions N     distinct sessions of the row `sessions` (default 1000000)
  --gateway PATH   another gateway than the one that cargo built
  --json FILE      every slice, for scripts
  --instructions   count instructions per request under callgrind instead
";

/// What the command line asks for.
pub(crate) enum Wish {
    /// Started by `cargo test`, which has no use for a measurement.
    Nothing,
    /// How to use it.
    Help,
    /// The comparison.
    Compare(Args),
    /// Instructions per request.
    Instructions(Args),
}

/// How to measure.
#[derive(Clone)]
pub(crate) struct Args {
    /// Slices of each side after the warm-up.
    pub(crate) rounds: u32,
    /// Seconds a slice.
    pub(crate) seconds: u64,
    /// Names of rows; all when empty.
    pub(crate) only: Vec<String>,
    /// Distinct sessions of the row `sessions`.
    pub(crate) sessions: usize,
    /// The gateway's program.
    pub(crate) gateway: PathBuf,
    /// Where every slice goes.
    pub(crate) json: Option<PathBuf>,
}

/// Reads the command line.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(given: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut args = Args {
        rounds: 7,
        seconds: 2,
        only: Vec::new(),
        sessions: 1_000_000,
        gateway: PathBuf::from(env!("CARGO_BIN_EXE_portcullis")),
        json: None,
    };
    let (mut bench, mut instructions) = (false, false);
    let mut given = given;
    while let Some(word) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{word} needs a value\n{HELP}"));
        match word.as_str() {
            "--bench" => bench = true,
            "--help" | "-h" => return Ok(Wish::Help),
            "--instructions" => instructions = true,
            "--rounds" => args.rounds = number(&word, &value()?)?,
            "--seconds" => args.seconds = number(&word, &value()?)?,
            "--sessions" => args.sessions = number(&word, &value()?)?,
            "--only" => args.only = value()?.split(',').map(str::to_owned).collect(),
            "--gateway" => args.gateway = value()?.into(),
            "--json" => args.json = Some(value()?.into()),
            _ => return Err(format!("`{word}` is no option\n{HELP}")),
        }
    }
    if args.rounds == 0 || args.seconds == 0 || args.sessions < 2 {
        return Err("--rounds and --seconds are at least 1, --sessions at least 2".to_owned());
    }
    Ok(match (bench, instructions) {
        (false, _) => Wish::Nothing,
        (true, true) => Wish::Instructions(args),
        (true, false) => Wish::Compare(args),
    })
}

fn number<N: std::str::FromStr>(name: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{name} takes a whole number, not `{text}`"))
}
