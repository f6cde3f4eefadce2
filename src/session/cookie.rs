//! The session in the browser: sealed, spread over as few cookies as it needs, opened on our clock only.
//!
//! 1. What does not open is no session, and is cleared: never an error, never half a session.
//! 2. A seal is bound to the cookie's name, the site's host and the number of cookies.
//! 3. Lifetimes are checked when a session is opened. `Max-Age` only tidies up: it is the browser's to keep or ignore.
//! 4. One answer never sets one name twice (RFC 6265bis, section 4.1.1), and clears only what the browser really sent.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};

use super::chunks::{self, RawSession};
use super::encode::{self, NotEncodable};
use super::model::{Lifetimes, Session};
use super::names::{CookieKind, CookieNames, MAX_CHUNKS};
use super::set_cookie::{self, Unwritable};
use super::ticket::Ticket;
use crate::base::clock::Timestamp;
use crate::config::settings::SessionSettings;
use crate::http::cookie_scan;
use crate::seal::aead::{OVERHEAD, Purpose, SealError};
use crate::seal::keyring::Keyring;

/// Reads and writes the session's cookies on one site.
#[derive(Clone, Debug)]
pub struct SessionCookies {
    keyring: Arc<Keyring>,
    names: CookieNames,
    lifetimes: Lifetimes,
    limit: usize,
    secure: bool,
}

/// What the browser's cookies say.
#[derive(Debug, PartialEq)]
pub enum Reading {
    /// There are none.
    Absent,
    /// There are some, and they are no session: the visitor is anonymous, and the answer should clear them.
    Broken(Broken),
    /// A session, alive.
    Open(Box<Opened>),
    /// The key to a session in a store, which may be there or not.
    Stored(Box<OpenedTicket>),
}

/// Why cookies are no session. For logs; a visitor is told nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// One name came with two values, so somebody else may have set one. Another sign-in may meet the same cookies again,
    /// so answer with a page rather than with a redirect that could go round in circles.
    #[error("a session cookie came twice with different values")]
    Ambiguous,
    /// Pieces are missing, or there are more than a session may have.
    #[error("the session's cookies are not complete")]
    Incomplete,
    /// The seal does not open here: another site, or not ours at all.
    #[error("the session's seal does not open")]
    Unreadable,
    /// The seal names a key that is not known here: one that has left, or one that another gateway has and we have not yet.
    #[error("the session is sealed with a key that is not known here")]
    UnknownKey,
    /// It was a session, and its idle or absolute lifetime is over.
    #[error("the session has ended")]
    Ended,
}

/// A session from the browser's cookies.
#[derive(Debug, PartialEq)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// Whether the answer should write it anew, with [`Session::used`] set to now: because the time of last use has grown
    /// old, or because a key opened it that is no longer the first.
    pub reseal: bool,
}

/// A ticket from the browser's cookies.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenedTicket {
    /// The ticket.
    pub ticket: Ticket,
    /// Whether the answer should write it anew, because a key opened it that is no longer the first.
    pub reseal: bool,
}

/// The session does not fit into the cookies it may have.
#[derive(Debug, thiserror::Error)]
#[error(
    "the session would take {bytes} bytes of cookies and may have {limit}; most of it is {biggest} ({biggest_bytes} bytes); \
     keep sessions in a store (`session.store`), ask the provider for less, or raise `session.max_cookie_bytes` and the header limits \
     of every proxy on the way"
)]
pub struct SessionTooLarge {
    /// What it would take, names included.
    pub bytes: usize,
    /// What it may have.
    pub limit: usize,
    /// The part that takes most.
    pub biggest: &'static str,
    /// What that part takes before compression.
    pub biggest_bytes: usize,
}

