//! A directory of files as an upstream: read only, never outside the directory, nothing whose name begins with a dot.
//!
//! 1. Every open goes through a handle of the directory ([`cap_std`]), so that neither a path nor a symbolic link leads out of it,
//!    not even one that changes while it is looked at. Links that stay inside are followed.
//! 2. A segment that begins with a dot is never there: `.git`, `.env`, `.htaccess`.
//! 3. Regular files alone: no device, socket or pipe is ever opened.
//! 4. GET and HEAD alone, with ranges and conditions (RFC 9110, sections 13 and 14).
//! 5. A directory without its slash is sent to the one with it, at the address that the visitor sees.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use cap_std::fs::Dir;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, LOCATION, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::ServeDir;
use tower_http::services::fs::{
    Backend, DefaultServeDirFallback, File, Metadata, ServeFileSystemResponseBody as ResponseBody,
};

use super::range::{self, Part};
use crate::http::body::Body;

static NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
static EMPTY: HeaderValue = HeaderValue::from_static("0");

/// What a condition or a range may say; nothing else of a request means anything to a file.
const CONDITIONS: [HeaderName; 4] = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// A directory of files.
#[derive(Clone)]
pub struct Files {
    root: Arc<Path>,
    service: ServeDir<DefaultServeDirFallback, Confined>,
}

/// Why there is no file to send.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// Nothing is there, or nothing that may be seen. 404.
    #[error("there is no such file")]
    NotFound,
    /// Files are read only. 405.
    #[error("files are read with GET and HEAD")]
    Method,
    /// The system can't read it. 500.
    #[error("can't read a file below {root}: {cause}", root = root.display())]
    System {
        /// The directory.
        root: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl Files {
    /// The files below `root`, which is opened anew for each request, so that it may be replaced as a whole.
    pub fn new(root: &Path) -> Self {
        let root: Arc<Path> = Arc::from(root);
        let confined = Confined { root: Arc::clone(&root) };
        Self { root, service: ServeDir::with_backend("", confined).ignore_multi_range_requests(true) }
    }

    /// The answer to a request for `target`, the path after any rewrite. `visible` gives the absolute URL of this request's own
    /// path with a slash put after it.
    ///
    /// # Errors
    /// When there is nothing to send; see [`FileFault`].
    pub async fn answer(
        &self,
        parts: &Parts,
        target: &PathAndQuery,
        visible: impl FnOnce() -> String,
    ) -> Result<Response<Body>, FileFault> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return Err(FileFault::Method);
        }
        if has_hidden_segment(target.path()) {
            return Err(FileFault::NotFound);
        }
        let (mut head, body) = self.ask(parts, target).await?.into_parts();
        match head.status {
            StatusCode::NOT_FOUND => return Err(FileFault::NotFound),
            StatusCode::TEMPORARY_REDIRECT => {
                let location = HeaderValue::try_from(visible()).map_err(|_| FileFault::NotFound)?;
                head.headers.insert(LOCATION, location);
                return Ok(Response::from_parts(head, Body::Empty));
            }
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                head.headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF.clone());
                say_utf8(&mut head.headers);
            }
            // Conditions that failed, and ranges beyond the end: there is no body to send.
            _ => {
                head.headers.remove(ACCEPT_RANGES);
                return Ok(Response::from_parts(head, Body::Empty));
            }
        }
        Ok(Response::from_parts(head, Body::Streamed(body.boxed_unsync(), None)))
    }

    /// What there is to send, with ranges as RFC 9110 has them where the library reads them otherwise. Each answer is of one file that
    /// was opened once, headers and body alike.
    async fn ask(&self, parts: &Parts, target: &PathAndQuery) -> Result<Response<ResponseBody>, FileFault> {
        let put = async |range: Option<&HeaderValue>| {
            let answered = self.service.clone().try_call(question(parts, target, range)).await;
            answered.map_err(|cause| self.fault(cause))
        };
        let Some(part) = Part::wanted(parts) else { return put(None).await };
        let mut answer = put(Some(&part.text)).await?;
        let is_partial = matches!(answer.status(), StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE);
        if is_partial && !part.is_of(answer.headers()) {
            return put(None).await;
        }
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE
            && let Some(all) = part.all(answer.headers())
        {
            return put(Some(all)).await;
        }
        if answer.status() == StatusCode::PARTIAL_CONTENT && answer.headers().get(CONTENT_LENGTH) == Some(&EMPTY) {
            // The first byte of an empty file is beyond its end.
            *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            answer.headers_mut().insert(CONTENT_RANGE, range::NOTHING.clone());
        }
        Ok(answer)
    }

    fn fault(&self, cause: io::Error) -> FileFault {
        if is_absence(&cause) {
            return FileFault::NotFound;
        }
        FileFault::System { root: self.root.to_path_buf(), cause }
    }
}

