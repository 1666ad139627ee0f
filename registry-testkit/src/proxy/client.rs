//! The client's side of a connection: every wait on it notices that the client has gone, every byte passes the
//! gate that a black hole closes.

use std::future::{Future, pending};
use std::io;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::http1::{BodyReader, Request, parse_request};

/// How much a client may send ahead of being read; beyond it the kernel's buffers fill up.
const MAX_AHEAD: usize = 1 << 20;

/// The most that is handed to the kernel at once, so that a black hole acts in the middle of a large answer.
const WRITE_SIZE: usize = 16 << 10;

/// The least that is read at once, if it is there.
const READ_SIZE: usize = 8 << 10;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With a FIN.
    Close,
    /// With a RST.
    Reset,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionRefused => {
                Self::Reset
            }
            _ => Self::Close,
        }
    }
}

/// What a proxy does to all of its connections.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Control {
    pub(crate) black_hole: bool,
    pub(crate) refuse: bool,
    /// How often all connections have been reset.
    pub(crate) resets: u64,
}

/// A view of [`Control`] for one connection.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Receiver<Control>);

impl Gate {
    pub(crate) fn new(control: watch::Receiver<Control>) -> Self {
        Self(control)
    }

    /// A gate that nobody closes.
    pub(crate) fn always_open() -> Self {
        Self(watch::channel(Control::default()).1)
    }

    pub(crate) fn now(&self) -> Control {
        *self.0.borrow()
    }

    /// Waits while there is a black hole.
    pub(crate) async fn open(&mut self) {
        let opened = self.0.wait_for(|control| !control.black_hole).await.is_ok();
        if !opened && self.now().black_hole {
            // Nobody is left who could lift the hole.
            pending::<()>().await;
        }
    }

    async fn closed(&mut self) {
        self.until(|control| control.black_hole).await;
    }

    /// Waits for a reset later than the given one.
    pub(crate) async fn reset_after(&mut self, resets: u64) {
        self.until(|control| control.resets > resets).await;
    }

    async fn until(&mut self, reached: impl FnMut(&Control) -> bool) {
        if self.0.wait_for(reached).await.is_err() {
            pending::<()>().await;
        }
    }
}

#[derive(Debug)]
pub(crate) struct Client<'a> {
    stream: &'a TcpStream,
    gate: Gate,
    /// Read, but not consumed yet.
    input: BytesMut,
}

impl<'a> Client<'a> {
    pub(crate) fn new(stream: &'a TcpStream, gate: Gate) -> Self {
        Self {
            stream,
            gate,
            input: BytesMut::new(),
        }
    }

    /// Awaits `work` for as long as the client stays; what it sends meanwhile is kept.
    pub(crate) async fn while_open<F: Future>(&mut self, work: F) -> Result<F::Output, End> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            end = read_ahead(self.stream, &mut self.input) => Err(end),
        }
    }

    /// Waits until the client has gone.
    pub(crate) async fn gone(&mut self) -> End {
        read_ahead(self.stream, &mut self.input).await
    }

    /// Waits until there is more input than now. Cancelling it loses nothing.
    async fn read_more(&mut self) -> Result<(), End> {
        read_some(self.stream, &mut self.input).await?;
        self.pass_gate().await
    }

    /// Waits until there is any input. Cancelling it loses nothing.
    pub(crate) async fn any_input(&mut self) -> Result<(), End> {
        if self.input.is_empty() {
            read_some(self.stream, &mut self.input).await?;
        }
        self.pass_gate().await
    }

    /// Waits while there is a black hole.
    pub(crate) async fn pass_gate(&mut self) -> Result<(), End> {
        let mut gate = self.gate.clone();
        self.while_open(gate.open()).await
    }

    pub(crate) fn take_input(&mut self) -> BytesMut {
        self.input.split()
    }

    /// Reads the next request. Cancelling it between two requests loses nothing.
    pub(crate) async fn request(&mut self) -> Result<Request, End> {
        let head = loop {
            if let Some(head) = parse_request(&mut self.input)? {
                break head;
            }
            self.read_more().await?;
        };
        if head.expects_continue {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut body = BodyReader::new(head.framing);
        while !body.advance(&mut self.input)? {
            self.read_more().await?;
        }
        Ok(Request {
            body: body.into_body(),
            ..head.request
        })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        let (stream, gate) = (self.stream, self.gate.clone());
        Ok(self.while_open(write_gated(stream, gate, bytes)).await??)
    }
}

/// Writes everything, except while there is a black hole.
pub(crate) async fn write_gated(stream: &TcpStream, mut gate: Gate, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        gate.open().await;
        tokio::select! {
            biased;
            () = gate.closed() => {}
            ready = stream.writable() => {
                ready?;
                match stream.try_write(&rest[..rest.len().min(WRITE_SIZE)]) {
                    Ok(written) => rest = &rest[written..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

/// Reads into `input` until the peer has gone.
async fn read_ahead(stream: &TcpStream, input: &mut BytesMut) -> End {
    while input.len() < MAX_AHEAD {
        if let Err(end) = read_some(stream, input).await {
            return end;
        }
    }
    pending().await
}

/// Reads at least one byte into `input`; the end of the stream is an [`End::Close`].
pub(crate) async fn read_some(stream: &TcpStream, input: &mut BytesMut) -> Result<(), End> {
    loop {
        stream.readable().await?;
        // A buffer that was split off leaves next to no capacity behind.
        input.reserve(READ_SIZE);
        match stream.try_read_buf(input) {
            Ok(0) => return Err(End::Close),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}
