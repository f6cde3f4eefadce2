//! A development OpenID provider: a good citizen that can be told to misbehave, for the demo and for tests.
//!
//! It knows authorization code flow with PKCE, refresh, userinfo, revocation and sign-out, and signs anyone in with any
//! password, which is why it listens on loopback addresses only.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use url::Url;

use crate::base::clock::{Clock, Timestamp};
use crate::demo::listen::{self, Listening};
use crate::demo::provider::keys::Keys;
use crate::demo::provider::store::Store;

pub use crate::demo::provider::control::{Control, Endpoint, Recorded};
pub use crate::demo::provider::id_token_fault::IdTokenFault;
pub use crate::demo::provider::misbehaviour::{AnswerFault, Edit, KeysFault, Misbehaviour, Transport};
pub use crate::demo::provider::options::{
    AccessTokenForm, Client, Lifetimes, Person, ProviderOptions, Redirects, RefreshTokens, SigningAlgorithm,
};

mod authorize;
mod client_auth;
mod control;
mod der;
mod discovery;
mod draft;
mod end_session;
mod id_token;
mod id_token_fault;
mod keys;
mod login;
mod misbehaviour;
mod options;
mod page;
mod respond;
mod route;
mod store;
#[cfg(test)]
mod tests;
mod token;
mod transport;
mod upstream_tokens;
mod userinfo;

/// A running development provider. It stops when it is dropped.
pub struct DevelopmentProvider {
    address: SocketAddr,
    state: Arc<State>,
    listening: Option<Listening>,
}

/// What every request of one provider needs.
pub(crate) struct State {
    /// `iss`.
    pub(crate) issuer: String,
    /// The path of the issuer, without a slash at its end.
    pub(crate) base: String,
    /// The host and port of the issuer, as a `Host` header says them.
    pub(crate) authority: String,
    /// The name of the sign-in cookie: cookies know no ports (RFC 6265, section 8.5), so the port is part of it.
    pub(crate) cookie: String,
    /// What it was started with.
    pub(crate) options: ProviderOptions,
    /// What it remembers.
    pub(crate) store: Mutex<Store>,
    /// What it was told.
    pub(crate) control: Control,
}

impl State {
    /// The present instant.
    pub(crate) fn now(&self) -> Timestamp {
        Clock::now(&self.options.clock)
    }

    /// A client by its name.
    pub(crate) fn client(&self, id: &str) -> Option<&Client> {
        self.options.clients.iter().find(|client| client.id == id)
    }
}

/// A lock; what a panic left behind is good enough for a demo.
pub(crate) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a provider on the present Tokio runtime.
///
/// # Errors
/// When the address is not a loopback address or can't be listened on, the issuer is no URL, or no key can be made.
pub async fn start(options: ProviderOptions) -> io::Result<DevelopmentProvider> {
    let listener = listen::bind(options.listen).await?;
    let address = listener.local_addr()?;
    let issuer = options.issuer.clone().unwrap_or_else(|| format!("http://{address}"));
    let not_a_url = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("the issuer `{issuer}` is no URL"));
    let url = Url::parse(&issuer).map_err(not_a_url)?;
    let algorithm = options.signing;
    let keys = tokio::task::spawn_blocking(move || Keys::new(algorithm)).await.map_err(io::Error::other)??;
    let state = Arc::new(State {
        base: url.path().trim_end_matches('/').to_owned(),
        authority: url.authority().to_owned(),
        cookie: format!("development-provider-{}", address.port()),
        issuer,
        store: Mutex::default(),
        control: Control::new(keys, options.people.clone()),
        options,
    });
    let listening = Some(listen(listener, &state));
    Ok(DevelopmentProvider { address, state, listening })
}

fn listen(listener: TcpListener, state: &Arc<State>) -> Listening {
    let state = Arc::clone(state);
    Listening::start(listener, move |request| route::answer(Arc::clone(&state), request))
}

impl DevelopmentProvider {
    /// `iss`: `http://127.0.0.1:PORT` unless the options say otherwise.
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handle for tests.
    pub fn control(&self) -> &Control {
        &self.state.control
    }

    /// Stops it for good: closes its port, cuts its connections, forgets its keys. `start` with the same address begins anew.
    pub async fn stop(mut self) {
        self.pause().await;
    }

    /// Closes its port and cuts its connections, as if it had crashed; keys, sign-ins and tokens stay.
    pub async fn pause(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.stop().await;
        }
    }

    /// Opens the same port again after [`pause`](Self::pause).
    ///
    /// # Errors
    /// When someone else has taken the port in between.
    pub async fn resume(&mut self) -> io::Result<()> {
        if self.listening.is_none() {
            let listener = listen::bind(self.address).await?;
            self.listening = Some(listen(listener, &self.state));
        }
        Ok(())
    }
}
