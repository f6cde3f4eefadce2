//! Who is asking: the session that the request's cookie holds, from this worker's table or by opening it, or whom a bearer token
//! speaks for.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;

use super::at_hand::AtHand;
use super::table::Table;
use crate::base::clock::Timestamp;
use crate::base::tie::Tie;
use crate::endpoint::refreshing::{Settled, settle};
use crate::endpoint::site::Site;
use crate::identity::headers::IdentityHeaders;
use crate::identity::principal::Principal;
use crate::identity::vouched::Vouched;
use crate::net::ready::ReadyHeaders;
use crate::session::chunks::RawSession;
use crate::session::cookie::{Broken, Reading};
use crate::session::model::Session;
use crate::session::refresh::flight::Flight;
use crate::session::refresh::refreshes::NOT_IN_THE_BROWSER;
use crate::session::stored::{Peek, Place, StoredSessions};
use crate::session::ticket::Ticket;
use crate::token::purse::Purse;

/// Somebody whose credential was checked here, with what is the same for each of their requests.
#[derive(Debug)]
pub struct Recognised {
    /// What they showed.
    held: Held,
    /// An opaque name of the principal for logs, worked out when the first line is written.
    principal_id: OnceCell<String>,
    /// When it ends: a session's if its cookie is not renewed.
    ends: Timestamp,
    /// The epoch of ended sessions at which this one was last known not to be among them.
    asked: Cell<u64>,
    /// When to look again whether a refresh is due or was made. Until then, and at the same epoch, requests need not ask.
    look_again: Cell<Timestamp>,
    looked: Cell<u64>,
    /// When its refresh is due; the end of time when there is nothing to refresh.
    due: Timestamp,
    /// When the cookie should be renewed; moved on at each renewal, so that parallel requests don't all do it.
    pub(super) renew_at: Cell<Timestamp>,
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
    /// The newest text of the session that was known when it was last looked at, and the version of the text in the cookie.
    Session(Arc<Session>, u32),
    Bearer(Box<Vouched>),
}

/// What a request's cookies say, or its bearer token.
pub enum Credential {
    /// Nothing of ours.
    Absent,
    /// Something of ours that is of no use, and should be cleared.
    Broken(Broken),
    /// A session that is superseded, or that the provider ended. Its cookies are left alone: by now the browser may hold newer ones.
    Over,
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
            Self::Absent | Self::Broken(_) | Self::Over | Self::Unknown => None,
        }
    }
}

/// What a request's cookies say, and what there is to wait for.
pub struct Recognition {
    /// What they say.
    pub credential: Credential,
    /// The refresh of the session, whose access token is over.
    pub flight: Option<Flight>,
}

impl From<Credential> for Recognition {
    fn from(credential: Credential) -> Self {
        Self { credential, flight: None }
    }
}

impl Recognised {
    /// The session that a cookie with the text of version `carried` led to. `reseal` says that its cookie is to be written anew in any
    /// case, `upstreams` how many there are, `asked` is the epoch from before it was asked whether the session was ended.
    pub(super) fn new(
        site: &Site,
        upstreams: usize,
        settled: Settled,
        (carried, reseal): (u32, Option<Timestamp>),
        asked: u64,
    ) -> Self {
        let Settled { session, look_again, .. } = settled;
        let wanted = reseal.unwrap_or_else(|| session.used.after(site.lifetimes.renew_after()));
        let due = site.refreshes.due(&session);
        // Another gateway may refresh the session from `earliest` on. Our own writing of what is older must not come after its newer one, so
        // this one waits for the refresh here, which writes the cookie anyway.
        let renew_at = due.map_or(wanted, |due| if wanted >= due.earliest { wanted.max(due.at) } else { wanted });
        Self {
            principal_id: OnceCell::new(),
            ends: site.ends(&session),
            asked: Cell::new(asked),
            look_again: Cell::new(look_again),
            looked: Cell::new(site.refreshes.epoch()),
            due: due.map_or(Timestamp::from_seconds(u64::MAX), |due| due.at),
            renew_at: Cell::new(renew_at),
            identity: (0..upstreams).map(|_| OnceCell::new()).collect(),
            at_hand: None,
            tie: Rc::default(),
            watched: Cell::new(false),
            purses: (0..upstreams).map(|_| Purse::default()).collect(),
            held: Held::Session(session, carried),
        }
    }

