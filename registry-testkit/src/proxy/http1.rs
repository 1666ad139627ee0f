//! HTTP/1.1 messages: parsed with `httparse`, written by hand, because a fault has to be able to break the wire.

use std::io;

use bytes::{Bytes, BytesMut};

/// Name and value of each header, in the order and the case of the wire.
pub(crate) type Headers = Vec<(String, Bytes)>;

const MAX_HEADERS: usize = 128;

/// How the length of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query as sent.
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    /// Whether the connection may carry another request afterwards.
    pub(crate) keep_alive: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) chunked: bool,
    /// An answer that has no body by definition (to `HEAD`, 204, 304): its headers are passed on untouched.
    pub(crate) bodiless: bool,
    pub(crate) close: bool,
}

/// The head of a request whose body is still to be read.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) request: Request,
    pub(crate) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
}

/// The head of an answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) answer: Answer,
    pub(crate) framing: Framing,
}

/// Takes the head of a request off `input`; `None` while it is incomplete.
pub(crate) fn parse_request(input: &mut BytesMut) -> io::Result<Option<RequestHead>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(used) = parsed.parse(input).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let (headers, marks) = sort_out(parsed.headers);
    let head = RequestHead {
        framing: marks.framing.unwrap_or(Framing::Length(0)),
        expects_continue: marks.expects_continue,
        request: Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            target: parsed.path.unwrap_or_default().to_owned(),
            headers,
            body: Bytes::new(),
            keep_alive: !marks.close && parsed.version == Some(1),
        },
    };
    let _ = input.split_to(used);
    Ok(Some(head))
}

/// Takes the head of an answer to a request of `method` off `input`; `None` while it is incomplete.
pub(crate) fn parse_answer(method: &str, input: &mut BytesMut) -> io::Result<Option<AnswerHead>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(used) = parsed.parse(input).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let status = parsed.code.unwrap_or_default();
    let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
    let (headers, marks) = if bodiless {
        (copy_of(parsed.headers), marks_of(parsed.headers))
    } else {
        sort_out(parsed.headers)
    };
    let framing = if bodiless {
        Framing::Length(0)
    } else {
        marks.framing.unwrap_or(Framing::UntilClose)
    };
    let head = AnswerHead {
        framing,
        answer: Answer {
            status,
            reason: parsed.reason.unwrap_or_default().to_owned(),
            headers,
            body: Bytes::new(),
            chunked: framing == Framing::Chunked,
            bodiless,
            close: marks.close || framing == Framing::UntilClose || parsed.version == Some(0),
        },
    };
    let _ = input.split_to(used);
    Ok(Some(head))
}

/// What the headers say about the framing and the connection.
struct Marks {
    framing: Option<Framing>,
    close: bool,
    expects_continue: bool,
}

