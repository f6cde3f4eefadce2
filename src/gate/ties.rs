//! What sessions have open on this worker for longer than a request takes: WebSockets, streamed answers, uploads. They are cut when
//! their session ends.
//!
//! 1. A session is watched from its first leash until a look finds none left, so an ordinary request costs a flag and two counts.
//! 2. Once a second all watched sessions are looked at, and sooner when marks on ended sessions came ([`Ties::look`]).
//! 3. What is open counts as use, so the idle time ends nothing here; an end before its time, the provider's word at a refresh, the
//!    lifetime and `max_age` do.

use std::cell::RefCell;
use std::rc::Rc;

use super::credential::Recognised;
use crate::base::tie::Leash;
use crate::endpoint::site::Site;

/// The sessions of this worker that may have something open.
#[derive(Debug, Default)]
pub struct Ties {
    watched: RefCell<Vec<Rc<Recognised>>>,
}

impl Ties {
    /// A leash for something that `who` may keep open for long.
    pub fn leash(&self, who: &Rc<Recognised>) -> Leash {
        if who.begin_watch() {
            self.watched.borrow_mut().push(Rc::clone(who));
        }
        Leash::of(who.tie())
    }

    /// Cuts what sessions have open that are over.
    pub fn look(&self, site: &Site) {
        let now = site.clock.now();
        let mut over = Vec::new();
        self.watched.borrow_mut().retain(|who| {
            let open = Rc::strong_count(who.tie()) - 1;
            let stays = open > 0 && who.may_keep_open(site, now);
            if !stays {
                who.end_watch();
                if open > 0 {
                    over.push((Rc::clone(who), open));
                }
            }
            stays
        });
        // Whoever is woken may ask for a leash, which takes the list.
        for (who, open) in over {
            tracing::info!(principal = who.principal_id(), open, "a session is over; what it had open is closed");
            who.tie().cut();
        }
    }
}
