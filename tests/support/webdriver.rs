//! A small `WebDriver` client (W3C `WebDriver`, level 2): drives a real Chromium through chromedriver.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Client;
use super::comes_true;
use super::process::Process;

/// The key under which an element's reference stands (W3C `WebDriver`, section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The longest that the driver may take to answer: it starts a browser of many processes, on a machine that has other things to do.
const WHOLE_BROWSER: Duration = Duration::from_mins(2);

/// One browser window at first, with an empty profile of its own.
pub struct WebDriver {
    client: Client,
    session: String,
    // Dropped in this order: the driver first, which takes the browser with it, then its profile.
    driver: Process,
    profile: TempDir,
}

/// An element of the page that is shown.
#[derive(Clone, Debug)]
pub struct Element(String);

impl WebDriver {
    /// Starts chromedriver on a free port and a headless Chromium.
    ///
    /// # Panics
    /// When either can't be started.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        let driver = Process::start("chromedriver", Command::new("chromedriver").arg("--port=0"));
        let port: u16 = driver.wait_for(WHOLE_BROWSER, |line| {
            line.split_once("started successfully on port ")
                .and_then(|(_, rest)| rest.trim_end_matches('.').parse().ok())
        });
        let client = Client::new(&format!("http://127.0.0.1:{port}")).patient(WHOLE_BROWSER);
        let profile_argument = format!("--user-data-dir={}", profile.path().display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &profile_argument,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "timeouts": {"pageLoad": 60_000, "script": 60_000},
        }}});
        let answer = client.request("POST", "/session").body(wanted.to_string()).send();
        let session = answer.json()["value"]["sessionId"].as_str().map(str::to_owned);
        let session = session.unwrap_or_else(|| panic!("no browser: {}", answer.text()));
        Self { client, session, driver, profile }
    }

    /// Opens an address and waits until its page has loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The address of the page that is shown.
    pub fn url(&self) -> String {
        text(&self.get("/url"))
    }

    /// The title of the page that is shown.
    pub fn title(&self) -> String {
        text(&self.get("/title"))
    }

    /// The page that is shown, as HTML.
    pub fn source(&self) -> String {
        text(&self.get("/source"))
    }

    /// What a person reads on the page that is shown.
    pub fn visible_text(&self) -> String {
        text(&self.run("return document.body ? document.body.innerText : ''"))
    }

    /// The status code that the page that is shown came with.
    pub fn status(&self) -> u64 {
        let status = self.run("return performance.getEntriesByType('navigation')[0].responseStatus");
        status.as_u64().unwrap_or_default()
    }

    /// The page that is shown as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.visible_text()).unwrap_or_default()
    }

    /// Presses Back.
    pub fn back(&self) {
        self.post("/back", &json!({}));
    }

    /// Loads the page again.
    pub fn refresh(&self) {
        self.post("/refresh", &json!({}));
    }

    /// The cookies of the page that is shown, scripts' view or not.
    pub fn cookies(&self) -> Vec<Value> {
        self.get("/cookie").as_array().cloned().unwrap_or_default()
    }

    /// The first element that the CSS selector finds.
    pub fn find(&self, css: &str) -> Option<Element> {
        let (status, value) = self.call("POST", "/element", Some(&json!({"using": "css selector", "value": css})));
        let element = value[ELEMENT].as_str().map(|id| Element(id.to_owned()));
        assert!(element.is_some() || status == 404, "looking for {css}: {value}");
        element
    }

    /// The first element that the CSS selector finds, waited for.
    ///
    /// # Panics
    /// When none comes; the message holds the page.
    pub fn wait_for(&self, css: &str) -> Element {
        let mut found = None;
        comes_true(|| {
            found = self.find(css);
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("no {css} on {}: {}", self.url(), self.source()))
    }

    /// Waits until an element is on the page no more, since another page has taken its place.
    ///
    /// # Panics
    /// When it stays; the message holds the page.
    pub fn wait_until_gone(&self, element: &Element) {
        // No such element, or a stale one (W3C `WebDriver`, section 6.6).
        let is_gone = || self.call("GET", &format!("/element/{}/name", element.0), None).0 == 404;
        assert!(comes_true(is_gone), "still on {}: {}", self.url(), self.source());
    }

    /// Waits until the address begins with `start`.
    ///
    /// # Panics
    /// When it does not come to that; the message holds the page.
    pub fn wait_for_url(&self, start: &str) {
        let is_there = comes_true(|| self.url().starts_with(start));
        assert!(is_there, "never came to {start}, now at {}: {}", self.url(), self.source());
    }

    /// Clicks an element.
    pub fn click(&self, element: &Element) {
        self.post(&format!("/element/{}/click", element.0), &json!({}));
    }

    /// Types into an element.
    pub fn type_into(&self, element: &Element, text: &str) {
        self.post(&format!("/element/{}/value", element.0), &json!({ "text": text }));
    }

    /// What a person reads in an element.
    pub fn text_of(&self, element: &Element) -> String {
        text(&self.get(&format!("/element/{}/text", element.0)))
    }

    /// Runs a script on the page; gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The window that is driven now.
    pub fn window(&self) -> String {
        text(&self.get("/window"))
    }

    /// Opens another tab of the same browser; gives its name.
    pub fn new_tab(&self) -> String {
        text(&self.post("/window/new", &json!({"type": "tab"}))["handle"])
    }

    /// Drives another window or tab from now on.
    pub fn switch_to(&self, window: &str) {
        self.post("/window", &json!({ "handle": window }));
    }

    /// Makes the window as large as this, in pixels.
    pub fn resize(&self, width: u32, height: u32) {
        self.post("/window/rect", &json!({ "width": width, "height": height }));
    }

    /// Shows pages as to someone who prefers a dark screen, or a light one (Chromium's own command, as `WebDriver` has none).
    pub fn prefer(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let command = json!({"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}});
        self.post("/goog/cdp/execute", &command);
    }

    /// Takes a picture of the page that is shown, into `target/screenshots/NAME.png`; gives the file.
    pub fn screenshot(&self, name: &str) -> PathBuf {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/screenshots"));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let picture = STANDARD.decode(text(&self.get("/screenshot"))).expect("the driver gives base64");
        assert!(picture.starts_with(b"\x89PNG"), "the picture is no PNG");
        let file = folder.join(format!("{name}.png"));
        std::fs::write(&file, picture).expect("a file can be written");
        file
    }

    fn get(&self, path: &str) -> Value {
        let (status, value) = self.call("GET", path, None);
        assert_eq!(status, 200, "GET {path}: {value}");
        value
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, value) = self.call("POST", path, Some(body));
        assert_eq!(status, 200, "POST {path} {body}: {value}");
        value
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.client.request(method, &format!("/session/{}{path}", self.session));
        let answer = match body {
            Some(body) => request.header("Content-Type", "application/json").body(body.to_string()).send(),
            None => request.send(),
        };
        (answer.status, answer.json()["value"].clone())
    }
}

impl Drop for WebDriver {
    fn drop(&mut self) {
        // Without this the browser outlives its driver; when it fails there is none left to end.
        let _ended_already = self.client.request("DELETE", &format!("/session/{}", self.session)).try_send();
    }
}

fn text(value: &Value) -> String {
    value.as_str().map(str::to_owned).unwrap_or_default()
}
