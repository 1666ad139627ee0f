//! Accepting connections, and ending them.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use registry_core::Discovery;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{HttpOptions, router};

/// What one connection may have waiting to be sent. Beyond it nothing is asked of the answer's body, so this, one
/// chunk, and the socket's own buffer are all that a client costs which does not read.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a client may take to send the head of a request, and how long a connection may idle between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves what `discovery` knows until `stop`; then watches end at once, and other answers under way get
/// [`HttpOptions::grace`] to finish.
///
/// # Errors
///
/// Where the listener has no address any more. A connection that fails is its client's trouble alone.
pub async fn serve(
    listener: TcpListener,
    discovery: Discovery,
    options: HttpOptions,
    stop: CancellationToken,
) -> io::Result<()> {
    let grace = options.grace;
    let router = router(discovery, options, listener.local_addr()?, stop.clone());
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // A delta is small and urgent. Where this fails the connection is gone, which shows soon enough.
                let _ = stream.set_nodelay(true);
                connections.spawn(converse(stream, router.clone(), stop.clone(), grace));
            }
            Err(error) => {
                // Out of file descriptors, most likely: those that are open have to end first.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn converse(stream: TcpStream, router: Router, stop: CancellationToken, grace: Duration) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(SEND_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended: Result<(), hyper::Error> = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(grace, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}
