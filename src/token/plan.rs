//! What one upstream gets to prove who asks, compiled.

use std::sync::Arc;

use http::HeaderName;

use super::assertion::{Assertion, Surroundings};
use super::fixed::{StaticCredential, StaticFault};
use crate::config::settings::{
    AssertionSettings, ClientCredentialsSettings, ExchangeSettings, ResourceSettings, SubjectToken, TokenSettings,
    UpstreamSettings,
};
use crate::identity::preset::{PresetError, Presets};
use crate::jose::algorithm::Algorithm;

/// What one upstream gets.
#[derive(Debug)]
pub struct TokenPlan {
    /// What goes into `Authorization`, or the header of a static credential.
    pub bearer: Bearer,
    /// The header of its identity preset for that kind of token, which gets the token too, without `Bearer`.
    pub beside: Option<HeaderName>,
    /// The signed token in the header of its identity preset.
    pub assertion: Option<Assertion>,
}

/// What goes into `Authorization`.
#[derive(Debug)]
pub enum Bearer {
    /// The visitor's own, as it came.
    Visitors,
    /// A token of the session.
    Session(SubjectToken),
    /// A token that the gateway signs.
    Assertion(Box<Assertion>),
    /// A token that is fetched.
    Fetched(Box<Wanted>),
    /// A credential of the gateway's own.
    Static(Arc<StaticCredential>),
}

/// A token that is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// For one of the session.
    Exchange(ExchangeSettings),
    /// For a resource.
    Resource(ResourceSettings),
    /// For the gateway itself.
    ClientCredentials(ClientCredentialsSettings),
}

/// Why an upstream's tokens can't be compiled.
#[derive(Debug, thiserror::Error)]
pub enum TokenPlanError {
    /// The presets themselves can't be read.
    #[error(transparent)]
    Presets(#[from] PresetError),
    /// The static credential can't be used.
    #[error(transparent)]
    Static(#[from] StaticFault),
    /// The header of the static credential says who asks.
    #[error("the header `{0}` is set by `identity` or `headers` already")]
    Taken(HeaderName),
    /// There is no shape for an assertion, since the preset of our own is gone.
    #[error("there is no shape for assertions")]
    NoShape,
}

/// A name as an upstream may read it: with `_` and `.` taken for `-`.
fn folded(name: &HeaderName) -> String {
    name.as_str().replace(['_', '.'], "-")
}

impl TokenPlan {
    /// The tokens of one upstream.
    ///
    /// # Errors
    /// When a secret can't be read.
    pub fn compile(settings: &UpstreamSettings, surroundings: &Surroundings) -> Result<Self, TokenPlanError> {
        let presets = Presets::built_in()?;
        let ours = presets.our_assertion().ok_or(TokenPlanError::NoShape)?;
        let preset = presets.get(&settings.identity);
        let shape = preset.and_then(|preset| preset.assertion.as_ref());
        let is_sent = settings.assertion.is_some() || shape.is_some_and(|shape| shape.always);
        let own = settings.assertion.clone().unwrap_or_default();
        let assertion = is_sent.then(|| Assertion::compile(shape.unwrap_or(ours), &own, surroundings.clone()));
        let sign = |own: &AssertionSettings| Box::new(Assertion::compile(ours, own, surroundings.clone()));
        let access = preset.and_then(|preset| preset.access_token.clone());
        let (bearer, beside) = match &settings.token {
            TokenSettings::None => (Bearer::Visitors, None),
            TokenSettings::AccessToken => (Bearer::Session(SubjectToken::AccessToken), access),
            TokenSettings::IdToken => {
                (Bearer::Session(SubjectToken::IdToken), preset.and_then(|preset| preset.id_token.clone()))
            }
            TokenSettings::Assertion(own) => (Bearer::Assertion(sign(own)), None),
            TokenSettings::Exchange(wanted) => (Bearer::Fetched(Box::new(Wanted::Exchange(wanted.clone()))), access),
            TokenSettings::Resource(wanted) => (Bearer::Fetched(Box::new(Wanted::Resource(wanted.clone()))), access),
            TokenSettings::ClientCredentials(wanted) => {
                (Bearer::Fetched(Box::new(Wanted::ClientCredentials(wanted.clone()))), None)
            }
            TokenSettings::Static(credential) => (Bearer::Static(Arc::new(StaticCredential::load(credential)?)), None),
        };
        // What the config sets itself under such a name is what is wanted there.
        let is_own = |name: &HeaderName| settings.headers.iter().any(|(own, _)| folded(own) == folded(name));
        let beside = beside.filter(|name| !is_own(name));
        let assertion = assertion.filter(|assertion| !is_own(assertion.header()));
        if let Bearer::Static(credential) = &bearer {
            let name = credential.header();
            let is_taken = preset.is_some_and(|preset| preset.may_set(name)) || is_own(name);
            if is_taken {
                return Err(TokenPlanError::Taken(name.clone()));
            }
        }
        Ok(Self { bearer, beside, assertion })
    }

    /// The algorithms of its assertions.
    pub fn algorithms(&self) -> impl Iterator<Item = Option<Algorithm>> {
        let bearer = if let Bearer::Assertion(assertion) = &self.bearer { Some(assertion.algorithm()) } else { None };
        bearer.into_iter().chain(self.assertion.as_ref().map(Assertion::algorithm))
    }
}
