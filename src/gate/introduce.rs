//! How a visitor is introduced to an upstream besides who they are: forwarding headers and host, made once for a client and site
//! and kept, because most requests of a connection share them.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use super::edge::Admitted;
use crate::http::forwarded::forwarding;
use crate::http::visit::SiteOrigin;
use crate::net::ready::ReadyHeaders;

/// Introductions that are kept; a power of two.
const PLACES: usize = 256;

/// Ready headers for one client and site.
#[derive(Clone)]
pub struct Introduction {
    /// `X-Forwarded-*` and `Forwarded`.
    pub forwarding: Rc<ReadyHeaders>,
    /// `Host` as the visitor asked for it.
    pub host: HeaderValue,
}

struct Kept {
    client: Option<IpAddr>,
    proxies: Vec<IpAddr>,
    site: Arc<SiteOrigin>,
    introduction: Introduction,
}

/// The introductions of one worker, each in the place that its client's address leads to.
#[derive(Default)]
pub struct Introductions {
    places: RefCell<Vec<Option<Kept>>>,
}

impl Introductions {
    /// The introduction for this request.
    pub fn of(&self, admitted: &Admitted) -> Introduction {
        let mut places = self.places.borrow_mut();
        if places.is_empty() {
            places.resize_with(PLACES, || None);
        }
        let place = place(admitted.visit.client);
        if let Some(Some(kept)) = places.get(place)
            && kept.fits(admitted)
        {
            return kept.introduction.clone();
        }
        let kept = Kept::new(admitted);
        let introduction = kept.introduction.clone();
        if let Some(slot) = places.get_mut(place) {
            *slot = Some(kept);
        }
        introduction
    }
}

impl Kept {
    fn new(admitted: &Admitted) -> Self {
        let visit = &admitted.visit;
        Self {
            client: visit.client,
            proxies: admitted.proxies.clone(),
            site: Arc::clone(&visit.site),
            introduction: Introduction {
                forwarding: Rc::new(forwarding(&visit.site, visit.client, &admitted.proxies)),
                host: visit.site.host_header().clone(),
            },
        }
    }

    fn fits(&self, admitted: &Admitted) -> bool {
        self.client == admitted.visit.client
            && Arc::ptr_eq(&self.site, &admitted.visit.site)
            && self.proxies == admitted.proxies
    }
}

fn place(client: Option<IpAddr>) -> usize {
    let bits = match client {
        None => 0,
        Some(IpAddr::V4(address)) => u64::from(address.to_bits()),
        Some(IpAddr::V6(address)) => {
            address.segments().into_iter().fold(0, |bits: u64, segment| bits.rotate_left(16) ^ u64::from(segment))
        }
    };
    // Fibonacci hashing spreads neighbouring addresses; the top bits are the spread ones.
    (bits.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as usize
}
