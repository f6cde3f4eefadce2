//! The authorization response: is it from whom we asked, is it an error, does it have a code? (RFC 6749, section 4.1.2; RFC 9207)

use std::sync::Arc;

use crate::provider::{Answer, ProviderFault};
use crate::session::flow::Pending;

/// The longest code that is redeemed, in bytes.
const LONGEST_CODE: usize = 8 * 1024;

/// The code in the answer. `iss` is compared before anything else, errors included, so that an answer of another provider
/// has no effect whatever it says (RFC 9207, section 2.4).
pub(super) fn code(
    provider: &Arc<str>,
    pending: &Pending,
    answers_with_issuer: bool,
    answer: Answer,
) -> Result<String, ProviderFault> {
    let unusable = |reason: &str| Err(ProviderFault::bad_answer(provider, reason));
    match &answer.issuer {
        Some(issuer) if *issuer != pending.issuer => {
            return unusable("the answer is from another issuer than was asked");
        }
        None if answers_with_issuer => {
            return unusable("the answer has no `iss`, though the provider says that it sends one");
        }
        _ => {}
    }
    if let Some(error) = &answer.error {
        return Err(ProviderFault::refused(provider, error));
    }
    match answer.code {
        Some(code) if is_code(&code) => Ok(code),
        Some(_) => unusable("the answer's code is empty, too long or has characters that no code has"),
        None => unusable("the answer has neither code nor error"),
    }
}

/// `1*VSCHAR` (RFC 6749, appendix A.11).
fn is_code(code: &str) -> bool {
    !code.is_empty() && code.len() <= LONGEST_CODE && code.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answers_with_issuer: bool, answer: Answer) -> Result<String, ProviderFault> {
        let pending = Pending {
            issuer: "https://idp.example".to_owned(),
            state: String::new(),
            nonce: String::new(),
            verifier: String::new(),
            redirect_uri: String::new(),
            wanted: crate::policy::wanted::Wanted::default(),
        };
        code(&Arc::from("corp"), &pending, answers_with_issuer, answer)
    }

    #[allow(clippy::unnecessary_wraps, reason = "every use wants an Option")]
    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn the_issuer_is_compared_before_an_error_is_believed() {
        for wrong in ["https://evil.example", "https://idp.example/", "", "HTTPS://idp.example"] {
            for (code, error) in [(text("c"), None), (None, text("access_denied"))] {
                let answer = Answer { code, error, issuer: text(wrong), error_description: None };
                assert!(matches!(check(false, answer), Err(ProviderFault::BadAnswer { .. })), "{wrong}");
            }
        }
        let right = Answer { code: text("c"), issuer: text("https://idp.example"), ..Answer::default() };
        assert_eq!(check(true, right).unwrap(), "c");
    }

    #[test]
    fn an_issuer_that_was_promised_must_come() {
        let answer = || Answer { code: text("c"), ..Answer::default() };
        assert!(matches!(check(true, answer()), Err(ProviderFault::BadAnswer { .. })));
        assert_eq!(check(false, answer()).unwrap(), "c");
        let error = Answer { error: text("access_denied"), ..Answer::default() };
        assert!(matches!(check(true, error), Err(ProviderFault::BadAnswer { .. })));
    }

    #[test]
    fn an_error_wins_over_a_code_and_is_cut_to_what_can_be_shown() {
        let long = format!("a\r\nb\u{1b}[31m\u{202e}{}", "x".repeat(200));
        let answer = Answer { code: text("c"), error: Some(long), ..Answer::default() };
        let Err(ProviderFault::Refused { error, .. }) = check(false, answer) else { panic!("the error was not seen") };
        assert_eq!(error.len(), 64);
        assert!(error.starts_with("ab[31mxx"), "{error}");
    }

    #[test]
    fn a_code_must_be_one() {
        for code in [None, text(""), text("a\nb"), text("ü"), Some("x".repeat(LONGEST_CODE + 1))] {
            let answer = Answer { code, ..Answer::default() };
            assert!(matches!(check(false, answer), Err(ProviderFault::BadAnswer { .. })));
        }
    }
}
