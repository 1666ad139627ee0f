//! One connection in raw mode: bytes both ways, whatever they mean.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::Shared;
use super::client::{Client, End, Gate, read_some, write_gated};
use super::fault::Fault;
use super::upstream::Upstream;

/// Serves a connection to its end. A client that closes its sending half is taken to be gone.
pub(super) async fn serve(shared: &Shared, stream: &TcpStream) -> End {
    let faults = shared.rules().on_raw_connection();
    let gate = shared.gate();
    let mut client = Client::new(stream, gate.clone());
    if faults.iter().any(|fault| matches!(fault, Fault::BlackHole)) {
        return client.gone().await;
    }
    if let Err(end) = client.pass_gate().await {
        return end;
    }
    let upstream = match client.while_open(Upstream::connect(shared.upstream)).await {
        Ok(Ok(upstream)) => upstream.into_stream(),
        Ok(Err(_)) => return End::Reset,
        Err(end) => return end,
    };
    let down = Down::new(&faults);
    let ended = tokio::select! {
        ended = up(&mut client, &upstream) => ended,
        ended = down.run(&upstream, stream, gate) => ended,
    };
    match ended {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

async fn up(client: &mut Client<'_>, upstream: &TcpStream) -> Result<Infallible, End> {
    loop {
        client.any_input().await?;
        let bytes = client.take_input();
        client
            .while_open(write_gated(upstream, Gate::always_open(), &bytes))
            .await??;
    }
}

/// The direction towards the client, with the faults of this connection.
struct Down {
    latency: Option<Duration>,
    drip: Option<Duration>,
    /// How many bytes are left before the stall or the cut.
    left: usize,
    stalls: bool,
}

impl Down {
    fn new(faults: &[Fault]) -> Self {
        let mut down = Self {
            latency: None,
            drip: None,
            left: usize::MAX,
            stalls: false,
        };
        for fault in faults {
            match fault {
                Fault::Latency(latency) => {
                    down.latency = Some(down.latency.unwrap_or_default() + *latency);
                }
                Fault::Drip(interval) => down.drip = Some(*interval),
                Fault::StallAfter(bytes) if *bytes < down.left => (down.left, down.stalls) = (*bytes, true),
                Fault::CutAnswer(bytes) if *bytes < down.left => (down.left, down.stalls) = (*bytes, false),
                _ => {}
            }
        }
        down
    }

    async fn run(
        mut self,
        upstream: &TcpStream,
        client: &TcpStream,
        mut gate: Gate,
    ) -> Result<Infallible, End> {
        let mut input = BytesMut::new();
        loop {
            if let Err(end) = read_some(upstream, &mut input).await {
                gate.open().await;
                return Err(end);
            }
            if let Some(latency) = self.latency {
                sleep(latency).await;
            }
            let bytes = input.split();
            let shown = &bytes[..self.left.min(bytes.len())];
            match self.drip {
                None => write_gated(client, gate.clone(), shown).await?,
                Some(interval) => {
                    for byte in shown.chunks(1) {
                        sleep(interval).await;
                        write_gated(client, gate.clone(), byte).await?;
                    }
                }
            }
            self.left -= shown.len();
            if self.left == 0 {
                if self.stalls {
                    pending::<()>().await;
                }
                return Err(End::Close);
            }
        }
    }
}
