//! The handle that tests hold: what goes wrong, what was asked, and tokens of any shape.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};

use crate::demo::provider::draft::Draft;
use crate::demo::provider::guard;
use crate::demo::provider::id_token_fault::IdTokenFault;
use crate::demo::provider::keys::{self, Keys};
use crate::demo::provider::misbehaviour::{Misbehaviour, Transport};
use crate::demo::provider::options::Person;

/// Requests that are remembered; the oldest go first.
const MOST_REQUESTS: usize = 4096;

/// The provider's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/.well-known/openid-configuration`.
    Discovery,
    /// `/jwks`.
    Jwks,
    /// `/authorize`.
    Authorize,
    /// `/login`: where the login page posts to.
    Login,
    /// `/token`.
    Token,
    /// `/userinfo`.
    Userinfo,
    /// `/revoke`.
    Revoke,
    /// `/end_session`.
    EndSession,
}

/// One request that the provider got.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Which endpoint it was for.
    pub endpoint: Endpoint,
    /// Its method.
    pub method: String,
    /// Its headers in order, names in lower case; values that are no text are left out.
    pub headers: Vec<(String, String)>,
    /// The parameters of its query, then those of its form.
    pub parameters: Vec<(String, String)>,
}

impl Recorded {
    /// The first value of a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a header, asked for in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

type Mint = dyn Fn(&mut Map<String, Value>, &mut Map<String, Value>) + Send + Sync;
type Rewrite = dyn Fn(String) -> String + Send + Sync;

/// A running provider's handle. Its clones are all the same.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    faults: Mutex<Vec<Active>>,
    fired: AtomicU64,
    counts: [AtomicU64; 8],
    requests: Mutex<VecDeque<Recorded>>,
    mint: Mutex<Option<Arc<Mint>>>,
    rewrite: Mutex<Option<Arc<Rewrite>>>,
    people: Mutex<Vec<Person>>,
    targets: Mutex<Vec<String>>,
    keys: Keys,
}

struct Active {
    fault: Misbehaviour,
    once: bool,
}

