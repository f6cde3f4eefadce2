//! Signing keys and static credentials that stand in files, looked at every few seconds: a changed file counts without a restart.

use std::sync::Weak;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::config::secret::{SecretError, SecretSource};
use crate::token::fixed::StaticCredential;
use crate::token::signer::{Signer, SigningKeys};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How long a changed file must stay the same before it counts, so that one that is being written is not taken for whole.
const SETTLE: Duration = Duration::from_millis(250);

/// Gives a signer the keys of `sources` whenever these have changed, until it is gone. Ends at once when no source is a file.
pub async fn watch_signer(signer: Weak<Signer>, sources: Vec<SecretSource>) {
    watch(signer, sources, "the signing keys", |signer: &Signer, texts| {
        let keys = SigningKeys::of(texts, signer.needed()).map_err(|error| error.to_string())?;
        if !signer.holds(&keys) {
            signer.replace(keys);
        }
        Ok(())
    })
    .await;
}

/// Gives a credential its secret whenever that has changed, until it is gone. Ends at once when it stands in no file.
pub async fn watch_static(credential: Weak<StaticCredential>, source: SecretSource) {
    watch(credential, vec![source], "a static credential", |credential: &StaticCredential, texts| {
        let Some(secret) = texts.first() else { return Ok(()) };
        credential.replace(secret).map_err(|error| error.to_string())
    })
    .await;
}

async fn watch<T: Send + Sync>(
    target: Weak<T>,
    sources: Vec<SecretSource>,
    what: &str,
    apply: impl Fn(&T, &[SecretString]) -> Result<(), String>,
) {
    if !sources.iter().any(|source| matches!(source, SecretSource::File(_))) {
        return;
    }
    let Some(Ok(mut known)) = read(&sources).await else { return };
    let mut told: Option<String> = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let found = settled(&sources, &known).await;
        let Some(target) = target.upgrade() else { return };
        let outcome = match found {
            None => continue,
            Some(Ok(texts)) if is_same(&texts, &known) => Ok(false),
            Some(Ok(texts)) => apply(&target, &texts).map(|()| {
                known = texts;
                true
            }),
            Some(Err(error)) => Err(error.to_string()),
        };
        match outcome {
            Ok(true) => tracing::info!("{what} changed"),
            Ok(false) => {}
            Err(text) => {
                if told.as_ref() != Some(&text) {
                    tracing::error!("{what} can't be read anew, so what was there before stays in use: {text}");
                }
                told = Some(text);
                continue;
            }
        }
        told = None;
    }
}

/// Looks once, and once more a moment later when anything is new; nothing while a file is being written.
async fn settled(sources: &[SecretSource], known: &[SecretString]) -> Option<Result<Vec<SecretString>, SecretError>> {
    let first = read(sources).await?;
    if first.as_ref().is_ok_and(|texts| is_same(texts, known)) {
        return Some(first);
    }
    tokio::time::sleep(SETTLE).await;
    let second = read(sources).await?;
    match (&first, &second) {
        (Ok(one), Ok(other)) if !is_same(one, other) => None,
        (Err(_), Ok(_)) => None,
        _ => Some(second),
    }
}

async fn read(sources: &[SecretSource]) -> Option<Result<Vec<SecretString>, SecretError>> {
    let sources = sources.to_vec();
    tokio::task::spawn_blocking(move || sources.iter().map(SecretSource::read).collect()).await.ok()
}

fn is_same(one: &[SecretString], other: &[SecretString]) -> bool {
    one.iter().map(ExposeSecret::expose_secret).eq(other.iter().map(ExposeSecret::expose_secret))
}
