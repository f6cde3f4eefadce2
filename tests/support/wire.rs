//! HTTP/1.1 messages as bytes (RFC 9112): read by hand, so that what a test sees is what was sent.

use std::io::{self, Read};

/// The most that the head of a message may take here.
const MAX_HEAD: usize = 1024 * 1024;

/// The first line and the fields of a message, in the order and spelling that they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The request line or status line without its line end.
    pub first_line: String,
    /// Name and value of each field; bytes above ASCII are kept as the characters with their numbers.
    pub headers: Vec<(String, String)>,
    /// The bytes of all that, the empty line included.
    pub raw: Vec<u8>,
}

impl Head {
    /// The value of the first field of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    /// The values of all fields of this name, whatever its case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(candidate, _): &&(String, String)| candidate.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a list field of this name holds `token`.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).iter().flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

/// How long a body is (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks and trailers.
    Chunked,
    /// All until the connection ends.
    UntilClose,
}

/// How the body of a request is framed.
pub fn request_framing(head: &Head) -> Framing {
    if head.lists("transfer-encoding", "chunked") {
        Framing::Chunked
    } else {
        head.header("content-length").and_then(|length| length.parse().ok()).map_or(Framing::None, Framing::Length)
    }
}

/// How the body of a response with `status` to a request with `method` is framed.
pub fn response_framing(head: &Head, method: &str, status: u16) -> Framing {
    if method == "HEAD" || status < 200 || status == 204 || status == 304 {
        Framing::None
    } else if head.lists("transfer-encoding", "chunked") {
        Framing::Chunked
    } else {
        head.header("content-length")
            .and_then(|length| length.parse().ok())
            .map_or(Framing::UntilClose, Framing::Length)
    }
}

/// A buffered reader of messages.
pub struct Reader<S> {
    stream: S,
    buffer: Vec<u8>,
    /// Bytes read from the stream so far.
    taken: u64,
}

impl<S: Read> Reader<S> {
    /// Reads from `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), taken: 0 }
    }

    /// The stream itself.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream itself, to write to.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Bytes read from the stream so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The head of the next message, or nothing when the stream ends before one begins.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let raw: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return parse_head(raw).map(Some);
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(io::Error::other("the head of a message is longer than 1 MiB"));
            }
            if self.fill()? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Hands the body to `sink` piece by piece; gives the trailers.
    pub fn body(&mut self, framing: Framing, sink: &mut dyn FnMut(&[u8])) -> io::Result<Vec<(String, String)>> {
        match framing {
            Framing::None => {}
            Framing::Length(length) => self.exactly(length, sink)?,
            Framing::UntilClose => loop {
                if self.buffer.is_empty() && self.fill()? == 0 {
                    break;
                }
                sink(&self.buffer);
                self.buffer.clear();
            },
            Framing::Chunked => return self.chunks(sink),
        }
        Ok(Vec::new())
    }

    /// Exactly `count` bytes.
    pub fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(count);
        self.exactly(count as u64, &mut |part| bytes.extend_from_slice(part))?;
        Ok(bytes)
    }

    /// All until the stream ends.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.body(Framing::UntilClose, &mut |part| bytes.extend_from_slice(part))?;
        Ok(bytes)
    }

    fn chunks(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<Vec<(String, String)>> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                u64::from_str_radix(size, 16).map_err(|_| io::Error::other(format!("no chunk size: {line:?}")))?;
            if size == 0 {
                break;
            }
            self.exactly(size, sink)?;
            let end = self.line()?;
            if !end.is_empty() {
                return Err(io::Error::other(format!("a chunk is longer than it says, by {end:?}")));
            }
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.push(field(&line)?);
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let raw: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(latin1(&raw[..end]));
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn exactly(&mut self, mut left: u64, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            if self.buffer.is_empty() && self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            sink(&self.buffer[..count]);
            self.buffer.drain(..count);
            left -= count as u64;
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0_u8; 16 * 1024];
        let count = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buffer.extend_from_slice(&piece[..count]);
        self.taken += count as u64;
        Ok(count)
    }
}

fn parse_head(raw: Vec<u8>) -> io::Result<Head> {
    let text = latin1(&raw);
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let first_line = lines.next().unwrap_or_default().to_owned();
    let headers = lines.map(field).collect::<io::Result<_>>()?;
    Ok(Head { first_line, headers, raw })
}

fn field(line: &str) -> io::Result<(String, String)> {
    let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other(format!("no field: {line:?}")))?;
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