impl Control {
    pub(crate) fn new(keys: Keys, people: Vec<Person>) -> Self {
        let inner = Inner {
            faults: Mutex::default(),
            fired: AtomicU64::new(0),
            counts: Default::default(),
            requests: Mutex::default(),
            mint: Mutex::default(),
            rewrite: Mutex::default(),
            people: Mutex::new(people),
            targets: Mutex::default(),
            keys,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Does this wrong the next time it can.
    pub fn once(&self, fault: impl Into<Misbehaviour>) {
        self.activate(fault.into(), true);
    }

    /// Does this wrong every time, until it is told to behave.
    pub fn always(&self, fault: impl Into<Misbehaviour>) {
        self.activate(fault.into(), false);
    }

    fn activate(&self, fault: Misbehaviour, once: bool) {
        if let Misbehaviour::Transport(_, Transport::Redirect { url, .. }) = &fault {
            guard(&self.inner.targets).push(url.clone());
        }
        guard(&self.inner.faults).push(Active { fault, once });
    }

    /// Whether a test asked for redirects to `url`: nobody else can use the provider to redirect.
    pub(crate) fn is_target(&self, url: &str) -> bool {
        guard(&self.inner.targets).iter().any(|target| target == url)
    }

    /// Does nothing wrong any more, and mints ID tokens as usual.
    pub fn behave(&self) {
        guard(&self.inner.faults).clear();
        guard(&self.inner.mint).take();
        guard(&self.inner.rewrite).take();
    }

    /// How often something was done wrong: tells a test that its misbehaviour took place.
    pub fn fired(&self) -> u64 {
        self.inner.fired.load(Ordering::Relaxed)
    }

    /// How many requests came to `endpoint`.
    pub fn count(&self, endpoint: Endpoint) -> u64 {
        self.inner.counts.get(endpoint as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// The requests that came to `endpoint`, oldest first; the last few thousand over all endpoints are kept.
    pub fn requests(&self, endpoint: Endpoint) -> Vec<Recorded> {
        guard(&self.inner.requests).iter().filter(|request| request.endpoint == endpoint).cloned().collect()
    }

    /// Forgets counts and requests.
    pub fn forget(&self) {
        for count in &self.inner.counts {
            count.store(0, Ordering::Relaxed);
        }
        self.inner.fired.store(0, Ordering::Relaxed);
        guard(&self.inner.requests).clear();
    }

    /// Hands header and claims of every ID token to `change` before it is signed by the provider's key.
    pub fn mint(&self, change: impl Fn(&mut Map<String, Value>, &mut Map<String, Value>) + Send + Sync + 'static) {
        *guard(&self.inner.mint) = Some(Arc::new(change));
    }

    /// Hands the text of every ID token to `change` after it is signed.
    pub fn rewrite(&self, change: impl Fn(String) -> String + Send + Sync + 'static) {
        *guard(&self.inner.rewrite) = Some(Arc::new(change));
    }

    /// A compact JWS of any header and claims with the provider's key: a logout token, a bearer token, an old ID token.
    /// `alg` and `kid` are put in when the header has none.
    pub fn sign(&self, header: &Map<String, Value>, claims: &Map<String, Value>) -> io::Result<String> {
        let key = self.inner.keys.current();
        let mut header = header.clone();
        header.entry("alg").or_insert_with(|| Value::from(key.algorithm()));
        header.entry("kid").or_insert_with(|| Value::from(key.id.as_str()));
        keys::compact(&key, &header, claims)
    }

    /// The same with a key that was never published, under the `kid` of the right one and `alg` RS256.
    pub fn sign_as_stranger(&self, header: &Map<String, Value>, claims: &Map<String, Value>) -> io::Result<String> {
        let key = self.inner.keys.attacker()?;
        let mut header = header.clone();
        header.entry("alg").or_insert_with(|| Value::from(key.algorithm()));
        header.entry("kid").or_insert_with(|| Value::from(self.inner.keys.current().id.as_str()));
        keys::compact(&key, &header, claims)
    }

    /// A logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4) with these claims and this `typ`, wrong in these ways.
    /// `secret` is the client's, for faults that sign with it.
    pub fn logout_token(
        &self,
        kind: Option<&str>,
        claims: &Map<String, Value>,
        faults: Vec<IdTokenFault>,
        secret: &str,
    ) -> io::Result<String> {
        let mut draft = Draft::new(self.inner.keys.current(), claims.clone());
        match kind {
            Some(kind) => drop(draft.header.insert("typ".to_owned(), Value::from(kind))),
            None => drop(draft.header.shift_remove("typ")),
        }
        for fault in faults {
            draft.spoil(fault, &self.inner.keys, secret)?;
        }
        draft.finish()
    }

    /// Puts a new signing key in the place of the published one.
    pub fn rotate_keys(&self) -> io::Result<()> {
        self.inner.keys.rotate()
    }

    /// Adds a person, or changes one who is there already; the next ID token and userinfo say so.
    pub fn put_person(&self, person: Person) {
        let mut people = guard(&self.inner.people);
        people.retain(|known| known.username != person.username);
        people.push(person);
    }

    /// Everyone who can sign in.
    pub fn people(&self) -> Vec<Person> {
        guard(&self.inner.people).clone()
    }

    pub(crate) fn person(&self, username: &str) -> Option<Person> {
        guard(&self.inner.people).iter().find(|person| person.username == username).cloned()
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    pub(crate) fn record(&self, request: Recorded) {
        if let Some(count) = self.inner.counts.get(request.endpoint as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut requests = guard(&self.inner.requests);
        if requests.len() >= MOST_REQUESTS {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    /// The active faults that `wanted` picks, in the order in which they were asked for. Those for once are gone then.
    pub(crate) fn take<T>(&self, wanted: impl Fn(&Misbehaviour) -> Option<T>) -> Vec<T> {
        let mut taken = Vec::new();
        guard(&self.inner.faults).retain(|active| match wanted(&active.fault) {
            Some(fault) => {
                taken.push(fault);
                !active.once
            }
            None => true,
        });
        self.inner.fired.fetch_add(taken.len() as u64, Ordering::Relaxed);
        taken
    }

    /// Lets the test's hook see a draft.
    pub(crate) fn hook(&self, draft: &mut Draft) {
        let mint = guard(&self.inner.mint).clone();
        if let Some(mint) = mint {
            mint(&mut draft.header, &mut draft.claims);
        }
    }

    /// Lets the test's hook see a finished token.
    pub(crate) fn rewritten(&self, token: String) -> String {
        let rewrite = guard(&self.inner.rewrite).clone();
        match rewrite {
            Some(rewrite) => rewrite(token),
            None => token,
        }
    }
}
