//! An application that verifies its assertion by the very lines of the README, with npm's `jose`.

use std::process::Command;

use crate::support::browser::Browser;
use crate::support::gateway::GatewayConfig;
use crate::support::parts::{self, Part};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::Upstream;

/// The lines for an application, as the README has them.
fn lines_of_the_readme() -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("it is there");
    let (_, rest) = readme.split_once("```js\nimport { createRemoteJWKSet").expect("the README has them");
    let (lines, _) = rest.split_once("```").expect("the block ends");
    format!("import {{ createRemoteJWKSet{lines}")
}

#[test]
fn an_application_takes_its_own_assertion_and_no_other() {
    if !parts::are_there("interop::assertion", &[Part::OidcProvider]) {
        return;
    }
    let provider = Provider::start();
    let (app, other) = (Upstream::start(), Upstream::start());
    let gateway = GatewayConfig::on_loopback()
        .client(provider.issuer(), CLIENT_ID, CLIENT_SECRET)
        .raw(&format!("[upstreams.app]\nurl = {:?}\nassertion = true", app.url()))
        .raw(&format!("[upstreams.other]\nurl = {:?}\nassertion = true", other.url()))
        .raw("[[routes]]\npath = \"/*\"\nallow = \"signed-in\"\nupstream = \"app\"")
        .raw("[[routes]]\npath = \"/other/*\"\nallow = \"signed-in\"\nupstream = \"other\"")
        .start();
    let mut browser = Browser::new();
    browser.sign_in("alice", &gateway.at("/x"));
    browser.open(&gateway.at("/other/x"));
    let header = "x-portcullis-assertion";
    let assertion = |upstream: &Upstream| upstream.last_request().header(header).expect("it gets one").to_owned();
    let (own, others) = (assertion(&app), assertion(&other));

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::os::unix::fs::symlink(parts::node_modules(), folder.path().join("node_modules")).expect("a link can be made");
    let lines = lines_of_the_readme()
        .replace("https://app.example.com", gateway.url())
        .replace("http://127.0.0.1:3000", &app.url());
    let script = format!(
        "const request = {{ headers: {{ '{header}': process.argv[2] }} }};\n{lines}\nconsole.log(payload.provider, payload.sub);\n"
    );
    let file = folder.path().join("application.mjs");
    std::fs::write(&file, script).expect("a file can be written");
    let asked = |assertion: &str| {
        let output = Command::new("node").arg(&file).arg(assertion).output().expect("node runs");
        let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success(), told, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (taken, told, errors) = asked(&own);
    assert!(taken, "{errors}");
    assert_eq!(told, "corp alice");
    let (taken, told, errors) = asked(&others);
    assert!(!taken && told.is_empty() && errors.contains("\"aud\""), "{told} {errors}");
    let (head, signature) = own.rsplit_once('.').expect("it is signed");
    let (taken, told, _) = asked(&format!("{head}.{}", signature.chars().rev().collect::<String>()));
    assert!(!taken && told.is_empty());
}
