//! Saying yes to a proxy that asks about a request of its own: what its upstream gets to know, so that it is told just what we would
//! have told it.

use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::bearer::DPOP;
use super::csrf::CSRF_TOKEN;
use super::handle::Gate;
use super::lacking::{Lacking, collect, lacking};
use super::pass::{Passage, target};
use super::plan::UpstreamPlan;
use super::record::Record;
use super::renewal;
use crate::config::settings::CsrfCheck;
use crate::forward::request_out::Authorization;
use crate::forward::rewrite::Uncut;
use crate::http::cookie_scan;
use crate::page::answer::REQUEST_ID;

/// Headers that a proxy is told besides those of the person: usually no more than these.
const MORE_HEADERS: usize = 8;

/// What a proxy has to do to a request that may pass, and to its answer.
pub struct Vouched<'g> {
    /// Headers to set, in place of any of these names: who asks, and the request's name. No `Authorization`, no `Cookie`.
    pub identity: HeaderMap,
    /// The only `Authorization` that the upstream may see; none when absent.
    pub authorization: Option<HeaderValue>,
    /// The only `Cookie` that the upstream may see: the visitor's without ours; none when absent.
    pub cookie: Option<HeaderValue>,
    /// Further headers of the visitor that go no further: a proof of possession (RFC 9449), what stands where ours does.
    pub cleared: Vec<HeaderName>,
    /// `Set-Cookie` lines for the visitor: a session that was renewed.
    pub renewed: Vec<HeaderValue>,
    /// The upstream that is told all this.
    pub upstream: &'g UpstreamPlan,
}

/// Why a request that may pass can't be vouched for.
pub enum Unvouched<'a> {
    /// Its path can't be rewritten as its route says, so that it would be refused on its way through us.
    OddPath,
    /// Whoever asks has nothing that could stand in the path where its route puts it.
    NoPath,
    /// Its upstream would have to go without a token.
    Lacking(Lacking<'a>),
}

impl Gate {
    /// What the upstream of an admitted request gets to know. `parts` is the request as the edge left it; its own `Authorization` and
    /// `Cookie` are taken out of it.
    ///
    /// # Errors
    /// When the request would be refused on its way through us.
    pub async fn vouch<'g, 'p>(
        &'g self,
        passage: &Passage<'p>,
        parts: &mut Parts,
        record: &mut Record,
    ) -> Result<Vouched<'g>, Unvouched<'p>> {
        let Passage { admitted, route, who, now } = passage;
        let visit = &admitted.visit;
        let missing = || Unvouched::Lacking(Lacking::Token);
        let upstream = self.plan.upstreams.get(route.upstream).ok_or_else(missing)?;
        match target(passage) {
            Ok(_) => {}
            Err(Uncut::Path) => {
                record.decided("malformed");
                return Err(Unvouched::OddPath);
            }
            Err(Uncut::Value(_)) => {
                record.decided("no_path");
                return Err(Unvouched::NoPath);
            }
        }
        let site = &self.plan.site;
        let renewal = who.as_ref().and_then(|who| renewal::renewal(who, route, &parts.headers, *now));
        let papers = collect(self, passage, upstream, parts)
            .await
            .map_err(|error| Unvouched::Lacking(lacking(passage, upstream, &error, record)))?;
        let headers = &mut parts.headers;
        let mut cleared = Vec::new();
        if who.as_ref().is_some_and(|who| who.bearer().is_some()) {
            cleared.push(DPOP.clone());
        }
        if route.csrf == Some(CsrfCheck::Token) && headers.contains_key(&CSRF_TOKEN) {
            cleared.push(CSRF_TOKEN.clone());
        }
        let mut authorization = match papers.authorization {
            Authorization::Visitors => headers.remove(AUTHORIZATION),
            Authorization::Ours(value) => Some(value),
            Authorization::Nobodys => None,
        };
        cookie_scan::strip(headers, |name| site.sessions.is_ours(name));
        let known = who.as_ref().and_then(|who| who.identity(route.upstream, &upstream.identity, &visit.request_id));
        let mut identity = known.map_or_else(HeaderMap::new, |known| known.map(MORE_HEADERS));
        identity.extend(papers.headers.into_iter().flatten());
        if let Some(credential) = &papers.credential {
            let before: Vec<HeaderName> = headers.keys().cloned().collect();
            credential.clear(headers);
            cleared.extend(before.into_iter().filter(|name| !headers.contains_key(name)));
            if *credential.header() == AUTHORIZATION {
                authorization = Some(credential.value());
            } else {
                identity.insert(credential.header().clone(), credential.value());
            }
        }
        if let Ok(value) = HeaderValue::from_str(&visit.request_id) {
            identity.insert(REQUEST_ID, value);
        }
        let renewed = renewal.map(|renewal| renewal.write(site, visit.site.host(), site.clock.now()));
        Ok(Vouched {
            identity,
            authorization,
            cookie: headers.remove(COOKIE),
            cleared,
            renewed: renewed.unwrap_or_default(),
            upstream,
        })
    }
}
