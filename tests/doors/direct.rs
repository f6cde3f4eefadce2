//! The first door: the request itself, from a visitor.

use crate::cases::{Case, Door};
use crate::scene::{Dressed, Scene, Seen, run};
use crate::support::client::Client;

/// Sends a case to `url`, where visitors come.
pub(crate) fn visit(scene: &Scene, url: &str, case: &Case) -> Seen {
    scene.upstream.forget();
    let mut request = Client::new(url).named(case.host).request(case.method, case.target);
    for (name, value) in scene.headers(case) {
        request = request.header(&name, &value);
    }
    let status = request.try_send().map_or(0, |answer| answer.status);
    Seen { status, upstream: scene.upstream.requests().iter().map(Dressed::from).collect() }
}

#[test]
fn the_table_holds_through_the_proxy() {
    let scene = Scene::start();
    run(Door::Proxy, |case| visit(&scene, scene.gateway.url(), case));
}
