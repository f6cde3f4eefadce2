//! Who is asking: the session that the request's cookie holds, from this worker's table or by opening it, or whom a bearer token
//! speaks for.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::at_hand::AtHand;
use super::table::Table;
use crate::base::clock::Timestamp;
use crate::base::tie::Tie;
use crate::endpoint::site::Site;
use crate::identity::headers::IdentityHeaders;
use crate::identity::principal::Principal;
use crate::identity::vouched::Vouched;
use crate::net::ready::ReadyHeaders;
use crate::session::chunks::RawSession;
use crate::session::cookie::{Broken, Opened, Reading};
use crate::session::model::Session;
use crate::session::stored::{Peek, StoredSessions};
use crate::session::ticket::Ticket;
use crate::token::purse::Purse;

/// Somebody whose credential was checked here, with what is the same for each of their requests.
#[derive(Debug)]
pub struct Recognised {
    /// What they showed.
    held: Held,
    /// An opaque name of the principal for logs.
    principal_id: String,
    /// When it ends: a session's if its cookie is not renewed.
    ends: Timestamp,
    /// The epoch of ended sessions at which this one was last known not to be among them.
    asked: Cell<u64>,
    /// When the cookie should be renewed; moved on at each renewal, so that parallel requests don't all do it.
    renew_at: Cell<Timestamp>,
    /// For each upstream, the identity headers, rendered at the first request to it.
    identity: Box<[OnceCell<ReadyHeaders>]>,
    /// What else there is to it when it lives in a store.
    at_hand: Option<Box<AtHand>>,
    /// What it has open hangs on this.
    tie: Rc<Tie>,
    watched: Cell<bool>,
    /// For each upstream, the tokens that were made or fetched for it.
    purses: Box<[Purse]>,
}

/// What somebody showed. The two never mix: a session belongs to a browser, a token to whoever sends it.
#[derive(Debug)]
enum Held {
    Session(Session),
    Bearer(Vouched),
}

/// What a request's cookies say, or its bearer token.
pub enum Credential {
    /// Nothing of ours.
    Absent,
    /// Something of ours that is of no use, and should be cleared.
    Broken(Broken),
    /// The key to a session in a store that gives no answer: nobody knows whose it is, and it is left alone.
    Unknown,
    /// A live session.
    Session(Rc<Recognised>),
    /// A bearer token that holds.
    Bearer(Rc<Recognised>),
}

impl Credential {
    /// Whom it stands for.
    pub const fn who(&self) -> Option<&Rc<Recognised>> {
        match self {
            Self::Session(who) | Self::Bearer(who) => Some(who),
            Self::Absent | Self::Broken(_) | Self::Unknown => None,
        }
    }
}

impl Recognised {
    /// `asked` is the epoch from before it was asked whether the session was ended.
    fn new(site: &Site, upstreams: usize, opened: Opened, asked: u64, now: Timestamp) -> Self {
        let session = opened.session;
        let renew_at = if opened.reseal { now } else { session.used.after(site.lifetimes.renew_after()) };
        Self {
            principal_id: session.principal.id(),
            ends: site.ends(&session),
            asked: Cell::new(asked),
            renew_at: Cell::new(renew_at),
            identity: (0..upstreams).map(|_| OnceCell::new()).collect(),
            at_hand: None,
            tie: Rc::default(),
            watched: Cell::new(false),
            purses: (0..upstreams).map(|_| Purse::default()).collect(),
            held: Held::Session(session),
        }
    }

    /// Whoever a bearer token speaks for. Nothing is ever renewed for them.
    pub fn bearer_of(vouched: Vouched, upstreams: usize) -> Self {
        Self {
            principal_id: vouched.principal.id(),
            ends: vouched.until,
            asked: Cell::new(0),
            renew_at: Cell::new(Timestamp::from_seconds(u64::MAX)),
            identity: (0..upstreams).map(|_| OnceCell::new()).collect(),
            at_hand: None,
            tie: Rc::default(),
            watched: Cell::new(false),
            purses: (0..upstreams).map(|_| Purse::default()).collect(),
            held: Held::Bearer(vouched),
        }
    }

