//! The token request, built and read by the crate, sent by us.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

use http::StatusCode;
use openidconnect::{
    AsyncHttpClient, AuthType, AuthorizationCode, ClientSecret, HttpRequest, HttpResponse, OAuth2TokenResponse as _,
    PkceCodeVerifier, RedirectUrl, RequestTokenError, TokenUrl,
};
use secrecy::ExposeSecret as _;

use super::super::client_auth::Credentials;
use super::super::discovery::Metadata;
use super::super::redeem::{Redeemed, TokenEndpoint};
use super::{Unreadable, client};
use crate::config::settings::ProviderSettings;
use crate::provider::ProviderFault;
use crate::session::flow::Pending;

/// Why the call inside the crate failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the call failed")]
    Call(ProviderFault),
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
) -> Result<Redeemed, ProviderFault> {
    let unreadable = |Unreadable| endpoint.nonsense(None);
    let mut client = client(settings).map_err(unreadable)?.set_token_uri(TokenUrl::from_url(metadata.token.clone()));
    match &credentials {
        // The crate form-encodes id and secret before it joins them (RFC 6749, section 2.3.1).
        Credentials::Basic(secret) => {
            client = client
                .set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
                .set_auth_type(AuthType::BasicAuth);
        }
        Credentials::Post(secret) => {
            client = client
                .set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
                .set_auth_type(AuthType::RequestBody);
        }
        Credentials::Public => client = client.set_auth_type(AuthType::RequestBody),
    }
    let redirect = RedirectUrl::new(pending.redirect_uri.clone()).map_err(|_| endpoint.nonsense(None))?;
    let answer = client
        .exchange_code(AuthorizationCode::new(code))
        .set_redirect_uri(Cow::Owned(redirect))
        .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()))
        .request_async(&Sender { endpoint })
        .await
        .map_err(|error| match error {
            RequestTokenError::Request(Failed::Call(fault)) => fault,
            RequestTokenError::Request(Failed::Answer(status)) => endpoint.nonsense(Some(status)),
            RequestTokenError::ServerResponse(error) => endpoint.refusal(error.error().as_ref()),
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => endpoint.nonsense(None),
        })?;
    // Base64url was checked to be canonical, so that the crate's text of the token is the one that came.
    let id_token = answer.extra_fields().id_token().ok_or_else(|| endpoint.nonsense(None))?.to_string();
    Ok(Redeemed {
        access_token: answer.access_token().secret().clone(),
        refresh_token: answer.refresh_token().map(|token| token.secret().clone()),
        scopes: answer.scopes().map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect()),
        expires_in: answer.expires_in().map(|span| span.as_secs()),
        id_token,
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