/// A request that holds what a file's answer depends on, and nothing else.
fn question(parts: &Parts, target: &PathAndQuery, range: Option<&HeaderValue>) -> Request<Empty<Bytes>> {
    let mut question = Request::new(Empty::new());
    parts.method.clone_into(question.method_mut());
    *question.uri_mut() = Uri::from(target.clone());
    for name in &CONDITIONS {
        if let Some(value) = parts.headers.get(name) {
            question.headers_mut().insert(name, value.clone());
        }
    }
    if let Some(range) = range {
        question.headers_mut().insert(RANGE, range.clone());
    }
    question
}

/// Text is UTF-8 today; without a word browsers take it for something older.
fn say_utf8(headers: &mut HeaderMap) {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(kind) = named.filter(|kind| kind.starts_with("text/") && !kind.contains(';'))
        && let Ok(value) = HeaderValue::try_from(format!("{kind}; charset=utf-8"))
    {
        headers.insert(CONTENT_TYPE, value);
    }
}

/// Whether any name on the way begins with a dot, under every reading of the path.
fn has_hidden_segment(path: &str) -> bool {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    decoded.split(|byte| *byte == b'/' || *byte == b'\\').any(|segment| segment.first() == Some(&b'.'))
}

/// What a visitor may cause by asking for what isn't there, or isn't to be seen.
fn is_absence(cause: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(cause.kind(), NotFound | PermissionDenied | NotADirectory | IsADirectory | InvalidInput | InvalidFilename)
}

/// The files below one directory, and nothing else.
#[derive(Clone)]
struct Confined {
    root: Arc<Path>,
}

/// What is known of a file or directory.
#[derive(Clone, Copy, Debug)]
struct Facts {
    is_dir: bool,
    length: u64,
    modified: Option<SystemTime>,
}

/// An open file.
struct Opened {
    file: tokio::fs::File,
    facts: Facts,
}

type Promise<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Confined {
    fn directory(&self) -> io::Result<Dir> {
        Dir::open_ambient_dir(&self.root, cap_std::ambient_authority())
    }

    fn look(&self, path: &Path) -> io::Result<Facts> {
        let found = self.directory()?.metadata(path)?;
        if !found.is_dir() && !found.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let modified = found.modified().ok().map(cap_std::time::SystemTime::into_std);
        Ok(Facts { is_dir: found.is_dir(), length: found.len(), modified })
    }

    fn open_file(&self, path: &Path) -> io::Result<Opened> {
        // Opening a pipe would wait for its other end, so it is looked at first; what is open then is looked at again.
        if self.look(path)?.is_dir {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let file = self.directory()?.open(path)?.into_std();
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let facts = Facts { is_dir: false, length: found.len(), modified: found.modified().ok() };
        Ok(Opened { file: tokio::fs::File::from_std(file), facts })
    }

    fn promise<T: Send + 'static>(
        &self,
        path: PathBuf,
        work: impl FnOnce(&Self, &Path) -> io::Result<T> + Send + 'static,
    ) -> Promise<T> {
        let confined = self.clone();
        Box::pin(
            async move { tokio::task::spawn_blocking(move || work(&confined, &path)).await.map_err(io::Error::other)? },
        )
    }
}

impl Backend for Confined {
    type File = Opened;
    type Metadata = Facts;
    type OpenFuture = Promise<Opened>;
    type MetadataFuture = Promise<Facts>;

    fn open(&self, path: PathBuf) -> Promise<Opened> {
        self.promise(path, Self::open_file)
    }

    fn metadata(&self, path: PathBuf) -> Promise<Facts> {
        self.promise(path, Self::look)
    }
}

impl Metadata for Facts {
    fn is_dir(&self) -> bool {
        self.is_dir
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.modified.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> u64 {
        self.length
    }
}

impl File for Opened {
    type Metadata = Facts;
    type MetadataFuture<'a> = std::future::Ready<io::Result<Facts>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        std::future::ready(Ok(self.facts))
    }
}

impl AsyncRead for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(context, buffer)
    }
}

impl AsyncSeek for Opened {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(context)
    }
}