    /// The same person with a newer text of the session.
    pub(super) fn with_newer(&self, site: &Site, settled: Settled, asked: u64) -> Self {
        let carried = self.carried().map_or(NOT_IN_THE_BROWSER, |(_, carried)| carried);
        let newer = Self::new(site, self.identity.len(), settled, (carried, None), asked);
        Self { at_hand: self.at_hand.clone(), ..newer }
    }

    /// Where its session was found, at the site with this host.
    pub(super) fn place<'a>(&'a self, host: &'a str) -> Place<'a> {
        Place { host, ticket: self.at_hand().map(AtHand::ticket) }
    }

    /// Whoever a bearer token speaks for. Nothing is ever renewed for them.
    pub fn bearer_of(vouched: Vouched, upstreams: usize) -> Self {
        Self {
            principal_id: OnceCell::new(),
            ends: vouched.until,
            asked: Cell::new(0),
            look_again: Cell::new(Timestamp::from_seconds(u64::MAX)),
            looked: Cell::new(0),
            due: Timestamp::from_seconds(u64::MAX),
            renew_at: Cell::new(Timestamp::from_seconds(u64::MAX)),
            identity: (0..upstreams).map(|_| OnceCell::new()).collect(),
            at_hand: None,
            tie: Rc::default(),
            watched: Cell::new(false),
            purses: (0..upstreams).map(|_| Purse::default()).collect(),
            held: Held::Bearer(Box::new(vouched)),
        }
    }

    /// Whether the session may still be used.
    pub(super) fn is_alive(&self, site: &Site, now: Timestamp) -> bool {
        now < self.ends && !self.is_ended(site)
    }

