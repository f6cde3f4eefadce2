//! Floor 4: other ways to ask the same decision. A proxy that somebody runs already asks whether a request of its own may pass, and is
//! told just what would have become of that request on its way through us.
//!
//! `ask` is the one question behind every door; `verify` hears it over HTTP, `ext_authz` over gRPC. Each describes the request to the
//! edge and puts the answer into its own words.
//!
//! 1. Only trusted proxies may ask: whoever asks says what was asked for, and by whom.
//! 2. The request that is described goes through the gate's own edge, routes, credential and decision.
//! 3. A yes names everything that the upstream may not see, and everything that it has to see.

pub mod ask;
pub mod check;
pub mod described;
pub mod ext_authz;
pub mod verify;

use http::Response;

use self::verify::Way;
use crate::gate::{Arrival, Gate};
use crate::http::body::Body;
use crate::http::visit::Peer;

/// Answers one request of a listener for visitors: a question of a proxy, or a request itself.
pub async fn answer(gate: &Gate, peer: &Peer, arrival: Arrival) -> Response<Body> {
    match Way::of(arrival.parts.uri.path(), &gate.plan().site.prefix) {
        None => gate.handle(peer, arrival).await,
        // Boxed, since every open connection has room for this.
        Some(way) => Box::pin(verify::answer(gate, peer, arrival, way)).await,
    }
}
