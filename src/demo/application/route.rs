//! Which answer a path gets.

use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;

use crate::demo::answer::{Answer, text};
use crate::demo::application::{Sockets, echo, page, stream, websocket};
use crate::demo::form::Parameters;

/// The longest wait of `/slow`.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// The answer to one request.
pub(crate) async fn answer(sockets: Sockets, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/echo" => echo::echo(request).await,
        "/upload" => echo::upload(request).await,
        "/events" => stream::events(),
        "/download" => stream::download(&request),
        "/ws" => websocket::upgrade(&sockets, request),
        "/slow" => slow(&request).await,
        "/favicon.ico" => text(StatusCode::NOT_FOUND, "There is no icon.\n"),
        _ => match path.strip_prefix("/status/") {
            Some(number) => status(number),
            None => page::page(request).await,
        },
    }
}

/// The number that the query parameter `name` holds.
pub(crate) fn number(request: &Request<Incoming>, name: &'static str) -> Option<u64> {
    Parameters::parse(request.uri().query()?.as_bytes()).one(name).ok()??.parse().ok()
}

async fn slow(request: &Request<Incoming>) -> Answer {
    let wait = Duration::from_millis(number(request, "ms").unwrap_or(1000)).min(LONGEST_WAIT);
    tokio::time::sleep(wait).await;
    text(StatusCode::OK, format!("That took {} ms.\n", wait.as_millis()))
}

fn status(number: &str) -> Answer {
    let status = number.parse().ok().and_then(|number| StatusCode::from_u16(number).ok());
    match status.filter(|status| (200..=599).contains(&status.as_u16())) {
        Some(status) => text(status, format!("{status}\n")),
        None => text(StatusCode::BAD_REQUEST, "A status is a number from 200 to 599.\n"),
    }
}
