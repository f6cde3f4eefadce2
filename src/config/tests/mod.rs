//! Whole configs, from text to settings or to the mistakes that people read.

mod contract;
mod doors;
mod layers;
mod mistakes;
mod reference;
mod rules;
mod secrets;
mod syntax;
mod tokens;
mod web;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::settings::Settings;
use super::source::{LoadRequest, load};

/// A folder with a config and what it names.
struct Desk {
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
    sets: Vec<String>,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap(), environment: BTreeMap::new(), sets: Vec::new() };
        desk.write("client-secret", "hush\n");
        desk.write("session-key", &(crate::base::random::token().unwrap() + "\n"));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only its owner can read; `/run/secrets`, `/etc/portcullis` and `/srv` in it mean the folder.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let here = self.folder.path().display().to_string();
        let path = self.path(name);
        let text =
            ["/run/secrets", "/etc/portcullis", "/srv"].iter().fold(text.to_owned(), |text, p| text.replace(p, &here));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn load(&self, files: &[&str]) -> Result<Settings, String> {
        let files: Vec<PathBuf> = files.iter().map(|name| self.path(name)).collect();
        self.load_request(&LoadRequest {
            files,
            environment: self.environment.clone(),
            sets: self.sets.clone(),
            ..LoadRequest::default()
        })
    }

    fn load_request(&self, request: &LoadRequest) -> Result<Settings, String> {
        load(request).map_err(|problems| self.short(&problems.to_string()))
    }

    /// The text without the folder's name.
    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// Loads one text as TOML.
fn toml(text: &str) -> Result<Settings, String> {
    let desk = Desk::new();
    desk.write("portcullis.toml", text);
    desk.load(&["portcullis.toml"])
}

/// A config that is right, into which `top` is put at the top level and `tables` at the end.
fn right(top: &str, tables: &str) -> String {
    format!(
        "public_url = \"https://app.example.com\"\n{top}\n[providers.corp]\nissuer = \"https://login.example.com\"\n\
         client_id = \"app\"\n[session]\nkeys = [{{ file = \"/run/secrets/session-key\" }}]\n[upstreams.app]\n\
         url = \"http://127.0.0.1:3000\"\n{tables}\n"
    )
}

/// The mistakes in `text`, without the count at the end.
fn mistakes(text: &str) -> String {
    let told = toml(text).expect_err("the config has a mistake");
    told.rsplit_once("\n\n").map(|(list, _)| list.to_owned()).unwrap_or(told)
}

/// A throw-away certificate and its key, in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["app.example.com".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}
