//! Plain HTTP on this side, TLS on the other: lets the clients of these tests, who see exact bytes, talk to a server behind TLS.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use portcullis::net::tls_client::{Trust, client_config};
use rustls_pki_types::ServerName;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

/// A running tunnel; it ends when it is dropped.
pub struct Tunnel {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Tunnel {
    /// Connects to `target` for each connection that it gets, from the address `source`, and believes only a server that is
    /// `name` by the certificate in the file `authority`.
    pub fn start(target: SocketAddr, source: Ipv4Addr, name: &str, authority: &Path) -> Self {
        Self::speaking(b"http/1.1", target, source, name, authority)
    }

    /// The same for another protocol, by the name that ALPN has for it.
    pub fn speaking(protocol: &[u8], target: SocketAddr, source: Ipv4Addr, name: &str, authority: &Path) -> Self {
        let config = client_config(Trust::Only(authority), &[protocol]).expect("the certificate can be used");
        let name = ServerName::try_from(name.to_owned()).expect("a host name");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be set up");
        let address = listener.local_addr().expect("it has an address");
        let (stop, mut stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a socket can be used");
                loop {
                    let near = tokio::select! {
                        _ = &mut stopped => return,
                        taken = listener.accept() => taken.expect("it accepts").0,
                    };
                    let (connector, name) = (TlsConnector::from(Arc::clone(&config)), name.clone());
                    // A connection that fails is seen by the client, whose own connection closes.
                    drop(tokio::spawn(async move { drop(carry(near, target, source, connector, name).await) }));
                }
            });
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Where its plain side is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn carry(
    mut near: TcpStream,
    target: SocketAddr,
    source: Ipv4Addr,
    connector: TlsConnector,
    name: ServerName<'static>,
) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((source, 0)))?;
    let mut far = connector.connect(name, socket.connect(target).await?).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by a panic, which was printed when it happened.
            let _gone = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