    /// Whether what it has open may stay so: that counts as use, so the idle time does not end it.
    pub(super) fn may_keep_open(&self, site: &Site, now: Timestamp) -> bool {
        let stays = |session: &Session| now < site.last_moment(session) && !site.refreshes.is_refused(session);
        self.session().is_none_or(stays) && !self.is_ended(site)
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

    /// Whether a refresh may have been made, or may be due.
    fn needs_a_look(&self, site: &Site, now: Timestamp) -> bool {
        now >= self.look_again.get() || self.looked.get() != site.refreshes.epoch()
    }

    /// Whether the cookie's text may not be the newest when the answer is there.
    pub(super) fn may_be_renewed(&self, now: Timestamp) -> bool {
        now >= self.due || matches!(&self.held, Held::Session(session, carried) if *carried < session.version)
    }

    /// The session, to be shared, and the version of the text in the cookie.
    pub(super) const fn carried(&self) -> Option<(&Arc<Session>, u32)> {
        match &self.held {
            Held::Session(session, carried) => Some((session, *carried)),
            Held::Bearer(_) => None,
        }
    }

    /// The session; a bearer caller has none.
    pub fn session(&self) -> Option<&Session> {
        match &self.held {
            Held::Session(session, _) => Some(session),
            Held::Bearer(_) => None,
        }
    }

    /// What the bearer token says; somebody with a session has none.
    pub fn bearer(&self) -> Option<&Vouched> {
        match &self.held {
            Held::Session(..) => None,
            Held::Bearer(vouched) => Some(vouched),
        }
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        match &self.held {
            Held::Session(session, _) => &session.principal,
            Held::Bearer(vouched) => &vouched.principal,
        }
    }

    /// When they last proved who they are, if the provider said so.
    pub fn authenticated(&self) -> Option<Timestamp> {
        match &self.held {
            Held::Session(session, _) => session.authenticated,
            Held::Bearer(vouched) => vouched.authenticated,
        }
    }

    /// What else there is to it when it is a session that lives in a store.
    pub(super) fn at_hand(&self) -> Option<&AtHand> {
        self.at_hand.as_deref()
    }

    /// An opaque name of the principal for logs.
    pub fn principal_id(&self) -> &str {
        self.principal_id.get_or_init(|| self.principal().id())
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
                    principal = self.principal_id(),
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
) -> Recognition {
    let raw = match site.sessions.raw(headers) {
        RawSession::Absent => return Credential::Absent.into(),
        RawSession::Ambiguous => return Credential::Broken(Broken::Ambiguous).into(),
        RawSession::Incomplete => return Credential::Broken(Broken::Incomplete).into(),
        RawSession::Whole(raw) => raw,
    };
    table.meet(site.sessions.epoch());
    let keep = |recognised: &Rc<Recognised>| table.keep(host, &raw, Rc::clone(recognised));
    if let Some(known) = table.find(host, &raw) {
        if let (Some(at_hand), Some(stored)) = (known.at_hand(), &site.stored)
            && at_hand.is_due(stored, now)
            && let Some(peek) = at_hand.look(stored)
        {
            let found = Found { host, ticket: at_hand.ticket().clone(), peek, reseal: at_hand.reseal.get() };
            return from_store(site, stored, upstreams, found, now, keep);
        }
        if !known.is_alive(site, now) {
            return Credential::Broken(Broken::Ended).into();
        }
        if !known.needs_a_look(site, now) {
            return Credential::Session(known).into();
        }
        return look_again(site, known, host, now, keep);
    }
    let asked = site.ended.epoch();
    match site.sessions.open(&raw, host, now) {
        Reading::Absent => Credential::Absent.into(),
        Reading::Broken(broken) => Credential::Broken(broken).into(),
        Reading::Open(opened) if !site.admits(&opened.session, now) => Credential::Broken(Broken::Ended).into(),
        Reading::Open(opened) => {
            let (session, reseal) = (Arc::new(opened.session), opened.reseal.then_some(now));
            let carried = session.version;
            let Some(settled) = settle(site, &session, carried, Place { host, ticket: None }, now) else {
                return Credential::Over.into();
            };
            if !site.admits(&settled.session, now) {
                return Credential::Broken(Broken::Ended).into();
            }
            let flight = settled.flight.clone();
            let recognised = Rc::new(Recognised::new(site, upstreams, settled, (carried, reseal), asked));
            keep(&recognised);
            Recognition { credential: Credential::Session(recognised), flight }
        }
        Reading::Stored(opened) => match &site.stored {
            Some(stored) => {
                let peek = stored.peek(&opened.ticket);
                let found = Found { host, ticket: opened.ticket, peek, reseal: opened.reseal };
                from_store(site, stored, upstreams, found, now, keep)
            }
            // Whoever took the store out of the config has no use for its keys.
            None => Credential::Broken(Broken::Unreadable).into(),
        },
    }
}

/// What is known of a session that lives in a store, as it was brought to hand.
struct Found<'a> {
    host: &'a str,
    ticket: Ticket,
    peek: Peek,
    reseal: bool,
}

fn from_store(
    site: &Site,
    stored: &StoredSessions,
    upstreams: usize,
    found: Found<'_>,
    now: Timestamp,
    keep: impl FnOnce(&Rc<Recognised>),
) -> Recognition {
    let (epoch, asked) = (stored.epoch(), site.ended.epoch());
    let Found { host, ticket, peek, reseal } = found;
    let kept = match peek {
        Peek::Here(kept) => kept,
        Peek::Gone => return Credential::Broken(Broken::Ended).into(),
        Peek::Unusable => return Credential::Broken(Broken::Unreadable).into(),
        Peek::Unknown => return Credential::Unknown.into(),
    };
    if !site.admits(kept.session(), now) {
        return Credential::Broken(Broken::Ended).into();
    }
    let place = Place { host, ticket: Some(&ticket) };
    let Some(settled) = settle(site, kept.session(), NOT_IN_THE_BROWSER, place, now) else {
        return Credential::Over.into();
    };
    let flight = settled.flight.clone();
    let carried = (NOT_IN_THE_BROWSER, reseal.then_some(now));
    let mut recognised = Recognised::new(site, upstreams, settled, carried, asked);
    recognised.at_hand = Some(Box::new(AtHand::new(ticket, kept, reseal, stored, epoch)));
    let recognised = Rc::new(recognised);
    keep(&recognised);
    Recognition { credential: Credential::Session(recognised), flight }
}

/// A session that was recognised before, whose refresh may be due or made.
fn look_again(
    site: &Site,
    known: Rc<Recognised>,
    host: &str,
    now: Timestamp,
    keep: impl FnOnce(&Rc<Recognised>),
) -> Recognition {
    let (epoch, asked) = (site.refreshes.epoch(), site.ended.epoch());
    let Some((session, carried)) = known.carried() else { return Credential::Session(known).into() };
    let Some(settled) = settle(site, session, carried, known.place(host), now) else {
        return Credential::Over.into();
    };
    let flight = settled.flight.clone();
    if Arc::ptr_eq(&settled.session, session) {
        known.look_again.set(settled.look_again);
        known.looked.set(epoch);
        return Recognition { credential: Credential::Session(known), flight };
    }
    if !site.admits(&settled.session, now) {
        return Credential::Broken(Broken::Ended).into();
    }
    let newer = Rc::new(known.with_newer(site, settled, asked));
    keep(&newer);
    Recognition { credential: Credential::Session(newer), flight }
}
