//! Where a config comes from: files in order, then the environment, then the command line; and loading all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};

use super::check::{self, Context};
use super::env;
use super::finding::{self, Finding};
use super::problem::{self, Problem, Problems};
use super::raw::layer::Layer;
use super::raw::merge::merge;
use super::raw::node::{Place, Step};
use super::raw::report::{Draft, Report, SyntaxError, Wrong};
use super::raw::{toml_text, yaml_text};
use super::settings::Settings;

/// The files that are looked for, in this order, when none is named. The first that exists is the one.
pub const DEFAULT_FILES: [&str; 2] = ["./portcullis.toml", "/etc/portcullis/portcullis.toml"];

/// The most a config file may hold.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What to load.
#[derive(Clone, Default)]
pub struct LoadRequest {
    /// The files, later ones over earlier ones; [`DEFAULT_FILES`] are looked for when empty. TOML unless the name ends in
    /// `.yaml`, `.yml` or `.json`.
    pub files: Vec<PathBuf>,
    /// A config in TOML in place of any file, for a gateway that another program of ours starts.
    pub text: Option<String>,
    /// The environment: `PORTCULLIS_…` are keys, the others are for `{ env = "…" }`.
    pub environment: BTreeMap<String, String>,
    /// `key=value` with dots between levels, over everything else.
    pub sets: Vec<String>,
}

impl fmt::Debug for LoadRequest {
    /// The environment and the arguments may hold secrets, so only the files are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadRequest").field("files", &self.files).finish_non_exhaustive()
    }
}

impl LoadRequest {
    /// `files` and `sets` over this process's environment.
    pub fn of_process(files: Vec<PathBuf>, sets: Vec<String>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.into_string().ok()?;
                match value.into_string() {
                    Ok(value) => Some((name, value)),
                    Err(value) if name.starts_with(env::PREFIX) => Some((name, value.to_string_lossy().into_owned())),
                    Err(_) => None,
                }
            })
            .collect();
        Self { files, text: None, environment, sets }
    }
}

/// Loads and checks a config. Reads the files it is given and those the config names; never the network.
///
/// # Errors
/// Every mistake in all sources, each with its place and fix.
pub fn load(request: &LoadRequest) -> Result<Settings, Problems> {
    load_proving(request, |_| Vec::new())
}

/// Like [`load`], and what `prove` finds wrong with the settings is told together with all other mistakes. The settings it
/// sees lack what could not be read.
///
/// # Errors
/// Every mistake in all sources, each with its place and fix.
pub fn load_proving(
    request: &LoadRequest,
    prove: impl FnOnce(&Settings) -> Vec<Finding>,
) -> Result<Settings, Problems> {
    load_with(request, prove).0
}

/// Like [`load_proving`], with the names of all keys that were asked for.
pub(super) fn load_with(
    request: &LoadRequest,
    prove: impl FnOnce(&Settings) -> Vec<Finding>,
) -> (Result<Settings, Problems>, BTreeSet<String>) {
    let mut problems = Vec::new();
    let mut layers = Vec::new();
    let mut whole = true;
    for (path, text) in texts(request, &mut problems) {
        let (mut layer, errors) = parse(&path, text, layers.len());
        whole &= errors.is_empty();
        problems.extend(errors.iter().map(|error| problem::syntax(&layer, &error.message, &error.span)));
        hide_secrets(&mut layer);
        layers.push(layer);
    }
    whole &= problems.is_empty();
    let no_file = layers.is_empty();
    let report = Report::default();
    let environment = env::environment(&request.environment, &layers, &report);
    layers.push(environment);
    let command_line = env::command_line(&request.sets, layers.len(), &report);
    layers.push(command_line);

    let root = merge(&layers);
    let context = Context { report: &report, environment: &request.environment, layers: &layers };
    let settings = check::settings(&root, &context);
    let findings = report.finish();
    for place in &findings.hidden {
        hide_within(&mut layers, place);
    }
    let mut drafts: Vec<Draft> = findings.errors.into_iter().filter(|draft| whole || !draft.may_follow).collect();
    if no_file && whole {
        name_the_lack_of_files(&mut drafts);
    }
    if let Some(settings) = settings.as_ref().filter(|_| whole) {
        let of_variables = finding::bring_home(prove(settings), &mut drafts, &layers);
        problems.extend(problem::write_out(drafts, &layers));
        problems.extend(of_variables);
    } else {
        problems.extend(problem::write_out(drafts, &layers));
    }
    let result = match settings {
        Some(mut settings) if problems.is_empty() => {
            settings.dangers = findings.dangers;
            settings.warnings = findings.warnings.iter().map(|warning| problem::one_line(warning, &layers)).collect();
            Ok(settings)
        }
        _ => Err(Problems::new(problems)),
    };
    (result, findings.known)
}

