//! The checked settings of a route's rule: who may pass, as typed values.

use std::time::Duration;

use ipnet::IpNet;
use regex::Regex;

use super::expression::Expression;

/// Who may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everyone, signed in or not.
    Everyone,
    /// Everyone who is signed in.
    SignedIn,
    /// Those who meet every key of one of these tables.
    AnyOf(Vec<Conditions>),
}

/// One table of a rule: the keys that are present are and-ed, the values of a key are any-of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Names of providers.
    pub providers: Option<Vec<String>>,
    /// Accounts, each at one provider.
    pub accounts: Option<Vec<Account>>,
    /// Groups, compared exactly.
    pub groups: Option<Vec<String>>,
    /// Roles, compared exactly.
    pub roles: Option<Vec<String>>,
    /// Scopes that the provider granted (RFC 6749, section 3.3), compared exactly.
    pub scopes: Option<Vec<String>>,
    /// Verified email addresses.
    pub emails: Option<Vec<String>>,
    /// Domains of verified email addresses; `example.com` does not admit `sub.example.com`.
    pub email_domains: Option<Vec<String>>,
    /// Any other claims; all of them have to fit.
    pub claims: Vec<ClaimCondition>,
    /// Certificates that the client showed in its handshake with us: `sha256:…`, `dns:…`, `email:…`, `uri:…` or `subject:…`.
    pub client_certificate: Option<Vec<String>>,
    /// Networks that the real client's address is in.
    pub networks: Option<Vec<IpNet>>,
    /// Authentication context classes of the sign-in (`OpenID` Connect Core 1.0, section 2).
    pub acr: Option<Vec<String>>,
    /// Authentication methods of the sign-in (RFC 8176).
    pub amr: Option<Vec<String>>,
    /// The longest time since the person last proved to the provider who they are. Whole seconds.
    pub max_age: Option<Duration>,
    /// What the other keys can't say.
    pub expression: Option<Expression>,
}

impl Conditions {
    /// Whether a key asks about the person, so that somebody has to sign in.
    pub fn asks_who(&self) -> bool {
        let circumstances = Self {
            client_certificate: self.client_certificate.clone(),
            networks: self.networks.clone(),
            expression: self.expression.clone().filter(|expression| !expression.asks_who()),
            ..Self::default()
        };
        *self != circumstances
    }
}

/// One account: a subject at a provider (`OpenID` Connect Core 1.0, section 5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The provider's name in our config.
    pub provider: String,
    /// The subject there.
    pub subject: String,
}

/// What one claim has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimCondition {
    /// Where it stands in the claims: names from the outside in. Never empty.
    pub path: Vec<String>,
    /// What it has to be; all of these. Never empty.
    pub tests: Vec<ClaimTest>,
}

/// What a claim has to be. A claim of another shape never fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimTest {
    /// One of these values: `equals` and `one_of`.
    OneOf(Vec<Scalar>),
    /// A list with one of these in it.
    Contains(Vec<Scalar>),
    /// A text that the pattern matches from its first character to its last.
    Matches(Pattern),
}

/// A single value of a claim. Values of different kinds are never equal: `"1"` is not `1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Text, compared byte for byte.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Bool(bool),
}

/// A regular expression, compiled: its engine's time grows with the text alone, never with what the text is.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    whole: Regex,
}

impl Pattern {
    /// The longest expression, in bytes.
    pub const MAX_SOURCE: usize = 1024;
    /// What one expression may grow to when it is compiled, in bytes.
    const MAX_COMPILED: usize = 256 * 1024;

    /// Compiles an expression so that it matches whole texts only.
    ///
    /// # Errors
    /// What is wrong with the expression, in one line.
    pub fn new(source: &str) -> Result<Self, String> {
        if source.len() > Self::MAX_SOURCE {
            return Err(format!("this pattern is longer than {} bytes", Self::MAX_SOURCE));
        }
        let build = |text: &str| regex::RegexBuilder::new(text).size_limit(Self::MAX_COMPILED).build();
        // By itself first: `a)|(b` would be well-formed inside the brackets below, and match parts.
        build(source).map_err(|error| one_line(&error))?;
        let whole = build(&format!(r"\A(?:{source})\z")).map_err(|error| one_line(&error))?;
        Ok(Self { source: source.to_owned(), whole })
    }

    /// Whether it matches `text` from its first character to its last.
    pub fn is_match(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// The engine's own message has several lines, of which the last says what is wrong.
fn one_line(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "this pattern grows too large when it is compiled".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("this is no pattern: {}", last.trim_start_matches("error: "))
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_texts_only() {
        let pattern = Pattern::new("team-[0-9]+|root").unwrap();
        for (text, expected) in [
            ("team-1", true),
            ("root", true),
            ("xteam-1", false),
            ("team-1x", false),
            ("team-1\n", false),
            ("root\nteam-1", false),
            ("roots", false),
            ("", false),
        ] {
            assert_eq!(pattern.is_match(text), expected, "{text:?}");
        }
        assert!(!Pattern::new("(?m)^a$").unwrap().is_match("b\na"), "lines are no way around");
    }

    #[test]
    fn what_is_no_pattern_by_itself_is_none() {
        for bad in ["(", "a)|(b", "[", r"\p{nonsense}", "(?=a)", r"(a)\1", "a{1000}{1000}", "(?x) a # b"] {
            let problem = Pattern::new(bad).unwrap_err();
            assert!(!problem.contains('\n') && problem.starts_with("this "), "{bad}: {problem}");
        }
        assert!(Pattern::new(&"a".repeat(Pattern::MAX_SOURCE + 1)).is_err());
    }

    #[test]
    fn the_time_of_a_match_grows_with_the_text_alone() {
        let pattern = Pattern::new("(a*)*(a*)*(a*)*b").unwrap();
        assert!(!pattern.is_match(&"a".repeat(60_000)));
    }
}