    /// Whether the session may still be used.
    fn is_alive(&self, site: &Site, now: Timestamp) -> bool {
        now < self.ends && !self.is_ended(site)
    }

    /// Whether what it has open may stay so: that counts as use, so the idle time does not end it.
    pub(super) fn may_keep_open(&self, site: &Site, now: Timestamp) -> bool {
        self.session().is_none_or(|session| now < site.last_moment(session)) && !self.is_ended(site)
    }

    /// Whether it was ended before its time.
    fn is_ended(&self, site: &Site) -> bool {
        let epoch = site.ended.epoch();
        if self.asked.get() == epoch {
            return false;
        }
        // A bearer token is its issuer's to end.
        let is_ended = self.session().is_some_and(|session| site.ended.holds(session));
        if !is_ended {
            self.asked.set(epoch);
        }
        is_ended
    }

    /// What its leashes are of.
    pub(super) const fn tie(&self) -> &Rc<Tie> {
        &self.tie
    }

    /// Notes that it is watched from now on; whether it was not before.
    pub(super) fn begin_watch(&self) -> bool {
        !self.watched.replace(true)
    }

    pub(super) fn end_watch(&self) {
        self.watched.set(false);
    }

    /// The session; a bearer caller has none.
    pub const fn session(&self) -> Option<&Session> {
        match &self.held {
            Held::Session(session) => Some(session),
            Held::Bearer(_) => None,
        }
    }

    /// What the bearer token says; somebody with a session has none.
    pub const fn bearer(&self) -> Option<&Vouched> {
        match &self.held {
            Held::Session(_) => None,
            Held::Bearer(vouched) => Some(vouched),
        }
    }

    /// Who it is.
    pub const fn principal(&self) -> &Principal {
        match &self.held {
            Held::Session(session) => &session.principal,
            Held::Bearer(vouched) => &vouched.principal,
        }
    }

    /// When they last proved who they are, if the provider said so.
    pub const fn authenticated(&self) -> Option<Timestamp> {
        match &self.held {
            Held::Session(session) => session.authenticated,
            Held::Bearer(vouched) => vouched.authenticated,
        }
    }

    /// What else there is to it when it is a session that lives in a store.
    pub(super) fn at_hand(&self) -> Option<&AtHand> {
        self.at_hand.as_deref()
    }

    /// An opaque name of the principal for logs.
    pub fn principal_id(&self) -> &str {
        &self.principal_id
    }

    /// What is kept of the tokens for the upstream at `index`.
    pub fn purse(&self, index: usize) -> Option<&Purse> {
        self.purses.get(index)
    }

    /// The identity headers for the upstream at `index`.
    pub fn identity(&self, index: usize, headers: &IdentityHeaders, request_id: &str) -> Option<&ReadyHeaders> {
        let cell = self.identity.get(index)?;
        Some(cell.get_or_init(|| {
            let rendered = headers.render(self.principal());
            if rendered.left_out > 0 {
                tracing::warn!(
                    request_id,
                    principal = self.principal_id,
                    left_out = rendered.left_out,
                    "claims that can't be written into their identity header were left out"
                );
            }
            ReadyHeaders::new(rendered.headers)
        }))
    }
}

