//! WebSocket upgrades: after the upstream's 101 both connections become one tunnel, bytes passed both ways as they come.
//!
//! The upstream's side is HTTP/1.1 (RFC 6455). The visitor's is that, or one stream of an HTTP/2 connection (RFC 8441), where there
//! is no key to answer: we make one, and check the upstream's answer to it.

use std::any::Any;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, Request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional_with_sizes};

use crate::base::random;
use crate::base::tally::{Counted, Tally};
use crate::base::tie::Leash;
use crate::net::hints::Hints;
use crate::net::stream::Stream;

/// Bytes kept for each direction of a tunnel.
const TUNNEL_BUFFER: usize = 8 * 1024;

static UPGRADE_TOKEN: HeaderValue = HeaderValue::from_static("Upgrade");
static WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
static VERSION: HeaderValue = HeaderValue::from_static("13");

/// Something that lives for as long as a tunnel does: what keeps count of the streams on the visitor's connection.
#[derive(Clone)]
pub struct Hold(Arc<dyn Any + Send + Sync>);

impl Hold {
    /// Lets `held` live as long as the request, and the tunnel that may become of it.
    pub fn new(held: impl Any + Send + Sync) -> Self {
        Self(Arc::new(held))
    }
}

/// The visitor's connection: the end of a tunnel that may come, and where hints at the answer go.
pub struct VisitorSide {
    upgrade: OnUpgrade,
    /// Only WebSockets over HTTP/2 have one.
    hold: Option<Box<Hold>>,
    hints: Option<Arc<Hints>>,
}

impl VisitorSide {
    /// Takes it out of a request.
    pub fn of<B>(request: &mut Request<B>) -> Self {
        let hold = request.extensions_mut().remove::<Hold>().map(Box::new);
        Self { hold, upgrade: hyper::upgrade::on(request), hints: None }
    }

    /// From here on the visitor can be told early hints.
    pub fn takes(&mut self, hints: Arc<Hints>) {
        self.hints = Some(hints);
    }

    /// Where early hints for the visitor go, if they take any.
    pub fn hints(&self) -> Option<&Hints> {
        self.hints.as_deref()
    }
}

impl fmt::Debug for VisitorSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisitorSide")
            .field("held", &self.hold.as_ref().map(|hold| hold.0.type_id()))
            .finish_non_exhaustive()
    }
}

/// What an upstream has to answer to a handshake that we began for a visitor who speaks HTTP/2.
#[derive(Debug)]
pub struct Expected(Option<String>);

/// Says in a request or a 101 answer that the connection is to become a WebSocket (RFC 6455, section 4.1).
pub fn announce(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, UPGRADE_TOKEN.clone());
    headers.insert(UPGRADE, WEBSOCKET.clone());
}

/// Whether an upstream's answer names WebSockets as what it would take.
pub fn is_announced(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
}

/// Adds what a handshake over HTTP/1.1 has and one over HTTP/2 has not (RFC 8441, section 5). Without randomness there is no key,
/// and no answer is right.
pub fn begin_for_http2(headers: &mut HeaderMap) -> Expected {
    headers.entry(SEC_WEBSOCKET_VERSION).or_insert_with(|| VERSION.clone());
    let key = random::bytes::<16>().ok().map(|nonce| STANDARD.encode(nonce));
    match key.as_ref().and_then(|key| HeaderValue::try_from(key).ok()) {
        Some(value) => drop(headers.insert(SEC_WEBSOCKET_KEY, value)),
        None => drop(headers.remove(SEC_WEBSOCKET_KEY)),
    }
    Expected(key.map(|key| accept(&key)))
}

impl Expected {
    /// Whether an upstream's 101 answers our handshake and no other (RFC 6455, section 4.1). Takes out what a visitor who speaks
    /// HTTP/2 does not know.
    #[must_use]
    pub fn is_met(&self, headers: &mut HeaderMap) -> bool {
        let answer = headers.remove(SEC_WEBSOCKET_ACCEPT);
        answer.zip(self.0.as_ref()).is_some_and(|(answer, expected)| answer.as_bytes() == expected.as_bytes())
    }
}

/// RFC 6455, section 4.2.2. SHA-1 shows that the other end speaks WebSocket; nothing is kept safe by it.
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// Joins the two connections once both have changed protocols, and counts the tunnel while it lives, among tunnels and as a
/// request `under_way`. It is closed when `leash` is cut.
pub fn tunnel(
    visitor: VisitorSide,
    upstream: (Stream, BytesMut),
    tally: &Tally,
    under_way: Option<Counted>,
    leash: Option<Leash>,
) {
    let counted = (tally.enter(), under_way);
    drop(tokio::task::spawn_local(async move {
        let _counted = counted;
        let VisitorSide { upgrade, hold: _hold, .. } = visitor;
        let (mut upstream, early) = upstream;
        let Ok(visitor) = upgrade.await else { return };
        let mut visitor = TokioIo::new(visitor);
        // The upstream may have begun to speak right behind its answer.
        if visitor.write_all(&early).await.is_err() {
            return;
        }
        drop(early);
        // However a tunnel ends, its two ends have learnt of it by their sockets.
        let mut copying =
            pin!(copy_bidirectional_with_sizes(&mut visitor, &mut upstream, TUNNEL_BUFFER, TUNNEL_BUFFER));
        match leash {
            None => drop(copying.await),
            Some(mut leash) => tokio::select! {
                _ = &mut copying => {}
                () = leash.cut() => {}
            },
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_answered_as_the_rfc_shows() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_the_answer_to_our_own_key_opens_a_tunnel() {
        let mut handshake = HeaderMap::new();
        let expected = begin_for_http2(&mut handshake);
        let right = accept(handshake.get(SEC_WEBSOCKET_KEY).unwrap().to_str().unwrap());
        assert_eq!(handshake.get(SEC_WEBSOCKET_VERSION).unwrap(), "13");
        let met = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(value.map(|value| (SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(value).unwrap())));
            expected.is_met(&mut headers) && headers.is_empty()
        };
        assert!(met(Some(&right)));
        assert!(!met(Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
        assert!(!met(None));
    }
}
