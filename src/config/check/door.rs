//! The doors through which other proxies ask us: `[verify]` and `listen.ext_authz`.

use http::StatusCode;
use ipnet::IpNet;

use super::address;
use crate::config::raw::report::Wrong;
use crate::config::raw::table::{Placed, Table};
use crate::config::settings::ListenAddress;

/// `[verify]`: the status of a request that may pass. Envoy takes nothing but 200 for a yes.
pub(super) fn verify_status(root: &Table<'_>) -> StatusCode {
    let table = root.table("verify");
    let given = table.whole("status", 200..=202);
    if given == Some(201) {
        table.error("status", Wrong::new("201 says that something was made").note("allowed: 200, 202"));
    }
    if given == Some(202) { StatusCode::ACCEPTED } else { StatusCode::OK }
}

/// `listen.ext_authz`. Whoever asks there says whose request it is, so only trusted proxies may, which are told by their addresses.
pub(super) fn ext_authz(listen: &Table<'_>, trusted_proxies: &[IpNet]) -> Vec<Placed<ListenAddress>> {
    let expected = "a list of addresses such as [\"127.0.0.1:9191\"]";
    let found = listen.each("ext_authz", expected, address).unwrap_or_default();
    if !found.is_empty() && trusted_proxies.is_empty() {
        let wrong = Wrong::new("`ext_authz` is on, but no proxy is trusted, so every question would be refused")
            .note("name where Envoy connects from: [trusted_proxies] networks = [\"10.0.0.0/8\"]");
        listen.error("ext_authz", wrong);
    }
    found
}

fn address(text: &str) -> Result<ListenAddress, Wrong> {
    match address::listen(text)? {
        ListenAddress::Unix(_) => {
            Err(Wrong::new("`ext_authz` listens on no unix socket: a peer there has no address to trust it by")
                .note("write \"127.0.0.1:9191\""))
        }
        address => Ok(address),
    }
}