fn marks_of(headers: &[httparse::Header<'_>]) -> Marks {
    let mut marks = Marks {
        framing: None,
        close: false,
        expects_continue: false,
    };
    for header in headers {
        let value = String::from_utf8_lossy(header.value).to_ascii_lowercase();
        match header.name.to_ascii_lowercase().as_str() {
            "transfer-encoding" if value.contains("chunked") => marks.framing = Some(Framing::Chunked),
            // Chunked wins over a length, whatever their order (RFC 9112, 6.3).
            "content-length" if marks.framing.is_none() => {
                marks.framing = value.trim().parse().ok().map(Framing::Length);
            }
            "connection" if value.contains("close") => marks.close = true,
            "expect" if value.contains("100-continue") => marks.expects_continue = true,
            _ => {}
        }
    }
    marks
}

fn copy_of(headers: &[httparse::Header<'_>]) -> Headers {
    headers
        .iter()
        .map(|header| (header.name.to_owned(), Bytes::copy_from_slice(header.value)))
        .collect()
}

/// The headers without those of the framing, which the writer adds again.
fn sort_out(headers: &[httparse::Header<'_>]) -> (Headers, Marks) {
    let mut kept = copy_of(headers);
    kept.retain(|(name, _)| !is_framing(name) && !name.eq_ignore_ascii_case("expect"));
    (kept, marks_of(headers))
}

/// Whether the writer of a message sets this header itself.
pub(crate) fn is_framing(name: &str) -> bool {
    name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
}

/// Collects a body from the bytes that arrive.
#[derive(Debug)]
pub(crate) struct BodyReader {
    framing: Framing,
    chunk: Chunk,
    body: BytesMut,
}

#[derive(Debug, Clone, Copy)]
enum Chunk {
    Size,
    /// So many bytes of the chunk are still to come.
    Content(usize),
    /// The line break after a chunk's content.
    Break,
    /// Header lines after the last chunk, up to an empty one.
    Trailers,
}

impl BodyReader {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            framing,
            chunk: Chunk::Size,
            body: BytesMut::new(),
        }
    }

    /// Takes what belongs to the body off `input`; true when the body is complete.
    pub(crate) fn advance(&mut self, input: &mut BytesMut) -> io::Result<bool> {
        match self.framing {
            Framing::Length(length) => {
                let missing = length - self.body.len();
                self.body.unsplit(input.split_to(missing.min(input.len())));
                Ok(self.body.len() == length)
            }
            Framing::UntilClose => {
                self.body.unsplit(input.split());
                Ok(false)
            }
            Framing::Chunked => self.advance_chunked(input),
        }
    }

    fn advance_chunked(&mut self, input: &mut BytesMut) -> io::Result<bool> {
        loop {
            match self.chunk {
                Chunk::Size => {
                    let parsed = httparse::parse_chunk_size(input)
                        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "invalid chunk size"))?;
                    let httparse::Status::Complete((used, size)) = parsed else {
                        return Ok(false);
                    };
                    let _ = input.split_to(used);
                    let size = usize::try_from(size).map_err(io::Error::other)?;
                    self.chunk = if size == 0 {
                        Chunk::Trailers
                    } else {
                        Chunk::Content(size)
                    };
                }
                Chunk::Content(0) => self.chunk = Chunk::Break,
                Chunk::Content(_) if input.is_empty() => return Ok(false),
                Chunk::Content(missing) => {
                    let taken = missing.min(input.len());
                    self.body.extend_from_slice(&input.split_to(taken));
                    self.chunk = Chunk::Content(missing - taken);
                }
                Chunk::Break if input.len() < 2 => return Ok(false),
                Chunk::Break => {
                    let _ = input.split_to(2);
                    self.chunk = Chunk::Size;
                }
                Chunk::Trailers => {
                    let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else {
                        return Ok(false);
                    };
                    let _ = input.split_to(end + 2);
                    if end == 0 {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// What came of the body since the last call; for bodies alone whose end does not depend on it, so not for those of
    /// a declared length.
    pub(crate) fn take(&mut self) -> BytesMut {
        self.body.split()
    }

    /// Whether the end of the stream is the end of the body.
    pub(crate) fn ends_with_stream(&self) -> bool {
        self.framing == Framing::UntilClose
    }

    pub(crate) fn into_body(self) -> Bytes {
        self.body.freeze()
    }
}

// === impl Request ===

impl Request {
    /// The path without the query.
    pub(crate) fn path(&self) -> &str {
        path_of(&self.target)
    }

    /// Whether it asks to be told of changes until one side has enough.
    fn is_watch(&self) -> bool {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "watch")
            .is_some_and(|(_, value)| value != "0" && value != "false")
    }

    /// The whole message, with its body in one piece.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        write_headers(&mut out, &self.headers);
        if !self.body.is_empty() || !matches!(self.method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS") {
            out.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }
}

pub(crate) fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

// === impl AnswerHead ===

impl AnswerHead {
    /// Whether the body may have no end in sight, so that it has to be passed on as it comes.
    pub(crate) fn is_stream(&self, request: &Request) -> bool {
        let events = |(name, value): &(String, Bytes)| {
            name.eq_ignore_ascii_case("content-type") && value.starts_with(b"text/event-stream")
        };
        match self.framing {
            Framing::Chunked => request.is_watch() || self.answer.headers.iter().any(events),
            // Nomad writes its events past its own HTTP server.
            Framing::UntilClose => request.path() == "/v1/event/stream",
            Framing::Length(_) => false,
        }
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn new(status: u16, headers: Headers, body: Bytes) -> Self {
        let reason = http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason());
        Self {
            status,
            reason: reason.unwrap_or("Unknown").to_owned(),
            headers,
            body,
            chunked: false,
            bodiless: status == 204 || status == 304,
            close: false,
        }
    }

    /// A short answer in `text/plain`.
    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        let kind = (
            "Content-Type".to_owned(),
            Bytes::from_static(b"text/plain; charset=utf-8"),
        );
        Self::new(status, vec![kind], Bytes::from(text.into()))
    }

    pub(crate) fn set_header(&mut self, name: &str, value: Bytes) {
        self.remove_header(name);
        self.headers.push((name.to_owned(), value));
    }

    pub(crate) fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(held, _)| !held.eq_ignore_ascii_case(name));
    }

    /// The status line and the headers; `excess` is what the declared length is too long by.
    pub(crate) fn encode_head(&self, excess: usize) -> Vec<u8> {
        let mut out = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason).into_bytes();
        write_headers(&mut out, &self.headers);
        if self.bodiless {
            // Whatever length it declares is among the headers already.
        } else if self.chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        } else {
            let length = self.body.len().saturating_add(excess);
            out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// A part of the body as it goes over the wire.
    pub(crate) fn encode_part(&self, part: &Bytes) -> Bytes {
        if !self.chunked || part.is_empty() {
            return part.clone();
        }
        let mut out = format!("{:x}\r\n", part.len()).into_bytes();
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
        Bytes::from(out)
    }
}

fn write_headers(out: &mut Vec<u8>, headers: &Headers) {
    for (name, value) in headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}
