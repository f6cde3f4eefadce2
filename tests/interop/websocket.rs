//! A WebSocket library's own client and server, with the gateway between them.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::PATIENCE;
use crate::support::gateway::GatewayConfig;

async fn echo(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
            let (mut write, mut read) = socket.split();
            while let Some(Ok(message)) = read.next().await {
                if (message.is_text() || message.is_binary()) && write.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[test]
fn messages_of_every_size_come_back_in_order_and_a_close_is_answered() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("http://{}", listener.local_addr().unwrap());
        drop(tokio::spawn(echo(listener)));
        let gateway = GatewayConfig::on_loopback()
            .provider("http://127.0.0.1:1", "a client secret")
            .upstream("app", &upstream)
            .route("/public/*", "\"everyone\"", "app")
            .route("/*", "\"signed-in\"", "app")
            .start();
        let url = gateway.at("/public/ws").replace("http://", "ws://");
        let whole = async {
            let (mut socket, answer) =
                tokio_tungstenite::connect_async(url.into_client_request().unwrap()).await.unwrap();
            assert_eq!(answer.status(), 101);
            for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
                let sent = Message::binary(vec![b'x'; size]);
                socket.send(sent.clone()).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), sent, "{size}");
            }
            for number in 0..200 {
                socket.send(Message::text(number.to_string())).await.unwrap();
            }
            for number in 0..200 {
                assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(number.to_string()));
            }
            socket.send(Message::Ping("are you there".into())).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
            socket.close(None).await.unwrap();
            assert!(matches!(socket.next().await, Some(Ok(Message::Close(_))) | None));
        };
        tokio::time::timeout(PATIENCE, whole).await.expect("it ends in time");

        let refused = gateway.at("/ws").replace("http://", "ws://");
        match tokio_tungstenite::connect_async(refused).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 401),
            other => panic!("{other:?}"),
        }
    });
}
