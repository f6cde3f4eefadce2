//! WebSocket upgrades: after the upstream's 101 both connections become one tunnel, bytes passed both ways as they come.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use crate::base::tally::{Counted, Tally};

/// Bytes kept for each direction of a tunnel.
const TUNNEL_BUFFER: usize = 8 * 1024;

static UPGRADE_TOKEN: HeaderValue = HeaderValue::from_static("Upgrade");
static WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Says in a request or a 101 answer that the connection is to become a WebSocket (RFC 6455, section 4.1).
pub fn announce(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, UPGRADE_TOKEN.clone());
    headers.insert(UPGRADE, WEBSOCKET.clone());
}

/// Joins the two connections once both have changed protocols, and counts the tunnel while it lives, among tunnels and as a
/// request `under_way`.
pub fn tunnel(visitor: OnUpgrade, upstream: OnUpgrade, tally: &Tally, under_way: Option<Counted>) {
    let counted = (tally.enter(), under_way);
    drop(tokio::task::spawn_local(async move {
        let _counted = counted;
        let (Ok(visitor), Ok(upstream)) = tokio::join!(visitor, upstream) else { return };
        let (mut visitor, mut upstream) = (TokioIo::new(visitor), TokioIo::new(upstream));
        // However a tunnel ends, its two ends have learnt of it by their sockets.
        drop(copy_bidirectional_with_sizes(&mut visitor, &mut upstream, TUNNEL_BUFFER, TUNNEL_BUFFER).await);
    }));
}
