//! Texts that are no TOML, YAML or JSON.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_is_too_odd_to_be_told_about(
        text in "([a-z_.]{1,9}|[=:\\[\\]{}\",'\n #-]|\\PC|\r\n|\t|ü|session|providers|routes|keys|url|[0-9]{1,20}){0,40}",
        ending in prop::sample::select(vec!["toml", "yaml", "json"]),
    ) {
        let desk = Desk::new();
        let name = format!("a.{ending}");
        desk.write(&name, &text);
        let told = desk.load(&[&name]).map(|_| ()).unwrap_err();
        prop_assert!(told.contains(&name), "{told}");
        let controls = told.chars().any(|c| c.is_control() && c != '\n');
        prop_assert!(!controls, "{told:?}");
    }
}

#[test]
fn every_syntax_error_has_its_place_and_the_rest_is_still_read() {
    let told =
        mistakes("public_url = \"https://app.example.com\nworkers = = 2\n[session]\nidle = \"soon\"\nidel = \"8h\"\n");
    assert!(told.contains("portcullis.toml:1:"), "{told}");
    assert!(told.contains("portcullis.toml:2:"), "{told}");
    assert!(told.contains("portcullis.toml:4:8: error: session.idle: `soon` is no duration"), "{told}");
    assert!(told.contains("did you mean `idle`?"), "{told}");
    assert!(!told.contains("missing"), "what only follows from the broken part is not told: {told}");
}

#[test]
fn a_key_given_twice_is_told() {
    assert!(
        mistakes(&right("drain = \"1s\"\ndrain = \"2s\"", "")).contains("portcullis.toml:3:1: error: duplicate key")
    );
    let desk = Desk::new();
    desk.write("a.yaml", "drain: 1s\ndrain: 2s\n");
    assert!(desk.load(&["a.yaml"]).unwrap_err().contains("a.yaml:2:1: error: duplicate mapping key"));
    desk.write("a.json", "{\"drain\": \"1s\",\n \"drain\": \"2s\"}");
    assert!(desk.load(&["a.json"]).unwrap_err().contains("a.json:2:2: error: duplicate mapping key"));
}

#[test]
fn yaml_and_json_errors_have_their_place() {
    let desk = Desk::new();
    desk.write("a.yaml", "session:\n  idle: 8h\n lifetime: 7d\n");
    let told = desk.load(&["a.yaml"]).unwrap_err();
    assert!(told.starts_with("a.yaml:3:"), "{told}");
    desk.write("a.json", "{\n  \"drain\": \"1s\",\n}\n");
    let told = desk.load(&["a.json"]).unwrap_err();
    assert!(told.starts_with("a.json:3:1: error: trailing comma\n  |\n3 | }\n  | ^"), "{told}");
    desk.write("a.json", "{drain: 1s}");
    assert!(desk.load(&["a.json"]).is_err(), "JSON is strict though YAML would take this");
    desk.write("a.yaml", "- a\n");
    assert!(desk.load(&["a.yaml"]).unwrap_err().contains("a config is a table of keys"));
}

#[test]
fn a_broken_line_never_shows_a_secret() {
    for line in [
        "[providers.corp]\nclient_secret = \"hush-hush\n",
        "[providers.corp]\nclient_secret = hush-hush\n",
        "[session]\nkeys = [\n  \"hush-hush,\n]\n",
        "[session]\nkeys = [\"hush-hush\" \"hush-hush\"]\n",
    ] {
        let told = mistakes(line);
        assert!(!told.contains("hush"), "{told}");
    }
    let desk = Desk::new();
    desk.write("a.yaml", "session:\n  keys:\n    - hush-hush\n   - hush-hush\n");
    let told = desk.load(&["a.yaml"]).unwrap_err();
    assert!(!told.contains("hush"), "{told}");
    desk.write("a.json", "{\"session\": {\"keys\": [\"hush-hush\", hush-hush]}}");
    let told = desk.load(&["a.json"]).unwrap_err();
    assert!(!told.contains("hush"), "{told}");
}

#[test]
fn bytes_that_are_no_text_are_told() {
    let desk = Desk::new();
    std::fs::write(desk.path("a.toml"), [0xff, 0xfe]).unwrap();
    assert!(desk.load(&["a.toml"]).unwrap_err().contains("a.toml: error: the config file is no UTF-8 text"));
}
