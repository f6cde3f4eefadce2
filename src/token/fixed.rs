//! A credential of the gateway's own that stands in the config or a file, and is written into every request to its upstream.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::config::secret::SecretError;
use crate::config::settings::{StaticScheme, StaticSettings};

/// A credential as it stands now.
#[derive(Debug)]
pub struct StaticCredential {
    settings: StaticSettings,
    value: ArcSwap<HeaderValue>,
}

/// Why a credential can't be used. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum StaticFault {
    /// Its secret can't be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It has a character that no header carries.
    #[error("the secret from {0} has a character that can't stand in a header")]
    Unwritable(String),
}

impl StaticCredential {
    /// The credential of these settings, read now.
    ///
    /// # Errors
    /// When its secret can't be read or written.
    pub fn load(settings: &StaticSettings) -> Result<Self, StaticFault> {
        let value = write(settings, &settings.secret.read()?)?;
        Ok(Self { settings: settings.clone(), value: ArcSwap::from_pointee(value) })
    }

    /// What it was made of.
    pub const fn settings(&self) -> &StaticSettings {
        &self.settings
    }

    /// Takes another secret.
    ///
    /// # Errors
    /// When it can't be written; the old one stays in use.
    pub fn replace(&self, secret: &SecretString) -> Result<(), StaticFault> {
        self.value.store(Arc::new(write(&self.settings, secret)?));
        Ok(())
    }

    /// The header that it goes into.
    pub const fn header(&self) -> &HeaderName {
        &self.settings.header
    }

    /// What it says there, marked sensitive.
    pub fn value(&self) -> HeaderValue {
        HeaderValue::clone(&self.value.load())
    }

    /// Takes every header out that an upstream may take for this one: the visitor's word would stand beside ours.
    pub fn clear(&self, headers: &mut HeaderMap) {
        let name = folded(&self.settings.header);
        let twins: Vec<HeaderName> = headers.keys().filter(|known| folded(known) == name).cloned().collect();
        for twin in twins {
            headers.remove(twin);
        }
    }
}

fn folded(name: &HeaderName) -> String {
    name.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

fn write(settings: &StaticSettings, secret: &SecretString) -> Result<HeaderValue, StaticFault> {
    let secret = secret.expose_secret();
    let text = Zeroizing::new(match &settings.scheme {
        StaticScheme::Bearer => format!("Bearer {secret}"),
        // RFC 7617, section 2, with UTF-8 (section 2.1).
        StaticScheme::Basic(user) => {
            format!("Basic {}", STANDARD.encode(Zeroizing::new(format!("{user}:{secret}")).as_bytes()))
        }
        StaticScheme::Plain => secret.to_owned(),
    });
    let printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let value = HeaderValue::from_str(&text).ok().filter(|_| printable);
    let mut value = value.ok_or_else(|| StaticFault::Unwritable(settings.secret.origin()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::config::secret::SecretSource;

    fn credential(header: HeaderName, scheme: StaticScheme, secret: &str) -> Result<StaticCredential, StaticFault> {
        let secret = SecretSource::Inline(SecretString::from(secret.to_owned()));
        StaticCredential::load(&StaticSettings { header, scheme, secret })
    }

    #[test]
    fn each_scheme_writes_its_own_and_none_shows_in_debug() {
        let key = HeaderName::from_static("x-api-key");
        for (header, scheme, expected) in [
            (AUTHORIZATION, StaticScheme::Bearer, "Bearer hush hush"),
            (AUTHORIZATION, StaticScheme::Basic("svc".to_owned()), "Basic c3ZjOmh1c2ggaHVzaA=="),
            (key, StaticScheme::Plain, "hush hush"),
        ] {
            let credential = credential(header, scheme, "hush hush").unwrap();
            assert_eq!(credential.value(), expected);
            assert!(!format!("{credential:?}").contains("hush"));
            credential.replace(&SecretString::from("other".to_owned())).unwrap();
            assert_ne!(credential.value(), expected);
        }
    }

    #[test]
    fn what_fits_no_header_is_refused_and_the_old_one_stays() {
        for bad in ["a\r\nX: y", "\u{f6}", "a\0"] {
            let error = credential(AUTHORIZATION, StaticScheme::Bearer, bad).unwrap_err().to_string();
            assert!(error.contains("the config") && !error.contains("X: y"), "{error}");
        }
        let good = credential(AUTHORIZATION, StaticScheme::Bearer, "good").unwrap();
        assert!(good.replace(&SecretString::from("a\nb".to_owned())).is_err());
        assert_eq!(good.value(), "Bearer good");
    }

    #[test]
    fn nothing_stands_beside_it_under_another_spelling() {
        let mut headers = HeaderMap::new();
        for name in ["x-api-key", "x_api_key", "x.api_key", "x-api-keys"] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("visitor"));
        }
        credential(HeaderName::from_static("x-api-key"), StaticScheme::Plain, "ours").unwrap().clear(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-api-keys"]);
    }
}
