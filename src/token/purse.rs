//! What a worker keeps of tokens that were made or fetched, until they are about to end: one purse for each upstream and each session.

use std::cell::RefCell;
use std::sync::Arc;

use http::HeaderValue;

use crate::base::clock::Timestamp;
use crate::http::visit::SiteOrigin;

/// A header's value that is good for a while.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The value, marked sensitive.
    pub value: HeaderValue,
    /// When a new one should be had.
    pub renew: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
    /// The signer's epoch at which it was made; 0 for what others made.
    pub epoch: u64,
}

/// What is kept for one upstream. Never crosses sessions: each has its own.
#[derive(Debug, Default)]
pub struct Purse {
    /// What goes into `Authorization`.
    bearer: RefCell<Option<Pocket>>,
    /// What goes into the header of an identity preset.
    assertion: RefCell<Option<Pocket>>,
}

/// Something kept, with the site that it was made for: an assertion may name the host.
#[derive(Debug)]
struct Pocket {
    kept: Kept,
    site: Arc<SiteOrigin>,
}

/// Which of the two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Authorization`.
    Bearer,
    /// The header of an identity preset.
    Assertion,
}

impl Purse {
    const fn pocket(&self, place: Place) -> &RefCell<Option<Pocket>> {
        match place {
            Place::Bearer => &self.bearer,
            Place::Assertion => &self.assertion,
        }
    }

    /// What is kept for this site and epoch and need not be had anew yet.
    pub fn fresh(&self, place: Place, site: &Arc<SiteOrigin>, epoch: u64, now: Timestamp) -> Option<HeaderValue> {
        let pocket = self.pocket(place).borrow();
        let pocket = pocket.as_ref()?;
        let fits = now < pocket.kept.renew && pocket.kept.epoch == epoch && Arc::ptr_eq(&pocket.site, site);
        fits.then(|| pocket.kept.value.clone())
    }

    /// What is kept for this site and has not ended: for when a new one can't be had.
    pub fn last(&self, place: Place, site: &Arc<SiteOrigin>, now: Timestamp) -> Option<HeaderValue> {
        let pocket = self.pocket(place).borrow();
        let pocket = pocket.as_ref()?;
        (now < pocket.kept.ends && Arc::ptr_eq(&pocket.site, site)).then(|| pocket.kept.value.clone())
    }

    /// Keeps this.
    pub fn keep(&self, place: Place, site: &Arc<SiteOrigin>, kept: Kept) {
        self.pocket(place).replace(Some(Pocket { kept, site: Arc::clone(site) }));
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn what_is_kept_is_for_its_site_its_epoch_and_its_time() {
        let site = |url: &str| Arc::new(SiteOrigin::new(&Url::parse(url).unwrap()).unwrap());
        let (here, there) = (site("https://a.example"), site("https://b.example"));
        let at = Timestamp::from_seconds;
        let purse = Purse::default();
        let kept = Kept { value: HeaderValue::from_static("x"), renew: at(10), ends: at(20), epoch: 1 };
        purse.keep(Place::Bearer, &here, kept);
        let fresh = |site, epoch, now| purse.fresh(Place::Bearer, site, epoch, at(now)).is_some();
        assert!(fresh(&here, 1, 9));
        assert!(!fresh(&here, 1, 10) && !fresh(&here, 2, 9) && !fresh(&there, 1, 9));
        assert!(purse.fresh(Place::Assertion, &here, 1, at(9)).is_none());
        let last = |site, now| purse.last(Place::Bearer, site, at(now)).is_some();
        assert!(last(&here, 19) && !last(&here, 20) && !last(&there, 19));
    }
}
