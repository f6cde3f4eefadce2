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
    let answer = request.try_send().ok();
    let challenges = answer.as_ref().map(|answer| answer.head.all("www-authenticate")).unwrap_or_default();
    let mut challenges: Vec<String> = challenges.into_iter().map(str::to_owned).collect();
    // nginx repeats what it heard when it asked.
    challenges.dedup();
    let status = answer.as_ref().map_or(0, |answer| answer.status);
    Seen { status, challenges, upstream: scene.upstream.requests().iter().map(Dressed::from).collect() }
}

#[test]
fn the_table_holds_through_the_proxy() {
    let scene = Scene::start();
    run(Door::Proxy, |case| visit(&scene, scene.gateway.url(), case));
}
