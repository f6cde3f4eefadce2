//! The connection against an upstream that says what each test has it say.

use std::convert::Infallible;

use http::HeaderValue;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::task::LocalSet;

use super::*;

/// A connection and the upstream's end of it.
fn pair() -> (Connection, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Connection::new(Stream::Unix(ours)), theirs)
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("/").header("host", "app").body(Empty::new()).unwrap()
}

async fn ask(connection: &mut Connection) -> Result<Response<()>, NoAnswer<Empty<Bytes>>> {
    connection.send(Box::new(get()), &Added::default()).await
}

/// Closes the upstream's end once it has read what was sent: a socket that is closed before that is reset.
async fn leave(mut upstream: UnixStream) {
    assert!(upstream.read(&mut [0; 256]).await.unwrap() > 0);
}

/// The body to its end.
async fn rest(connection: &mut Connection) -> Result<Vec<u8>, Fault> {
    let mut all = Vec::new();
    while let Some(frame) = poll_fn(|context| connection.poll_frame(context)).await {
        all.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    Ok(all)
}

#[tokio::test]
async fn exchanges_follow_each_other() {
    let (mut connection, mut upstream) = pair();
    for body in ["one", "two"] {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{body}");
        assert!(connection.is_quiet());
        let (answered, ()) = tokio::join!(ask(&mut connection), async {
            let mut heard = [0; 64];
            assert!(upstream.read(&mut heard).await.unwrap() > 0);
            upstream.write_all(answer.as_bytes()).await.unwrap();
        });
        assert_eq!(answered.unwrap().status(), StatusCode::OK);
        assert!(!connection.is_reusable(), "its body has not been read");
        assert_eq!(rest(&mut connection).await.unwrap(), body.as_bytes());
        assert!(connection.is_reusable());
        connection.rest();
    }
}

#[tokio::test]
async fn what_comes_after_the_answer_ends_the_connection() {
    for after in ["HTTP/1.1 200 OK\r\n", "x"] {
        let (mut connection, mut upstream) = pair();
        upstream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        upstream.write_all(after.as_bytes()).await.unwrap();
        assert_eq!(ask(&mut connection).await.unwrap().status(), StatusCode::NO_CONTENT);
        assert!(connection.is_over() && !connection.is_reusable());
    }
    let (mut connection, mut upstream) = pair();
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    ask(&mut connection).await.unwrap();
    assert!(connection.is_reusable() && connection.is_quiet());
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await.unwrap();
    tokio::task::yield_now().await;
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    assert!(!connection.is_quiet(), "an answer that nobody asked for");
}

#[tokio::test]
async fn a_closed_connection_gives_the_request_back_unless_some_was_written() {
    let (mut connection, upstream) = pair();
    drop(upstream);
    let none = ask(&mut connection).await.unwrap_err();
    assert!(none.unsent.is_some(), "{}", none.fault);

    let (mut connection, mut upstream) = pair();
    let (answered, ()) = tokio::join!(ask(&mut connection), async {
        let mut heard = [0; 8];
        assert!(upstream.read(&mut heard).await.unwrap() > 0);
        drop(upstream);
    });
    assert!(answered.unwrap_err().unsent.is_none(), "the upstream may have acted on it");
}

#[tokio::test]
async fn what_waits_for_an_answer_holds_neither_headers_nor_room_to_read() {
    let (mut connection, _upstream) = pair();
    let value = Bytes::from(vec![b'x'; 64]);
    let header = HeaderValue::from_maybe_shared(value.clone()).unwrap();
    let request = Request::get("/").header("x-a", header).body(Empty::<Bytes>::new()).unwrap();
    assert!(!value.is_unique());
    {
        let added = Added::default();
        let mut exchange = pin!(connection.send(Box::new(request), &added));
        assert!(exchange.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(value.is_unique(), "its headers were given back");
    }
    assert_eq!(connection.buffer.capacity(), 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    for head in ["content-length: 10", "transfer-encoding: chunked"] {
        let (mut connection, mut upstream) = pair();
        upstream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nabc").as_bytes()).await.unwrap();
        ask(&mut connection).await.unwrap();
        leave(upstream).await;
        assert!(rest(&mut connection).await.is_err(), "{head}");
        assert!(!connection.is_reusable());
    }
    let (mut connection, mut upstream) = pair();
    upstream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it").await.unwrap();
    ask(&mut connection).await.unwrap();
    leave(upstream).await;
    assert_eq!(rest(&mut connection).await.unwrap(), b"all of it", "the end of the connection is the end of the body");
    assert!(!connection.is_reusable());
}

#[tokio::test]
async fn informational_answers_are_passed_over_within_a_bound() {
    let (mut connection, mut upstream) = pair();
    upstream
        .write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    let answer = ask(&mut connection).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert!(!answer.headers().contains_key("link") && connection.is_reusable());

    let (mut connection, mut upstream) = pair();
    upstream.write_all("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(MAX_INFORMATIONAL + 1).as_bytes()).await.unwrap();
    assert!(matches!(ask(&mut connection).await.unwrap_err().fault, Fault::Malformed(_)));
}

#[tokio::test]
async fn the_rest_of_a_request_goes_on_after_an_early_answer() {
    LocalSet::new()
        .run_until(async {
            let (mut connection, mut upstream) = pair();
            let body = vec![b'a'; 2 << 20];
            let request = Request::post("/").body(Full::new(Bytes::from(body.clone()))).unwrap();
            upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            let answer = connection.send(Box::new(request), &Added::default()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(rest(&mut connection).await.unwrap(), b"ok");
            assert!(!connection.is_reusable(), "the request is still on its way");
            let (mut heard, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
            while !heard.ends_with(&body) {
                let count = upstream.read(&mut piece).await.unwrap();
                heard.extend_from_slice(&piece[..count]);
            }
            tokio::task::yield_now().await;
            assert!(connection.is_reusable());
        })
        .await;
}

#[tokio::test]
async fn a_body_that_breaks_off_after_an_early_answer_breaks_the_answer() {
    LocalSet::new()
        .run_until(async {
            let (mut connection, mut upstream) = pair();
            let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
            let frames = futures_util::stream::once(async move {
                drop(receiver.await);
                Err::<Frame<Bytes>, _>(io::Error::other("the visitor left"))
            });
            let body = StreamBody::new(frames).boxed_unsync();
            upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun").await.unwrap();
            assert!(connection.send(Box::new(Request::post("/").body(body).unwrap()), &Added::default()).await.is_ok());
            assert!(poll_fn(|context| connection.poll_frame(context)).await.unwrap().is_ok());
            drop(sender);
            let broken = poll_fn(|context| connection.poll_frame(context)).await.unwrap().unwrap_err();
            assert!(matches!(broken, Fault::Request));
        })
        .await;
}

#[tokio::test]
async fn a_body_is_held_to_its_length() {
    for length in ["3", "9"] {
        let (mut connection, _upstream) = pair();
        let frames = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"four")))]);
        let request = Request::post("/").header("content-length", length).body(StreamBody::new(frames).boxed_unsync());
        let none = connection.send(Box::new(request.unwrap()), &Added::default()).await.unwrap_err();
        assert!(matches!(none.fault, Fault::Request), "{length}: {}", none.fault);
    }
}
