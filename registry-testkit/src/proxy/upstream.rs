//! The server's side of a connection: one for each of the client's, so that limits, closings and resets of the
//! real server show as they are.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::client::{End, read_some};
use super::http1::{Answer, AnswerHead, BodyReader, Request, parse_answer};

#[derive(Debug)]
pub(crate) struct Upstream {
    stream: TcpStream,
    input: BytesMut,
}

impl Upstream {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            input: BytesMut::new(),
        })
    }

    /// Sends a request and reads the head of its answer, however long the server parks it.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<AnswerHead, End> {
        self.stream.write_all(&request.encode()).await?;
        loop {
            match parse_answer(&request.method, &mut self.input)? {
                None => self.read_more().await?,
                // `100 Continue` and the like announce the answer, they are none, and have no body.
                Some(head) if (100..200).contains(&head.answer.status) => {}
                Some(head) => return Ok(head),
            }
        }
    }

    /// Reads the body that belongs to a head.
    pub(crate) async fn whole(&mut self, head: AnswerHead) -> Result<Answer, End> {
        let mut body = BodyReader::new(head.framing);
        while !body.advance(&mut self.input)? {
            match self.read_more().await {
                Err(End::Close) if body.ends_with_stream() => break,
                other => other?,
            }
        }
        Ok(Answer {
            body: body.into_body(),
            ..head.answer
        })
    }

    /// Takes what is there of a body; true when it is complete.
    pub(crate) fn advance(&mut self, body: &mut BodyReader) -> Result<bool, End> {
        Ok(body.advance(&mut self.input)?)
    }

    /// Waits for what the server says unasked: bytes, or the end. Cancelling it loses nothing.
    pub(crate) async fn unsolicited(&mut self) -> Result<(), End> {
        if self.input.is_empty() {
            self.read_more().await
        } else {
            Ok(())
        }
    }

    pub(crate) async fn read_more(&mut self) -> Result<(), End> {
        read_some(&self.stream, &mut self.input).await
    }

    pub(crate) fn take_input(&mut self) -> BytesMut {
        self.input.split()
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}
