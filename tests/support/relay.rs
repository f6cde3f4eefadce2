//! A front of a recording upstream: another port, a unix socket or TLS, that can be taken away and brought back.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::free_port;
use super::upstream::Upstream;

/// What a TLS client said when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name that it asked for.
    pub server_name: Option<String>,
    /// Whether it showed a certificate.
    pub certificate: bool,
}

/// Passes bytes on to an upstream, from a place of its own. It is gone when it is dropped.
pub struct Relay {
    place: Place,
    shared: Arc<Mutex<Vec<Hello>>>,
    orders: Option<UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
enum Place {
    Tcp(u16, Option<Arc<ServerConfig>>),
    Unix(PathBuf),
}

enum Order {
    Cut(mpsc::Sender<()>),
    Restore(mpsc::Sender<()>),
}

enum Listener {
    Tcp(TcpListener, Option<TlsAcceptor>),
    Unix(UnixListener),
}

impl Relay {
    /// At a TCP port.
    pub fn tcp(upstream: &Upstream) -> Self {
        Self::start(Place::Tcp(free_port(), None), upstream)
    }

    /// At a TCP port that speaks TLS.
    pub fn tls(upstream: &Upstream, config: ServerConfig) -> Self {
        Self::start(Place::Tcp(free_port(), Some(Arc::new(config))), upstream)
    }

    /// At a unix socket.
    pub fn unix(upstream: &Upstream, path: &Path) -> Self {
        Self::start(Place::Unix(path.to_owned()), upstream)
    }

    /// Where it is, as the config writes it.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Tcp(port, None) => format!("http://127.0.0.1:{port}"),
            Place::Tcp(port, Some(_)) => format!("https://127.0.0.1:{port}"),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// The same, by a host name in place of the address.
    pub fn url_by_name(&self, name: &str) -> String {
        self.url().replace("127.0.0.1", name)
    }

    /// Closes its port and every connection, as if its machine had died.
    pub fn cut(&self) {
        self.order(Order::Cut);
    }

    /// Opens its port again.
    pub fn restore(&self) {
        self.order(Order::Restore);
    }

    /// What TLS clients said, one entry a handshake that came to its end.
    pub fn hellos(&self) -> Vec<Hello> {
        self.shared.lock().expect("no server thread panics").clone()
    }

    fn order(&self, order: impl FnOnce(mpsc::Sender<()>) -> Order) {
        let (done, waiting) = mpsc::channel();
        let orders = self.orders.as_ref().expect("it is gone only when dropped");
        assert!(orders.send(order(done)).is_ok(), "the relay has ended");
        waiting.recv().expect("the relay has ended");
    }

    fn start(place: Place, upstream: &Upstream) -> Self {
        let (orders, taken) = unbounded_channel();
        let shared: Arc<Mutex<Vec<Hello>>> = Arc::default();
        let (own, hellos) = (place.clone(), Arc::clone(&shared));
        let target = upstream.url().strip_prefix("http://").and_then(|address| address.parse().ok());
        let target = target.expect("an upstream is at an address");
        let (started, starting) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(serve(&own, target, &hellos, taken, started));
        });
        starting.recv().expect("the relay starts");
        Self { place, shared, orders: Some(orders), thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the relay was printed when it happened.
            let _ended = thread.join();
        }
    }
}

async fn serve(
    place: &Place,
    target: SocketAddr,
    hellos: &Arc<Mutex<Vec<Hello>>>,
    mut orders: UnboundedReceiver<Order>,
    started: mpsc::Sender<()>,
) {
    let mut listener = Some(listen(place));
    started.send(()).expect("the test waits");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Cut(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    done.send(()).expect("the test waits");
                }
                Some(Order::Restore(done)) => {
                    listener = Some(listen(place));
                    done.send(()).expect("the test waits");
                }
            },
            accepted = accept(listener.as_ref()) => {
                if let Ok(stream) = accepted {
                    connections.spawn(pass_on(stream, target, Arc::clone(hellos)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn listen(place: &Place) -> Listener {
    match place {
        Place::Tcp(port, tls) => {
            let listener = super::listen(*port);
            listener.set_nonblocking(true).expect("it can be waited for");
            let listener = TcpListener::from_std(listener).expect("the port can be listened on");
            Listener::Tcp(listener, tls.clone().map(TlsAcceptor::from))
        }
        Place::Unix(path) => {
            // There is none the first time.
            let _absent = std::fs::remove_file(path);
            Listener::Unix(UnixListener::bind(path).expect("the socket can be listened on"))
        }
    }
}

enum Accepted {
    Plain(TcpStream),
    Tls(TcpStream, TlsAcceptor),
    Unix(tokio::net::UnixStream),
}

async fn accept(listener: Option<&Listener>) -> io::Result<Accepted> {
    match listener {
        None => std::future::pending().await,
        Some(Listener::Tcp(listener, tls)) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(match tls {
                Some(tls) => Accepted::Tls(stream, tls.clone()),
                None => Accepted::Plain(stream),
            })
        }
        Some(Listener::Unix(listener)) => Ok(Accepted::Unix(listener.accept().await?.0)),
    }
}

/// However a connection ends, both its ends learn of it by their sockets.
async fn pass_on(stream: Accepted, target: SocketAddr, hellos: Arc<Mutex<Vec<Hello>>>) {
    match stream {
        Accepted::Plain(stream) => join(stream, target).await,
        Accepted::Unix(stream) => join(stream, target).await,
        Accepted::Tls(stream, tls) => {
            let Ok(stream) = tls.accept(stream).await else { return };
            let (_, session) = stream.get_ref();
            let hello = Hello {
                server_name: session.server_name().map(ToOwned::to_owned),
                certificate: session.peer_certificates().is_some_and(|chain| !chain.is_empty()),
            };
            hellos.lock().expect("no server thread panics").push(hello);
            join(stream, target).await;
        }
    }
}

async fn join(mut stream: impl AsyncRead + AsyncWrite + Unpin, target: SocketAddr) {
    let Ok(mut upstream) = TcpStream::connect(target).await else { return };
    let _nodelay = upstream.set_nodelay(true);
    let _ended = copy_bidirectional(&mut stream, &mut upstream).await;
}