/// Finds out who is asking.
pub fn recognise(
    site: &Site,
    table: &Table<Recognised>,
    upstreams: usize,
    headers: &HeaderMap,
    host: &str,
    now: Timestamp,
) -> Credential {
    let raw = match site.sessions.raw(headers) {
        RawSession::Absent => return Credential::Absent,
        RawSession::Ambiguous => return Credential::Broken(Broken::Ambiguous),
        RawSession::Incomplete => return Credential::Broken(Broken::Incomplete),
        RawSession::Whole(raw) => raw,
    };
    table.meet(site.sessions.epoch());
    let keep = |recognised: &Rc<Recognised>| table.keep(host, &raw, Rc::clone(recognised));
    if let Some(known) = table.find(host, &raw) {
        if let (Some(at_hand), Some(stored)) = (known.at_hand(), &site.stored)
            && at_hand.is_due(stored, now)
            && let Some(instead) = at_hand.look(stored)
        {
            let reseal = at_hand.reseal.get();
            return from_store(site, stored, upstreams, (at_hand.ticket().clone(), instead, reseal), now, keep);
        }
        return if known.is_alive(site, now) { Credential::Session(known) } else { Credential::Broken(Broken::Ended) };
    }
    let asked = site.ended.epoch();
    match site.sessions.open(&raw, host, now) {
        Reading::Absent => Credential::Absent,
        Reading::Broken(broken) => Credential::Broken(broken),
        Reading::Open(opened) if !site.admits(&opened.session, now) => Credential::Broken(Broken::Ended),
        Reading::Open(opened) => {
            let recognised = Rc::new(Recognised::new(site, upstreams, *opened, asked, now));
            keep(&recognised);
            Credential::Session(recognised)
        }
        Reading::Stored(opened) => match &site.stored {
            Some(stored) => {
                let found = stored.peek(&opened.ticket);
                from_store(site, stored, upstreams, (opened.ticket, found, opened.reseal), now, keep)
            }
            // Whoever took the store out of the config has no use for its keys.
            None => Credential::Broken(Broken::Unreadable),
        },
    }
}

/// What is known of a session that lives in a store, as it was brought to hand.
fn from_store(
    site: &Site,
    stored: &StoredSessions,
    upstreams: usize,
    (ticket, found, reseal): (Ticket, Peek, bool),
    now: Timestamp,
    keep: impl FnOnce(&Rc<Recognised>),
) -> Credential {
    let (epoch, asked) = (stored.epoch(), site.ended.epoch());
    let kept = match found {
        Peek::Here(kept) => kept,
        Peek::Gone => return Credential::Broken(Broken::Ended),
        Peek::Unusable => return Credential::Broken(Broken::Unreadable),
        Peek::Unknown => return Credential::Unknown,
    };
    if !site.admits(kept.session(), now) {
        return Credential::Broken(Broken::Ended);
    }
    let opened = Opened { session: Session::clone(kept.session()), reseal };
    let mut recognised = Recognised::new(site, upstreams, opened, asked, now);
    recognised.at_hand = Some(Box::new(AtHand::new(ticket, kept, reseal, stored, epoch)));
    let recognised = Rc::new(recognised);
    keep(&recognised);
    Credential::Session(recognised)
}

/// A session whose cookies are to be written anew, and the cookies that the browser has now.
#[derive(Debug)]
pub struct Renewal {
    who: Rc<Recognised>,
    cookies: HeaderMap,
}

/// Whether it is time to note the session's use and to carry it to the first key. `headers` are as the visitor sent them.
pub fn renewal(who: &Rc<Recognised>, headers: &HeaderMap, now: Timestamp) -> Option<Renewal> {
    if now < who.renew_at.get() {
        return None;
    }
    let lines = headers.get_all(COOKIE).iter().map(|line| (COOKIE, line.clone()));
    Some(Renewal { who: Rc::clone(who), cookies: lines.collect() })
}

impl Renewal {
    /// The cookies, made only when the answer is there to carry them: none for a session that was ended meanwhile, so that a late
    /// answer can't undo a sign-out.
    pub fn write(self, site: &Site, host: &str, now: Timestamp) -> Vec<HeaderValue> {
        if !self.who.is_alive(site, now) {
            return Vec::new();
        }
        let Held::Session(session) = &self.who.held else { return Vec::new() };
        self.who.renew_at.set(now.after(site.lifetimes.renew_after()));
        if let (Some(at_hand), Some(stored)) = (self.who.at_hand(), &site.stored) {
            at_hand.note_use(&site.office, stored, host);
            let written = at_hand.reseal.take().then(|| {
                let created = session.created;
                site.sessions.write_ticket(at_hand.ticket(), created, &self.cookies, host, now)
            });
            return written.transpose().ok().flatten().unwrap_or_default();
        }
        let session = Session { used: now, ..session.clone() };
        site.sessions.write(&session, &self.cookies, host, now).unwrap_or_else(|error| {
            tracing::warn!(%error, "a session could not be renewed; it ends at its idle time");
            Vec::new()
        })
    }
}