/// Why a session was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It is too large.
    #[error(transparent)]
    TooLarge(#[from] SessionTooLarge),
    /// It can't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The cookies' name can't be written.
    #[error(transparent)]
    Name(#[from] Unwritable),
}

impl SessionCookies {
    /// Cookies as `settings` say, sealed with `keyring`. `secure` says that browsers reach this site over TLS.
    pub fn new(keyring: Arc<Keyring>, settings: &SessionSettings, secure: bool) -> Self {
        Self {
            keyring,
            names: CookieNames::new(&settings.cookie_name, secure),
            lifetimes: Lifetimes { idle: settings.idle, absolute: settings.lifetime },
            limit: settings.max_cookie_bytes,
            secure,
        }
    }

    /// The keys that seal them.
    pub(super) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The names, for whoever strips our cookies on the way to an upstream.
    pub const fn names(&self) -> &CookieNames {
        &self.names
    }

    /// How often the keys were replaced: what was opened at another epoch must be opened anew.
    pub fn epoch(&self) -> u64 {
        self.keyring.epoch()
    }

    /// See [`CookieNames::is_ours`].
    pub fn is_ours(&self, name: &[u8]) -> bool {
        self.names.is_ours(name)
    }

    /// The session's cookies as they came, not opened. Equal bytes on one site are the same session, so they can be the
    /// key of a table of opened sessions.
    pub fn raw<'a>(&self, headers: &'a HeaderMap) -> RawSession<'a> {
        chunks::gather(&self.names, headers, self.limit)
    }

    /// What the browser's cookies say at `now`, on the site with this host.
    pub fn read(&self, headers: &HeaderMap, site_host: &str, now: Timestamp) -> Reading {
        match self.raw(headers) {
            RawSession::Absent => Reading::Absent,
            RawSession::Ambiguous => Reading::Broken(Broken::Ambiguous),
            RawSession::Incomplete => Reading::Broken(Broken::Incomplete),
            RawSession::Whole(joined) => self.open(&joined, site_host, now),
        }
    }

    /// Opens the bytes of [`RawSession::Whole`].
    pub fn open(&self, joined: &[u8], site_host: &str, now: Timestamp) -> Reading {
        let Some((plain, by_first_key)) = self.unseal(joined, site_host) else {
            let broken = if self.lacks_key_of(joined) { Broken::UnknownKey } else { Broken::Unreadable };
            return Reading::Broken(broken);
        };
        if let Some(ticket) = Ticket::decode(&plain) {
            return Reading::Stored(Box::new(OpenedTicket { ticket, reseal: !by_first_key }));
        }
        let Some(session) = encode::decode(&plain) else { return Reading::Broken(Broken::Unreadable) };
        if !self.lifetimes.is_alive(&session, now) {
            return Reading::Broken(Broken::Ended);
        }
        let reseal = !by_first_key || now.since(session.used) >= self.lifetimes.renew_after();
        Reading::Open(Box::new(Opened { session, reseal }))
    }

    /// The `Set-Cookie` values that put `session` into the browser that sent `headers`, and clear what it holds of a
    /// longer session before.
    ///
    /// # Errors
    /// When the session is larger than its cookies may be, or can't be sealed.
    pub fn write(
        &self,
        session: &Session,
        headers: &HeaderMap,
        site_host: &str,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, WriteError> {
        let plain = encode::encode(session).map_err(|NotEncodable| self.too_large(session, encode::MAX_UNFOLDED))?;
        let life = self.lifetimes.ends(session).since(now);
        self.put(&plain, headers, site_host, life, |bytes| self.too_large(session, bytes))
    }

    /// Whether `session` is small enough for its cookies. One that is by a few bytes may not be when it is written, since its time of last
    /// use is another then.
    ///
    /// # Errors
    /// When it is not.
    pub fn fits(&self, session: &Session) -> Result<(), SessionTooLarge> {
        let plain = encode::encode(session).map_err(|NotEncodable| self.too_large(session, encode::MAX_UNFOLDED))?;
        self.count_for(plain.len()).map(drop).map_err(|bytes| self.too_large(session, bytes))
    }

    /// The `Set-Cookie` values that put the key to a stored session into the browser that sent `headers`. They stay for as long as the
    /// session may last at the most: when it ends is told by the session itself.
    ///
    /// # Errors
    /// When it can't be sealed.
    pub fn write_ticket(
        &self,
        ticket: &Ticket,
        created: Timestamp,
        headers: &HeaderMap,
        site_host: &str,
        now: Timestamp,
    ) -> Result<Vec<HeaderValue>, WriteError> {
        let life = created.after(self.lifetimes.absolute).since(now);
        let too_large = |bytes| SessionTooLarge { bytes, limit: self.limit, biggest: "its key", biggest_bytes: bytes };
        self.put(&ticket.encode(), headers, site_host, life, too_large)
    }

    fn put(
        &self,
        plain: &[u8],
        headers: &HeaderMap,
        site_host: &str,
        life: Duration,
        too_large: impl Fn(usize) -> SessionTooLarge,
    ) -> Result<Vec<HeaderValue>, WriteError> {
        let room = self.room();
        let count = self.count_for(plain.len()).map_err(too_large)?;

        let sealed = self.keyring.seal(Purpose::Session, &self.context(site_host, &[count_byte(count)]), plain)?;
        let text = chunks::prefix(count) + &URL_SAFE_NO_PAD.encode(sealed);
        let mut cookies = Vec::with_capacity(count);
        for (index, piece) in chunks::split(&text, room).into_iter().enumerate() {
            cookies.push(set_cookie::set(&self.names.chunk(index), piece, self.secure, life)?);
        }
        cookies.extend(self.clear_from(count, headers));
        Ok(cookies)
    }

    /// How many bytes of a value each cookie takes.
    fn room(&self) -> usize {
        set_cookie::room(self.names.chunk(MAX_CHUNKS).len())
    }

    /// How many cookies that many bytes take when they are sealed, or how many bytes there would be if that is too much.
    fn count_for(&self, plain: usize) -> Result<usize, usize> {
        let room = self.room();
        let length = ((plain + OVERHEAD) * 4).div_ceil(3);
        let names_length = |count: usize| -> usize { (0..count).map(|index| self.names.chunk(index).len() + 1).sum() };
        let bytes_of = |count: usize| names_length(count) + chunks::prefix(count).len() + length;
        let count = chunks::count_for(length, room).filter(|&count| bytes_of(count) <= self.limit);
        count.ok_or_else(|| bytes_of(length.div_ceil(room.max(1))))
    }

    /// The `Set-Cookie` values that clear every cookie of a session that the browser sent.
    pub fn clear(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        self.clear_from(0, headers).collect()
    }

    fn clear_from(&self, first: usize, headers: &HeaderMap) -> impl Iterator<Item = HeaderValue> {
        let mut sent = [false; MAX_CHUNKS];
        for (name, _) in cookie_scan::pairs(headers) {
            if let Some(CookieKind::Session(index)) = self.names.kind(name)
                && let Some(slot) = sent.get_mut(index)
            {
                *slot = true;
            }
        }
        let sent = sent.into_iter().enumerate().skip(first).filter(|(_, sent)| *sent);
        sent.filter_map(|(index, _)| set_cookie::clear(&self.names.chunk(index), self.secure))
    }

    /// Whether the session of these headers is sealed with a key that is not known here.
    pub fn lacks_key(&self, headers: &HeaderMap) -> bool {
        matches!(self.raw(headers), RawSession::Whole(joined) if self.lacks_key_of(&joined))
    }

    fn lacks_key_of(&self, joined: &[u8]) -> bool {
        let sealed = chunks::split_prefix(joined).and_then(|(_, text)| URL_SAFE_NO_PAD.decode(text).ok());
        sealed.is_some_and(|sealed| self.keyring.lacks_key_of(&sealed))
    }

    fn unseal(&self, joined: &[u8], site_host: &str) -> Option<(Vec<u8>, bool)> {
        let (count, text) = chunks::split_prefix(joined)?;
        let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let opened = self.keyring.open(Purpose::Session, &self.context(site_host, &[count_byte(count)]), &sealed)?;
        Some((opened.plain, opened.by_first_key))
    }

    fn context<'a>(&'a self, site_host: &'a str, count: &'a [u8; 1]) -> [&'a [u8]; 3] {
        [self.names.session().as_bytes(), site_host.as_bytes(), count]
    }

    fn too_large(&self, session: &Session, bytes: usize) -> SessionTooLarge {
        let (biggest, biggest_bytes) = biggest_part(session);
        SessionTooLarge { bytes, limit: self.limit, biggest, biggest_bytes }
    }
}

/// A count as the seal binds it. Counts are below 65, so none is cut short.
fn count_byte(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

fn biggest_part(session: &Session) -> (&'static str, usize) {
    let token = |token: &Option<String>| token.as_ref().map_or(0, String::len);
    let names = |names: &[String]| names.iter().map(String::len).sum();
    let claims = serde_json::to_string(&session.principal.claims).map_or(0, |text| text.len());
    let parts = [
        ("the access token", token(&session.tokens.access_token)),
        ("the refresh token", token(&session.tokens.refresh_token)),
        ("the ID token", token(&session.tokens.id_token)),
        ("the list of groups", names(&session.principal.groups)),
        ("the list of roles", names(&session.principal.roles)),
        ("the claims", claims),
    ];
    parts.into_iter().max_by_key(|(_, bytes)| *bytes).unwrap_or(("the session", 0))
}
