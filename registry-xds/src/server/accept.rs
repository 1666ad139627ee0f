//! Connections: accepting them, and ending them.

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::call::{Connection, Shared};
use super::tls::{Certificates, identify};
use crate::config::{TlsConfig, XdsConfig};
use crate::error::Error;

/// How many connections there are at a time. Further ones wait to be accepted.
const CONNECTIONS: usize = 10_000;

/// How long TLS may take to be agreed on.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a connection may go without its first call.
const FIRST_CALL: Duration = Duration::from_secs(30);

/// How long a connection that is to end has for what is under way: [`Xds::serve`](super::Xds::serve) ends that long after it
/// is told to, at the latest.
pub const GRACE: Duration = Duration::from_secs(2);

/// How often a connection is asked whether it lives, and how long it may take to say so: half-open ones are gone after 40 s.
/// The question waits in line behind what a slow client has still to read.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// What one stream may have waiting to be sent, beside one piece of a response.
const SEND_BUFFER: usize = 64 * 1024;

/// What a client may send before it is read. Requests are read as they come.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Calls at a time on one connection: one of ADS is usual.
const STREAMS: u32 = 1000;

/// Serves until `stop`.
///
/// # Errors
///
/// Where certificates cannot be read at the start. A connection that fails is its client's trouble alone.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let certificates = Arc::new(Certificates::default());
    if let Some(tls) = &shared.views.config().tls {
        certificates.acceptor(tls).await?;
    }
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (shared, certificates, stop) = (shared.clone(), certificates.clone(), stop.clone());
                connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = converse(stream, peer, shared, &certificates, stop).await {
                        tracing::debug!(%peer, %error, "a connection for xDS broke off");
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: those that are open have to end first.
                tracing::warn!(%error, "could not accept a connection for xDS");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    certificates: &Certificates,
    stop: CancellationToken,
) -> Result<(), Failure> {
    // An update is small and urgent.
    stream.set_nodelay(true)?;
    let name: Arc<str> = stream.local_addr()?.to_string().into();
    let mut settings = shared.views.settings();
    let config = settings.borrow_and_update().clone();
    let age = config.max_connection_age.mul_f64(around_one());
    let ending = stop.child_token();
    let connection = |identity| Connection {
        shared: shared.clone(),
        peer,
        identity,
        name,
        ending,
    };
    let Some(tls) = &config.tls else {
        return speak(stream, connection(Ok(None)), sleep(age), stop).await;
    };
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE, shake(stream, certificates, tls)) => shaken?,
        () = stop.cancelled() => return Ok(()),
    };
    let stream = shaken.inspect_err(|error| {
        if is_refusal(error.as_ref()) {
            shared.clients.refuse();
            if shared.clients.is_news(&format!("{}\n{error}", peer.ip())) {
                tracing::warn!(%peer, %error, "refused a client of xDS");
            }
        }
    })?;
    let presented = stream.get_ref().1.peer_certificates();
    let presented = presented
        .and_then(<[_]>::first)
        .map(|leaf| leaf.clone().into_owned());
    let identity = identify(presented.as_ref(), &tls.clients);
    if let Err(why) = &identity
        && shared.clients.is_news(&format!("{}\n{why}", peer.ip()))
    {
        tracing::warn!(%peer, %why, "refused a client of xDS");
    }
    let is_permitted = identity.is_ok();
    let outdated = async move {
        tokio::select! {
            () = sleep(age) => {}
            () = judged_otherwise(presented, is_permitted, settings) => {}
        }
    };
    speak(stream, connection(identity), outdated, stop).await
}

/// Resolves when a client that was permitted would not be any more, or the other way round.
async fn judged_otherwise(
    presented: Option<CertificateDer<'static>>,
    is_permitted: bool,
    mut settings: watch::Receiver<Arc<XdsConfig>>,
) {
    while settings.changed().await.is_ok() {
        let config = settings.borrow_and_update().clone();
        if let Some(tls) = &config.tls
            && identify(presented.as_ref(), &tls.clients).is_ok() != is_permitted
        {
            return;
        }
    }
    pending::<()>().await;
}

async fn shake(
    stream: TcpStream,
    certificates: &Certificates,
    tls: &TlsConfig,
) -> Result<tokio_rustls::server::TlsStream<TcpStream>, Failure> {
    Ok(certificates.acceptor(tls).await?.accept(stream).await?)
}

/// True where a handshake failed for want of a good certificate of the client.
fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|error| {
            matches!(
                error,
                rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)
            )
        })
}

/// Speaks HTTP/2 until the client is gone, the connection is outdated, or `stop`.
async fn speak<I>(
    io: I,
    connection: Connection,
    outdated: impl Future<Output = ()>,
    stop: CancellationToken,
) -> Result<(), Failure>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let called = Arc::new(AtomicBool::new(false));
    let ending = connection.ending.clone();
    let service = {
        let called = called.clone();
        service_fn(move |request| {
            called.store(true, Ordering::Relaxed);
            ready(Ok::<_, Infallible>(connection.answer(request)))
        })
    };
    let mut served = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN)
            .max_concurrent_streams(STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .serve_connection(TokioIo::new(io), service)
    );
    let uncalled = async {
        sleep(FIRST_CALL).await;
        if called.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    };
    tokio::select! {
        ended = served.as_mut() => return Ok(ended?),
        () = uncalled => return Err("it never called".into()),
        () = stop.cancelled() => {}
        () = outdated => {}
    }
    // The GOAWAY goes first, so that a client which comes back at once does so on another connection.
    served.as_mut().graceful_shutdown();
    ending.cancel();
    match timeout(GRACE, served).await {
        Ok(ended) => Ok(ended?),
        // A client that does not read: nothing can be said to it.
        Err(_) => Ok(()),
    }
}

/// A random number between 0.9 and 1.1, so that clients of one server do not all leave it at once.
#[allow(clippy::cast_precision_loss, reason = "16 bits fit")]
fn around_one() -> f64 {
    let random = RandomState::new().hash_one(0) >> 48;
    0.9 + 0.2 * (random as f64 / 65_535.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_differ_by_no_more_than_a_tenth() {
        let drawn: Vec<f64> = (0..100).map(|_| around_one()).collect();
        assert!(drawn.iter().all(|age| (0.9..=1.1).contains(age)));
        assert!(drawn.iter().any(|age| *age < 1.0) && drawn.iter().any(|age| *age > 1.0));
    }
}
