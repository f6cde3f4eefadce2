//! Where `openidconnect`'s types end: metadata, requests and ID tokens go in and come out as our own types.
//!
//! The crate gets only what was looked at before: JSON with each member once, tokens of printable ASCII, endpoints that were
//! checked. Its error messages quote what they read, so none of them leaves this room. Its own keys, and with them the `rsa`
//! crate, are never used: see `key`.

mod key;
mod metadata;
mod token;
mod verify;

pub(super) use metadata::parse_metadata;
pub(super) use token::{redeem, refresh};
pub(super) use verify::{IdTokenFault, verify_id_token};

use std::borrow::Cow;
use std::collections::BTreeMap;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse,
    CoreTokenResponse,
};
use openidconnect::{
    AuthUrl, ClientId, CsrfToken, EmptyAdditionalClaims, EndpointNotSet, IssuerUrl, JsonWebKeySet, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, StandardErrorResponse,
};

use self::key::VerifyingKey;
use super::discovery::Metadata;
use crate::config::settings::ProviderSettings;
use crate::session::flow::Pending;

/// Something that the crate can't read. Its message would quote what it read, so it isn't kept.
#[derive(Debug)]
pub(super) struct Unreadable;

/// The crate's client with our keys in place of its own.
type Client<HasAuthUrl = EndpointNotSet, HasTokenUrl = EndpointNotSet> = openidconnect::Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    VerifyingKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    CoreTokenResponse,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    HasAuthUrl,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    HasTokenUrl,
    EndpointNotSet,
>;

fn client(settings: &ProviderSettings) -> Result<Client, Unreadable> {
    let issuer = IssuerUrl::new(settings.issuer.clone()).map_err(|_| Unreadable)?;
    // Keys are given to each verification one by one, never to the client.
    Ok(Client::new(ClientId::new(settings.client_id.clone()), issuer, JsonWebKeySet::default()))
}

/// The URL that asks for a sign-in. `parameters` has no name that the crate sets itself.
pub(super) fn authorization_url(
    settings: &ProviderSettings,
    metadata: &Metadata,
    pending: &Pending,
    parameters: &BTreeMap<Cow<'_, str>, Cow<'_, str>>,
) -> Result<String, Unreadable> {
    let client = client(settings)?.set_auth_uri(AuthUrl::from_url(metadata.authorization.clone()));
    let redirect = RedirectUrl::new(pending.redirect_uri.clone()).map_err(|_| Unreadable)?;
    let verifier = PkceCodeVerifier::new(pending.verifier.clone());
    let (state, nonce) = (CsrfToken::new(pending.state.clone()), Nonce::new(pending.nonce.clone()));
    // The crate adds `openid` by itself.
    let scopes = settings.scopes.iter().filter(|scope| *scope != "openid").cloned().map(Scope::new);
    let mut request = client
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
        .set_redirect_uri(Cow::Owned(redirect))
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
        .add_scopes(scopes);
    for (name, value) in parameters {
        request = request.add_extra_param(name.clone(), value.clone());
    }
    let (url, _state, _nonce) = request.url();
    Ok(url.into())
}
