//! The pages that tell no error: choose a way in, a plain notice, a question with one button, and the way onward.

use askama::Template;
use http::{HeaderValue, Response, StatusCode, header};

use crate::http::body::Body;
use crate::http::visit::Visit;
use crate::page::answer::{Asker, bare, full};
use crate::page::html::{AskPage, ChooserPage, Link, NoticePage, OnwardPage};
use crate::page::problem::Explanation;
use crate::page::style::{Forms, policy};

pub(crate) const HTML: &str = "text/html; charset=utf-8";

/// A question that one button answers.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The heading.
    pub title: &'a str,
    /// What the button will do.
    pub what: &'a str,
    /// Where the form goes: a path of ours.
    pub action: &'a str,
    /// Hidden fields of the form.
    pub fields: &'a [(&'a str, &'a str)],
    /// What the button says.
    pub button: &'a str,
    /// Other ways, the best one first.
    pub others: &'a [Link<'a>],
}

/// The page on which a person chooses who signs them in. Each choice is a plain link.
pub fn chooser(visit: &Visit, choices: &[Link<'_>]) -> Response<Body> {
    let asker = Asker::from(visit);
    page(asker, StatusCode::OK, &ChooserPage { frame: asker.into(), choices })
}

/// A page that tells something and offers links.
pub fn notice(visit: &Visit, explanation: &Explanation<'_>) -> Response<Body> {
    let asker = Asker::from(visit);
    page(asker, StatusCode::OK, &explanation.page(asker, None))
}

/// A page with one button, which posts a form to this site. The form tells its origin to this site and to nobody else:
/// under `no-referrer` a browser sends `Origin: null`, which nothing could check.
pub fn ask(visit: &Visit, question: &Question<'_>) -> Response<Body> {
    let asker = Asker::from(visit);
    let Question { title, what, action, fields, button, others } = *question;
    let mut response =
        page(asker, StatusCode::OK, &AskPage { frame: asker.into(), title, what, action, fields, button, others });
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy(Forms::OwnSite));
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// A page that goes on to `href` by itself, for answers to a form: Chromium holds the redirects that follow a form to
/// the `form-action` of the page that had it, which can't name every host on a provider's way. A page's own refresh
/// isn't bound by it. `href` is an absolute URL that the caller vouches for.
pub fn onward(visit: &Visit, title: &str, href: &str) -> Response<Body> {
    let asker = Asker::from(visit);
    page(asker, StatusCode::OK, &OnwardPage { frame: asker.into(), title, href })
}

pub(crate) fn page(asker: Asker<'_>, status: StatusCode, template: &impl Template) -> Response<Body> {
    match template.render() {
        Ok(html) => full(asker.request_id, status, HTML, html),
        Err(problem) => {
            tracing::error!(request_id = asker.request_id, error = %problem, "a page could not be written");
            bare(asker.request_id, status)
        }
    }
}

impl<'a> Explanation<'a> {
    pub(crate) fn page(&'a self, asker: Asker<'a>, status: Option<&'a str>) -> NoticePage<'a> {
        NoticePage {
            frame: asker.into(),
            status,
            title: &self.title,
            what: &self.what,
            advice: &self.advice,
            links: &self.links,
        }
    }
}
