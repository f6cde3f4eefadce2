//! A browser without a screen: it keeps cookies, follows redirects from host to host, and fills in forms.

use std::collections::BTreeMap;

use url::Url;

use super::client::{Client, Request, Response};
use super::forms::{self, Form};
use super::jar::Jar;

/// Redirects and forms that one sign-in may take.
const MAX_STEPS: usize = 20;

/// A browser of one person.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    /// Its cookies.
    pub jar: Jar,
    /// Fields sent with every request.
    pub fields: Vec<(String, String)>,
    /// Where it was redirected to since the last call, in order.
    pub trail: Vec<Url>,
    /// Redirects to a path with this beginning are not followed: the page is then the address that was not asked yet, with the
    /// answer that led there.
    pub stop_before: Option<String>,
    /// Origins whose requests go to another address.
    pub addresses: BTreeMap<String, String>,
}

/// A page that a browser came to.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its address, after all redirects.
    pub url: Url,
    /// The answer.
    pub response: Response,
}

impl Browser {
    /// One that says of itself what a browser says when a person opens a page.
    pub fn new() -> Self {
        let said = [
            ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
            ("User-Agent", "Mozilla/5.0 (a test)"),
        ];
        let fields = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { fields, ..Self::default() }
    }

    /// Sends what is meant for `origin` (such as `https://app.example.com`) to the plain-HTTP address of `url`, as a front proxy
    /// that ends TLS does.
    pub fn reach(&mut self, origin: &str, url: &str) {
        self.addresses.insert(origin.to_owned(), url.to_owned());
    }

    /// Sends one request with this browser's cookies and fields, keeps the cookies of the answer, follows nothing.
    pub fn send(&mut self, url: &Url, dress: impl FnOnce(Request) -> Request, method: &str) -> Response {
        let origin = url.origin().ascii_serialization();
        let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
        let address = self.addresses.get(&origin).cloned().unwrap_or_else(|| origin.clone());
        let mut request = Client::new(&address)
            .named(authority)
            .request(method, &url[url::Position::BeforePath..url::Position::AfterQuery]);
        for (name, value) in &self.fields {
            request = request.header(name, value);
        }
        if let Some(cookies) = self.jar.field(url) {
            request = request.header("Cookie", &cookies);
        }
        let response = dress(request).send();
        for field in response.head.all("set-cookie") {
            self.jar.set(url, field);
        }
        response
    }

    /// One GET, redirects not followed.
    pub fn peek(&mut self, url: &str) -> Response {
        self.send(&parse(url), |request| request, "GET")
    }

    /// Opens `url` and follows redirects to the page that they end at.
    pub fn open(&mut self, url: &str) -> Page {
        self.trail.clear();
        let url = parse(url);
        let response = self.send(&url, |request| request, "GET");
        self.follow(url, response)
    }

    /// Sends `form` of `page` with `fields`, and follows redirects.
    pub fn submit(&mut self, page: &Page, form: &Form, fields: &[(String, String)]) -> Page {
        let mut target = page.url.join(&form.action).expect("a form's action is a URL");
        let response = if form.method == "post" {
            let origin = page.url.origin().ascii_serialization();
            let referrer = page.url.to_string();
            let dress = |request: Request| request.header("Origin", &origin).header("Referer", &referrer).form(fields);
            self.send(&target, dress, "POST")
        } else {
            target.query_pairs_mut().clear().extend_pairs(fields);
            self.send(&target, |request| request, "GET")
        };
        self.follow(target, response)
    }

    /// Opens `url` and does what a person does on the way until they are on a page of its origin again that is no login page:
    /// chooses the first provider, gives `user` and a password, agrees to what the provider asks. A refusal there ends it too.
    ///
    /// # Panics
    /// When that takes more than a few pages, or a page on the way offers nothing to do.
    pub fn sign_in(&mut self, user: &str, url: &str) -> Page {
        let origin = parse(url).origin();
        let mut page = self.open(url);
        let mut trail = std::mem::take(&mut self.trail);
        for _ in 0..MAX_STEPS {
            let at_home = page.url.origin() == origin;
            if at_home && (page.response.status >= 400 || !page.url.path().contains("/.auth/login")) {
                self.trail = trail;
                return page;
            }
            page = self.step(user, &page);
            trail.append(&mut self.trail);
        }
        panic!("{user} is not signed in after {MAX_STEPS} pages, now at {}", page.url);
    }

    /// One page of a sign-in: its form, or its first link to a provider.
    fn step(&mut self, user: &str, page: &Page) -> Page {
        let text = page.response.text();
        if let Some(form) = forms::forms(&text).into_iter().next() {
            return self.submit(page, &form, &form.filled_for(user));
        }
        let link = forms::links(&text).into_iter().find(|link| link.contains("/login/"));
        let link =
            link.unwrap_or_else(|| panic!("{} ({}) offers nothing to do: {text}", page.url, page.response.status));
        let target = page.url.join(&link).expect("a link is a URL");
        let response = self.send(&target, |request| request, "GET");
        self.follow(target, response)
    }

    fn follow(&mut self, mut url: Url, mut response: Response) -> Page {
        for _ in 0..MAX_STEPS {
            let Some(location) = where_next(&response) else {
                return Page { url, response };
            };
            let fragment = url.fragment().map(str::to_owned);
            url = url.join(&location).unwrap_or_else(|error| panic!("{location}: {error}"));
            if url.fragment().is_none() {
                url.set_fragment(fragment.as_deref());
            }
            self.trail.push(url.clone());
            if self.stop_before.as_ref().is_some_and(|start| url.path().starts_with(start)) {
                return Page { url, response };
            }
            response = self.send(&url, |request| request, "GET");
        }
        panic!("{url} redirects without end");
    }
}

/// Where an answer sends a browser on to: a redirect, or a page that goes on by itself.
fn where_next(response: &Response) -> Option<String> {
    if matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return response.header("location").map(str::to_owned);
    }
    let is_page = response.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    if is_page { forms::onward(&response.text()) } else { None }
}

impl Page {
    /// The body as text.
    pub fn text(&self) -> String {
        self.response.text()
    }

    /// Its forms.
    pub fn forms(&self) -> Vec<Form> {
        forms::forms(&self.text())
    }
}

fn parse(url: &str) -> Url {
    Url::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}
