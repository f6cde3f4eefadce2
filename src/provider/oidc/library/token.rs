//! The token requests, built and read by the crate, sent by us.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use http::StatusCode;
use openidconnect::core::{CoreErrorResponseType, CoreTokenResponse};
use openidconnect::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientSecret, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    OAuth2TokenResponse as _, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, StandardErrorResponse,
    TokenUrl,
};
use secrecy::ExposeSecret as _;

use super::super::client_auth::Credentials;
use super::super::discovery::Metadata;
use super::super::redeem::{TokenEndpoint, TokenFault};
use super::{Client, Unreadable, client};
use crate::config::settings::ProviderSettings;
use crate::session::flow::Pending;
use crate::session::model::Granted;

/// Why the call inside the crate failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the call failed")]
    Call(TokenFault),
    #[error("the answer can't be handed on")]
    Answer(StatusCode),
}

/// Redeems a code with the same redirect URI as in the request (RFC 6749, section 4.1.3) and the PKCE verifier.
pub(in super::super) async fn redeem(
    settings: &ProviderSettings,
    metadata: &Metadata,
    pending: &Pending,
    code: String,
    credentials: Credentials,
    endpoint: &TokenEndpoint<'_>,
) -> Result<Granted, TokenFault> {
    let client = authenticated(settings, metadata, &credentials, endpoint)?;
    let redirect = RedirectUrl::new(pending.redirect_uri.clone()).map_err(|_| endpoint.nonsense(None))?;
    let answer = client
        .exchange_code(AuthorizationCode::new(code))
        .set_redirect_uri(Cow::Owned(redirect))
        .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()))
        .request_async(&Sender { endpoint })
        .await;
    granted(answer, endpoint)
}

/// Sends a refresh token. No scope is named, so that what was granted stays granted (RFC 6749, section 6).
pub(in super::super) async fn refresh(
    settings: &ProviderSettings,
    metadata: &Metadata,
    refresh_token: &str,
    credentials: Credentials,
    endpoint: &TokenEndpoint<'_>,
) -> Result<Granted, TokenFault> {
    let client = authenticated(settings, metadata, &credentials, endpoint)?;
    let token = RefreshToken::new(refresh_token.to_owned());
    let answer = client.exchange_refresh_token(&token).request_async(&Sender { endpoint }).await;
    granted(answer, endpoint)
}

fn authenticated(
    settings: &ProviderSettings,
    metadata: &Metadata,
    credentials: &Credentials,
    endpoint: &TokenEndpoint<'_>,
) -> Result<Client<EndpointNotSet, EndpointSet>, TokenFault> {
    let client = client(settings).map_err(|Unreadable| endpoint.nonsense(None))?;
    let client = client.set_token_uri(TokenUrl::from_url(metadata.token.clone()));
    Ok(match credentials {
        // The crate form-encodes id and secret before it joins them (RFC 6749, section 2.3.1).
        Credentials::Basic(secret) => client
            .set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
            .set_auth_type(AuthType::BasicAuth),
        Credentials::Post(secret) => client
            .set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
            .set_auth_type(AuthType::RequestBody),
        Credentials::Public => client.set_auth_type(AuthType::RequestBody),
    })
}

type Outcome = Result<CoreTokenResponse, RequestTokenError<Failed, StandardErrorResponse<CoreErrorResponseType>>>;

fn granted(outcome: Outcome, endpoint: &TokenEndpoint<'_>) -> Result<Granted, TokenFault> {
    let answer = outcome.map_err(|error| match error {
        RequestTokenError::Request(Failed::Call(fault)) => fault,
        RequestTokenError::Request(Failed::Answer(status)) => endpoint.nonsense(Some(status)),
        RequestTokenError::ServerResponse(error) => TokenFault::Refused(error.error().as_ref().to_owned()),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => endpoint.nonsense(None),
    })?;
    Ok(Granted {
        access_token: answer.access_token().secret().clone(),
        refresh_token: answer.refresh_token().map(|token| token.secret().clone()),
        scopes: answer.scopes().map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect()),
        expires_in: answer.expires_in().map(|span| span.as_secs()),
        // Base64url was checked to be canonical, so that the crate's text of the token is the one that came.
        id_token: answer.extra_fields().id_token().map(ToString::to_string),
        asked: endpoint.asked,
    })
}

/// Our client as the crate wants to see it.
struct Sender<'a> {
    endpoint: &'a TokenEndpoint<'a>,
}

impl<'c> AsyncHttpClient<'c> for Sender<'_> {
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Failed>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Sender<'_> {
    /// Sends what the crate made to the endpoint that we chose.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Failed> {
        let (head, body) = request.into_parts();
        let answer = self.endpoint.post(head.headers, body.into()).await.map_err(Failed::Call)?;
        if answer.status != StatusCode::OK && answer.body.is_empty() {
            return Err(Failed::Answer(answer.status));
        }
        let mut response = HttpResponse::new(answer.body.to_vec());
        *response.status_mut() = answer.status;
        Ok(response)
    }
}