/// Every source's name and text. A file that can't be read is a problem, and the others are still checked.
fn texts(request: &LoadRequest, problems: &mut Vec<Problem>) -> Vec<(PathBuf, String)> {
    if let Some(text) = &request.text {
        return vec![(PathBuf::from("built-in.toml"), text.clone())];
    }
    let files = files(request, problems);
    files.into_iter().filter_map(|path| read_file(&path, problems).map(|text| (path, text))).collect()
}

fn files(request: &LoadRequest, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    if !request.files.is_empty() {
        return request.files.clone();
    }
    if let Some(found) = DEFAULT_FILES.iter().map(PathBuf::from).find(|path| path.exists()) {
        return vec![found];
    }
    // A container may be configured by its environment alone.
    let spoken = !request.sets.is_empty() || request.environment.keys().any(|name| name.starts_with(env::PREFIX));
    if !spoken {
        problems.push(Problem {
            place: "portcullis".to_owned(),
            key: String::new(),
            message: format!("there is no config: neither {} nor {} exists", DEFAULT_FILES[0], DEFAULT_FILES[1]),
            snippet: String::new(),
            notes: vec!["write one of them, or name a file: --config FILE".to_owned()],
        });
    }
    Vec::new()
}

fn name_the_lack_of_files(drafts: &mut [Draft]) {
    for draft in drafts.iter_mut().filter(|draft| draft.may_follow && draft.place.path.len() == 1) {
        draft
            .wrong
            .notes
            .push(format!("no file was read: neither {} nor {} exists", DEFAULT_FILES[0], DEFAULT_FILES[1]));
    }
}

fn read_file(path: &Path, problems: &mut Vec<Problem>) -> Option<String> {
    let mut fail = |message: String, note: &str| {
        let place = path.display().to_string();
        problems.push(Problem {
            place,
            key: String::new(),
            message,
            snippet: String::new(),
            notes: vec![note.to_owned()],
        });
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_FILE_BYTES => {
            fail("the config file is larger than 4 MiB".to_owned(), "name the right file: --config FILE");
            return None;
        }
        Err(error) => {
            fail(format!("the config file can't be read: {error}"), "mend the path, or name another: --config FILE");
            return None;
        }
        Ok(_) => {}
    }
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).ok();
            if text.is_none() {
                fail("the config file is no UTF-8 text".to_owned(), "save it as UTF-8");
            }
            text.map(|text| text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
        }
        Err(error) => {
            fail(format!("the config file can't be read: {error}"), "mend the path, or name another: --config FILE");
            None
        }
    }
}

fn parse(path: &Path, text: String, index: usize) -> (Layer, Vec<SyntaxError>) {
    let name = path.display().to_string();
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("yaml" | "yml") => yaml_text::read_yaml(name, text, index),
        Some("json") => yaml_text::read_json(name, text, index),
        _ => toml_text::read(name, text, index),
    }
}

/// Masks what is or may be a secret, so that no message about a neighbour on the same line shows it.
fn hide_secrets(layer: &mut Layer) {
    let mut found = Vec::new();
    let values = std::mem::take(&mut layer.values);
    seek_secrets(&values, &mut Vec::new(), &mut found);
    layer.values = values;
    for path in found {
        layer.hide(&path);
    }
}

fn seek_secrets(dict: &Dict, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    for (key, value) in dict {
        path.push(Step::Key(key.clone()));
        seek_in_value(value, path, found);
        path.pop();
    }
}

fn seek_in_value(value: &Value, path: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    match value {
        Value::Dict(_, dict) => seek_secrets(dict, path, found),
        Value::Array(_, items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                seek_in_value(item, path, found);
                path.pop();
            }
        }
        _ if is_secret(path) => found.push(path.clone()),
        Value::String(_, text) if text.contains("://") && text.contains('@') => found.push(path.clone()),
        _ => {}
    }
}

/// Whether the value at `path` is a secret itself, rather than where to find one.
pub(super) fn is_secret(path: &[Step]) -> bool {
    let names_one = |step: &Step| matches!(step, Step::Key(key) if key.contains("secret") || key.contains("passw") || key == "keys");
    let points_elsewhere = matches!(path.last(), Some(Step::Key(key)) if key == "file" || key == "env");
    path.iter().any(names_one) && !points_elsewhere
}

fn hide_within(layers: &mut [Layer], place: &Place) {
    for layer in layers {
        let inside: Vec<Vec<Step>> = layer.spots.keys().filter(|path| path.starts_with(&place.path)).cloned().collect();
        let leaves: Vec<&Vec<Step>> = inside
            .iter()
            .filter(|path| !inside.iter().any(|other| other.len() > path.len() && other.starts_with(path)))
            .collect();
        for path in leaves {
            layer.hide(path);
        }
    }
}

/// What the checks of files say of a file that everyone on the machine can read.
pub(super) fn open_to_all(path: &Path) -> Option<Wrong> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        let shown = path.display();
        Wrong::new(format!("everyone on this machine can read {shown}, which holds a secret"))
            .note(format!("run: chmod o-r {shown}"))
    })
}
