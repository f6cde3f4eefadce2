//! An HTTP/1.1 client that sends what it is told, well-formed or not, and follows nothing by itself.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::thread;
use std::time::Duration;

use super::PATIENCE;
use super::wire::{Head, Reader, response_framing};

/// Sends requests to one address, each on a connection of its own.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    host: String,
    patience: Duration,
}

/// A request on its way to being sent.
#[derive(Clone, Debug)]
pub struct Request {
    client: Client,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Status line and fields, in order and spelling.
    pub head: Head,
    /// The body, its framing taken off.
    pub body: Vec<u8>,
    /// The trailers of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// The status codes of the 1xx answers before it.
    pub interim: Vec<u16>,
}

impl Client {
    /// For `http://host:port`; a path after it is left out.
    pub fn new(url: &str) -> Self {
        let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url} does not begin with http://"));
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        let place = if host.contains(':') { host.clone() } else { format!("{host}:80") };
        let address = place.to_socket_addrs().ok().and_then(|mut found| found.next());
        Self { address: address.unwrap_or_else(|| panic!("{url} names no address")), host, patience: PATIENCE }
    }

    /// The same, whose reads end after `patience` in place of [`PATIENCE`].
    #[must_use]
    pub const fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same address asked under another name: what `Host` says.
    #[must_use]
    pub fn named(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// A request with `Host` alone.
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request {
            client: self.clone(),
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("Host".to_owned(), self.host.clone())],
            body: Vec::new(),
        }
    }

    /// A GET with `Host` alone.
    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    /// A new connection; every read on it ends after the client's patience.
    pub fn connect(&self) -> TcpStream {
        self.connect_within(self.patience)
    }

    /// A new connection whose reads end after `patience`.
    pub fn connect_within(&self, patience: Duration) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap_or_else(|error| panic!("{}: {error}", self.address));
        stream.set_read_timeout(Some(patience)).expect("a timeout can be set");
        stream.set_write_timeout(Some(patience)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("a delay can be unset");
        stream
    }

    /// Sends exactly `bytes` and reads one answer; an error when none comes back.
    pub fn raw(&self, bytes: &[u8]) -> io::Result<Response> {
        let mut stream = self.connect();
        // A server may answer and close before it has read all; its answer counts then.
        let written = stream.write_all(bytes);
        read_response(&mut Reader::new(stream), "GET").or_else(|error| written.and(Err(error)))
    }

    /// Sends exactly `bytes` and reads answers until the connection ends or stays silent for `patience`.
    pub fn raw_all(&self, bytes: &[u8], patience: Duration) -> Vec<Response> {
        let mut stream = self.connect_within(patience);
        let _answered_early = stream.write_all(bytes);
        let mut reader = Reader::new(stream);
        let mut answers = Vec::new();
        while let Ok(answer) = read_response(&mut reader, "GET") {
            answers.push(answer);
        }
        answers
    }
}

impl Request {
    /// Adds a field, beside those of the same name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds several fields.
    #[must_use]
    pub fn headers(mut self, fields: &[(&str, &str)]) -> Self {
        self.headers.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// Sends these bytes, with their length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends these fields as a form.
    #[must_use]
    pub fn form(self, fields: &[(String, String)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.header("Content-Type", "application/x-www-form-urlencoded").body(body)
    }

    /// The bytes of this request.
    pub fn bytes(&self) -> Vec<u8> {
        let length = (!self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH"))
            .then_some(self.body.len() as u64);
        let mut bytes = self.head_bytes(length);
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    /// When no whole answer comes.
    pub fn send(&self) -> Response {
        self.try_send().unwrap_or_else(|error| panic!("{} {}: no answer: {error}", self.method, self.target))
    }

    /// Sends it and reads the whole answer.
    pub fn try_send(&self) -> io::Result<Response> {
        let mut stream = self.client.connect();
        let written = stream.write_all(&self.bytes());
        read_response(&mut Reader::new(stream), &self.method).or_else(|error| written.and(Err(error)))
    }

    /// Sends it and gives the head of the answer with the reader of its body, for answers that don't end or are very large.
    pub fn open(&self) -> io::Result<(Response, Reader<TcpStream>)> {
        let mut stream = self.client.connect();
        stream.write_all(&self.bytes())?;
        let mut reader = Reader::new(stream);
        let head = read_head(&mut reader)?;
        Ok((head, reader))
    }

    /// Sends a body of `length` bytes that `next` makes piece by piece, and reads the whole answer.
    pub fn stream(&self, length: u64, mut next: impl FnMut() -> Vec<u8>) -> io::Result<Response> {
        let mut stream = self.client.connect();
        stream.write_all(&self.head_bytes(Some(length)))?;
        let mut left = length;
        while left > 0 {
            let mut piece = next();
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            stream.write_all(&piece)?;
            left -= piece.len() as u64;
        }
        read_response(&mut Reader::new(stream), &self.method)
    }

    fn head_bytes(&self, length: Option<u64>) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if let Some(length) = length {
            text.extend(["Content-Length: ", &length.to_string(), "\r\n"]);
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

impl Response {
    /// The value of the first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none; the message holds the answer.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the answer {} {}", self.head.first_line, self.text()))
    }
}

/// Sends all of them at once, each on a thread of its own, and gives their answers in the same order.
///
/// # Panics
/// When one gets no whole answer.
pub fn at_once(requests: impl IntoIterator<Item = Request>) -> Vec<Response> {
    let sent: Vec<_> = requests.into_iter().map(|request| thread::spawn(move || request.send())).collect();
    sent.into_iter().map(|one| one.join().expect("an answer comes")).collect()
}

/// Asserts that what the upstream broke off is broken here too: refused, or ended before its end, but never a short whole answer.
///
/// # Panics
/// When it is whole, or nothing more of it came and it did not end either.
pub fn assert_breaks_off(result: io::Result<Response>, what: &str) {
    match result {
        Ok(answer) => assert_eq!(answer.status, 502, "{what}: {} bytes came whole", answer.body.len()),
        Err(error) => assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "{what}: {error}"),
    }
}

/// The next answer that is no 1xx, with its body.
pub fn read_response(reader: &mut Reader<TcpStream>, method: &str) -> io::Result<Response> {
    let mut response = read_head(reader)?;
    let framing = response_framing(&response.head, method, response.status);
    let mut body = Vec::new();
    // 101 ends HTTP on this connection: what follows belongs to the new protocol.
    response.trailers = reader.body(framing, &mut |part| body.extend_from_slice(part))?;
    response.body = body;
    Ok(response)
}

fn read_head(reader: &mut Reader<TcpStream>) -> io::Result<Response> {
    let mut interim = Vec::new();
    loop {
        let head = reader.head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.first_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.ok_or_else(|| io::Error::other(format!("no status line: {:?}", head.first_line)))?;
        if (100..200).contains(&status) && status != 101 {
            interim.push(status);
            continue;
        }
        return Ok(Response { status, head, body: Vec::new(), trailers: Vec::new(), interim });
    }
}
