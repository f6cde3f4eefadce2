//! Secrets are there, strong, not lying about, and never shown.

use super::*;

fn with_secret(secret: &str) -> String {
    right("", "").replace("client_id", &format!("client_secret = {secret}\nclient_id"))
}

fn with_keys(keys: &str) -> String {
    right("", "").replace("keys = [{ file = \"/run/secrets/session-key\" }]", &format!("keys = {keys}"))
}

#[test]
fn an_unreadable_secret_names_its_file_and_key() {
    let told = mistakes(&with_secret("{ file = \"/nowhere/secret\" }"));
    let expected = r#"portcullis.toml:5:17: error: providers.corp.client_secret: can't read the secret's file /nowhere/secret: No such file or directory (os error 2)
  |
5 | client_secret = { file = "/nowhere/secret" }
  |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = mend the path, or let us read the file"#;
    assert_eq!(told, expected);
    assert!(mistakes(&with_secret("{ env = \"NOT_SET\" }")).contains("the environment variable NOT_SET is not set"));
    assert!(mistakes(&with_secret("\"\"")).contains("is empty"));
    assert!(mistakes(&with_secret("{}")).contains("names no place"));
    assert!(mistakes(&with_secret("{ file = \"/a\", env = \"B\" }")).contains("both a file and a variable"));
    assert!(mistakes(&with_secret("{ fiel = \"/a\" }")).contains("did you mean `file`?"));
    assert!(mistakes(&with_secret("1234")).contains("takes a secret, not a whole number"));
}

#[test]
fn weak_session_keys_are_refused() {
    for weak in
        ["[\"short\"]".to_owned(), format!("[\"{}\"]", "0".repeat(64)), "[\"YWJjZGVmZ2hpamtsbW5vcA\"]".to_owned()]
    {
        let told = mistakes(&with_keys(&weak));
        assert!(told.contains("session key") && told.contains("portcullis keygen"), "{told}");
        assert!(told.contains("keys = [***]"), "{told}");
    }
    let twice = "[{ file = \"/run/secrets/session-key\" }, { file = \"/run/secrets/session-key\" }]";
    assert!(mistakes(&with_keys(twice)).contains("given twice"));
}

#[test]
fn no_session_key_is_a_warning_with_the_fix() {
    for keys in ["[]", "absent"] {
        let text = with_keys(keys).replace("keys = absent\n", "");
        let settings = toml(&text).unwrap();
        assert!(settings.session.keys.is_empty());
        let [warning] = settings.warnings.as_slice() else { panic!("{:?}", settings.warnings) };
        assert!(warning.contains("portcullis keygen") && warning.contains("signs everyone out"), "{warning}");
    }
}

#[test]
fn what_everyone_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();
    desk.write("a.toml", &with_secret("\"hush\""));
    assert!(desk.load(&["a.toml"]).unwrap().warnings.is_empty());
    for name in ["session-key", "a.toml"] {
        std::fs::set_permissions(desk.path(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let warnings = desk.load(&["a.toml"]).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().all(|warning| warning.contains("chmod o-r") && !warning.contains("hush")), "{warnings:?}");
}

#[test]
fn a_secret_on_the_command_line_is_refused() {
    let mut desk = Desk::new();
    desk.write("a.toml", &right("", ""));
    desk.sets.push("providers.corp.client_secret=hush".to_owned());
    let told = desk.load(&["a.toml"]).unwrap_err();
    assert!(told.contains("everyone on this machine can read command lines") && !told.contains("hush"), "{told}");
    desk.sets = vec![format!("providers.corp.client_secret.file={}", desk.path("client-secret").display())];
    assert!(desk.load(&["a.toml"]).is_ok());
    desk.sets = vec!["providers.corp.client_secret:hush".to_owned()];
    assert!(!desk.load(&["a.toml"]).unwrap_err().contains("hush"), "an `=` forgotten shows no secret");
}

#[test]
fn no_message_shows_a_secret() {
    let text = "public_url = \"https://u:hush@app.example.com\"\nclient_secret = \"hush\"\n\
        providers = { corp = { issuer = \"https://u:hush@x.example\", client_secret = \"hush\", client_secrt = \"hush\", client_id = 5 } }\n\
        session = { keys = [\"hush\", 5], store = \"redis://:hush@r:1\", kyes = [\"hush\"] }\n\
        upstreams = \"hush\"\n";
    let told = mistakes(text);
    assert!(!told.contains("hush"), "{told}");
    assert!(told.contains("client_secret = ***, client_secrt = ***, client_id = 5"), "{told}");
}
