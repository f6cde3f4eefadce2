//! Where each configured provider is at home, so that one provider's metadata can't have our secret or tokens sent to another's host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use url::{Origin, Url};

use crate::config::settings::ProviderSettings;

/// The homes of all configured providers; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    homes: Arc<Mutex<BTreeMap<Arc<str>, Home>>>,
}

#[derive(Debug)]
struct Home {
    issuer: Origin,
    token_endpoint: Option<Origin>,
}

impl Neighbours {
    /// The homes of these providers. Give it all of a config's providers, so that the order of their making means nothing.
    pub fn of(providers: &[ProviderSettings]) -> Self {
        let homes = providers.iter().filter_map(|settings| {
            let issuer = Url::parse(&settings.issuer).ok()?.origin();
            Some((Arc::clone(&settings.name), Home { issuer, token_endpoint: None }))
        });
        Self { homes: Arc::new(Mutex::new(homes.collect())) }
    }

    /// The provider whose issuer is at `endpoint`, if it is another than `own` and not at the same issuer's host: two
    /// clients or tenants at one host are no strangers to each other.
    pub fn stranger_at(&self, own: &str, own_issuer: &Origin, endpoint: &Origin) -> Option<Arc<str>> {
        let homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        strangers(&homes, own, own_issuer, endpoint)
            .find(|(_, home)| home.issuer == *endpoint)
            .map(|(name, _)| Arc::clone(name))
    }

    /// Notes that `own` redeems codes at `endpoint`, unless that is a stranger's issuer or token endpoint.
    ///
    /// # Errors
    /// Gives the stranger's name; nothing is noted then.
    pub fn settle(&self, own: &Arc<str>, own_issuer: &Origin, endpoint: &Origin) -> Result<(), Arc<str>> {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        let stranger = strangers(&homes, own, own_issuer, endpoint)
            .find(|(_, home)| home.issuer == *endpoint || home.token_endpoint.as_ref() == Some(endpoint))
            .map(|(name, _)| Arc::clone(name));
        if let Some(stranger) = stranger {
            return Err(stranger);
        }
        if let Some(home) = homes.get_mut(own) {
            home.token_endpoint = Some(endpoint.clone());
        }
        drop(homes);
        Ok(())
    }
}

/// The other providers; none when `endpoint` is at our own issuer, where our secret is at home anyway.
fn strangers<'a>(
    homes: &'a BTreeMap<Arc<str>, Home>,
    own: &'a str,
    own_issuer: &'a Origin,
    endpoint: &Origin,
) -> impl Iterator<Item = (&'a Arc<str>, &'a Home)> {
    let at_home = endpoint == own_issuer;
    homes.iter().filter(move |(name, home)| !at_home && name.as_ref() != own && home.issuer != *own_issuer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Url::parse(text).unwrap().origin()
    }

    fn homes(pairs: &[(&str, &str)]) -> Neighbours {
        let homes = pairs
            .iter()
            .map(|(name, issuer)| (Arc::from(*name), Home { issuer: origin(issuer), token_endpoint: None }))
            .collect();
        Neighbours { homes: Arc::new(Mutex::new(homes)) }
    }

    #[test]
    fn nobody_settles_at_another_issuer_or_its_token_endpoint() {
        let (bad, good): (Arc<str>, Arc<str>) = (Arc::from("bad"), Arc::from("good"));
        let (bad_home, good_home) = (origin("https://bad.example"), origin("https://good.example"));
        let all = homes(&[("bad", "https://bad.example"), ("good", "https://good.example/realm")]);
        assert_eq!(all.settle(&bad, &bad_home, &good_home), Err(Arc::clone(&good)));
        assert_eq!(all.stranger_at("bad", &bad_home, &good_home), Some(Arc::clone(&good)));
        let tokens = origin("https://tokens.good.example");
        assert_eq!(all.settle(&good, &good_home, &tokens), Ok(()));
        assert_eq!(all.settle(&bad, &bad_home, &tokens), Err(good));
        assert_eq!(all.settle(&bad, &bad_home, &bad_home), Ok(()));
    }

    #[test]
    fn two_clients_at_one_issuer_share_its_endpoints() {
        let (one, two): (Arc<str>, Arc<str>) = (Arc::from("one"), Arc::from("two"));
        let (home, tokens) = (origin("https://idp.example"), origin("https://tokens.example"));
        let all = homes(&[("one", "https://idp.example/a"), ("two", "https://idp.example/b")]);
        assert_eq!(all.settle(&one, &home, &tokens), Ok(()));
        assert_eq!(all.settle(&two, &home, &tokens), Ok(()));
    }
}
