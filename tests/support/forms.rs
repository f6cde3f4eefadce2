//! The forms and links of a page, found by simple reading: enough for login, consent and confirm pages.

/// A form of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Its `id`.
    pub id: String,
    /// Where it goes, as written; empty means the page itself.
    pub action: String,
    /// `get` or `post`.
    pub method: String,
    /// Its inputs and buttons in order.
    pub inputs: Vec<Input>,
}

/// An input or button of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Its name; empty when it is not sent.
    pub name: String,
    /// Its value.
    pub value: String,
    /// `hidden`, `text`, `password`, `submit`, `radio` …
    pub kind: String,
}

impl Form {
    /// Whether it has an input of this kind.
    pub fn has(&self, kind: &str) -> bool {
        self.inputs.iter().any(|input| input.kind == kind)
    }

    /// What it sends when nobody typed or chose anything: hidden inputs and texts as they stand.
    pub fn defaults(&self) -> Vec<(String, String)> {
        let chosen = |kind: &str| matches!(kind, "submit" | "radio" | "checkbox" | "file" | "select");
        let sent = |input: &&Input| !input.name.is_empty() && !chosen(&input.kind);
        self.inputs.iter().filter(sent).map(|input| (input.name.clone(), input.value.clone())).collect()
    }

    /// What it sends when nobody typed or chose anything and the button with this name is pressed.
    pub fn pressing(&self, button: &str) -> Vec<(String, String)> {
        let pressed = self.inputs.iter().find(|input| input.kind == "submit" && input.name == button);
        let pressed = pressed.unwrap_or_else(|| panic!("no button {button} in {self:?}"));
        let mut fields = self.defaults();
        fields.push((pressed.name.clone(), pressed.value.clone()));
        fields
    }

    /// What it sends when `user` signs in: the name goes into the first text input, or presses the button that has it.
    pub fn filled_for(&self, user: &str) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let mut named = false;
        for input in self.inputs.iter().filter(|input| !input.name.is_empty()) {
            let value = match input.kind.as_str() {
                "text" | "email" if !named => {
                    named = true;
                    user
                }
                "password" => "any password",
                "submit" | "radio" if input.value == user => user,
                "submit" | "radio" | "checkbox" | "file" | "select" => continue,
                _ => &input.value,
            };
            fields.push((input.name.clone(), value.to_owned()));
        }
        fields
    }
}

/// Every form of a page.
pub fn forms(page: &str) -> Vec<Form> {
    let mut found: Vec<Form> = Vec::new();
    let mut inside = false;
    for tag in tags(page) {
        match tag.name.as_str() {
            "form" => {
                inside = true;
                let method =
                    tag.attribute("method").map_or_else(|| "get".to_owned(), |method| method.to_ascii_lowercase());
                let id = tag.attribute("id").unwrap_or_default();
                found.push(Form {
                    id,
                    action: tag.attribute("action").unwrap_or_default(),
                    method,
                    inputs: Vec::new(),
                });
            }
            "/form" => inside = false,
            "input" | "button" | "select" | "textarea" => {
                // An input outside names its form by id (HTML, section 4.10.18.3).
                let owner = tag.attribute("form");
                let form = match owner {
                    Some(id) => found.iter_mut().find(|form| form.id == id),
                    None => found.last_mut().filter(|_| inside),
                };
                if let Some(form) = form {
                    let usual = match tag.name.as_str() {
                        "button" => "submit",
                        "select" => "select",
                        _ => "text",
                    };
                    form.inputs.push(Input {
                        name: tag.attribute("name").unwrap_or_default(),
                        value: tag.attribute("value").unwrap_or_default(),
                        kind: tag.attribute("type").map_or_else(|| usual.to_owned(), |kind| kind.to_ascii_lowercase()),
                    });
                }
            }
            _ => {}
        }
    }
    found
}

/// Where a page says that the browser goes by itself: `<meta http-equiv="refresh" content="0; url=…">`.
pub fn onward(page: &str) -> Option<String> {
    let is_refresh = |tag: &Tag| {
        tag.name == "meta" && tag.attribute("http-equiv").is_some_and(|what| what.eq_ignore_ascii_case("refresh"))
    };
    let content = tags(page).into_iter().find(is_refresh)?.attribute("content")?;
    content.split_once("url=").map(|(_, target)| target.trim().to_owned())
}

/// The target of every link of a page, as written.
pub fn links(page: &str) -> Vec<String> {
    tags(page).into_iter().filter(|tag| tag.name == "a").filter_map(|tag| tag.attribute("href")).collect()
}

struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| unescape(value))
    }
}

fn tags(page: &str) -> Vec<Tag> {
    let mut found = Vec::new();
    for piece in page.split('<').skip(1) {
        let mut rest = piece;
        let end = rest.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches('/').to_ascii_lowercase();
        rest = &rest[end..];
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            if rest.is_empty() || rest.starts_with('>') {
                break;
            }
            let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>')).unwrap_or(rest.len());
            let key = rest[..end].to_ascii_lowercase();
            rest = &rest[end..];
            let Some(after) = rest.trim_start().strip_prefix('=') else {
                attributes.push((key, String::new()));
                if end == 0 {
                    break;
                }
                continue;
            };
            let after = after.trim_start();
            let (value, left) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) => after[1..].split_once(quote).unwrap_or_else(|| (&after[1..], "")),
                _ => after.split_at(after.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(after.len())),
            };
            attributes.push((key, value.to_owned()));
            rest = left;
        }
        found.push(Tag { name, attributes });
    }
    found
}

fn unescape(text: &str) -> String {
    let plain = [("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&#x2F;", "/"), ("&#47;", "/")];
    let brackets = [("&lt;", "<"), ("&#60;", "<"), ("&gt;", ">"), ("&#62;", ">"), ("&#38;", "&"), ("&amp;", "&")];
    plain.iter().chain(&brackets).fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
