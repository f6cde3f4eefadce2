//! The one style sheet of our pages, and the content security policy that admits it and nothing else.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// The style sheet, inline in every page: our pages load nothing.
pub const SHEET: &str = include_str!("html/style.css");

/// Where the forms of a page may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forms {
    /// The page has none.
    None,
    /// To this site alone. Chromium holds every redirect that follows a form to this list as well, so what answers
    /// such a form must never redirect away from this site: it answers with [`super::people::onward`].
    OwnSite,
}

struct Policies {
    formless: HeaderValue,
    with_forms: HeaderValue,
}

static POLICIES: LazyLock<Policies> =
    LazyLock::new(|| Policies { formless: build("'none'"), with_forms: build("'self'") });

/// The `Content-Security-Policy` of a page (Content Security Policy Level 3): no script, nothing loaded, no frames
/// around it, and one style by its hash.
pub fn policy(forms: Forms) -> HeaderValue {
    match forms {
        Forms::None => POLICIES.formless.clone(),
        Forms::OwnSite => POLICIES.with_forms.clone(),
    }
}

fn build(form_action: &str) -> HeaderValue {
    let hash = STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, SHEET.as_bytes()));
    let text = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
}
