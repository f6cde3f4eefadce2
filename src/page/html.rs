//! The templates: plain data in, HTML out, every text escaped but our own style sheet.

use std::borrow::Cow;

use askama::Template;

use crate::page::answer::Asker;
use crate::page::style::SHEET;

/// What every page has around its own words.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) site: Option<&'a str>,
    pub(crate) request_id: &'a str,
    pub(crate) style: &'static str,
}

impl<'a> From<Asker<'a>> for Frame<'a> {
    fn from(asker: Asker<'a>) -> Self {
        Self { site: asker.site, request_id: asker.request_id, style: SHEET }
    }
}

/// A link in a page. Its target is a path of ours, or an absolute `https` or `http` URL that the caller vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// What people read.
    pub text: Cow<'a, str>,
    /// Where it leads.
    pub href: String,
}

impl<'a> Link<'a> {
    /// A link that reads `text` and leads to `href`.
    pub fn new(text: impl Into<Cow<'a, str>>, href: impl Into<String>) -> Self {
        Self { text: text.into(), href: href.into() }
    }
}

#[derive(Template)]
#[template(path = "chooser.html")]
pub(crate) struct ChooserPage<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) choices: &'a [Link<'a>],
}

#[derive(Template)]
#[template(path = "notice.html")]
pub(crate) struct NoticePage<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) status: Option<&'a str>,
    pub(crate) title: &'a str,
    pub(crate) what: &'a str,
    pub(crate) advice: &'a str,
    pub(crate) links: &'a [Link<'a>],
}

#[derive(Template)]
#[template(path = "ask.html")]
pub(crate) struct AskPage<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) title: &'a str,
    pub(crate) what: &'a str,
    pub(crate) action: &'a str,
    pub(crate) fields: &'a [(&'a str, &'a str)],
    pub(crate) button: &'a str,
    pub(crate) others: &'a [Link<'a>],
}

#[derive(Template)]
#[template(path = "onward.html")]
pub(crate) struct OnwardPage<'a> {
    pub(crate) frame: Frame<'a>,
    pub(crate) title: &'a str,
    pub(crate) href: &'a str,
}
