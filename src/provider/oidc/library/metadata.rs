//! A provider's metadata by the crate's reading of `OpenID` Connect Discovery 1.0, section 3.

use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{AdditionalProviderMetadata, ProviderMetadata};
use serde::{Deserialize, Serialize};

use super::Unreadable;
use super::key::VerifyingKey;

/// Endpoints as the document has them, not yet checked.
#[derive(Debug)]
pub(in super::super) struct RawMetadata {
    pub(in super::super) authorization: String,
    pub(in super::super) token: Option<String>,
    pub(in super::super) userinfo: Option<String>,
    pub(in super::super) jwks: String,
    pub(in super::super) end_session: Option<String>,
    pub(in super::super) revocation: Option<String>,
    pub(in super::super) answers_with_issuer: bool,
    pub(in super::super) takes_claims: bool,
}

/// What later documents added to the metadata.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Additions {
    /// RP-Initiated Logout 1.0, section 2.1.
    end_session_endpoint: Option<String>,
    /// RFC 8414, section 2.
    revocation_endpoint: Option<String>,
    /// RFC 9207, section 3.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Additions {}

type Document = ProviderMetadata<
    Additions,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    VerifyingKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// Reads a metadata document.
pub(in super::super) fn parse_metadata(text: &[u8]) -> Result<RawMetadata, Unreadable> {
    let document: Document = serde_json::from_slice(text).map_err(|_| Unreadable)?;
    let additions = document.additional_metadata();
    Ok(RawMetadata {
        authorization: document.authorization_endpoint().to_string(),
        token: document.token_endpoint().map(ToString::to_string),
        userinfo: document.userinfo_endpoint().map(ToString::to_string),
        jwks: document.jwks_uri().to_string(),
        end_session: additions.end_session_endpoint.clone(),
        revocation: additions.revocation_endpoint.clone(),
        takes_claims: document.claims_parameter_supported().unwrap_or(false),
        answers_with_issuer: additions.authorization_response_iss_parameter_supported,
    })
}
