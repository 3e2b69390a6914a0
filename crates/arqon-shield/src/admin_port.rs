//! The admin port as a socket: bounded connections, each with a limit on the time for its header, and an end in which
//! answers under way still leave.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections; beyond that they wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 512;
/// For the header of a request, and so for how long a connection may do nothing.
const HEADER_WITHIN: Duration = Duration::from_secs(30);
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// For answers under way when the Shield ends. A stream of events never ends by itself.
const END_WITHIN: Duration = Duration::from_secs(1);
/// How long the loop rests after an error; most are about file descriptors running out.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Serves until `stop` says true. Runs on a `LocalSet`.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = JoinSet::new();
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            // An error means that the last handle of the Shield has gone.
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept => accepted,
        };
        while tasks.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                tasks.spawn_local(async move {
                    connection(stream, router, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting on the admin port failed");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
    let ended = async { while tasks.join_next().await.is_some() {} };
    // What is left after that is cut with the set of tasks.
    let _ = tokio::time::timeout(END_WITHIN, ended).await;
}

async fn connection(stream: TcpStream, router: Router, mut stop: watch::Receiver<bool>) {
    // An answer is one write, and whoever waits for it has nothing else to send.
    let _ = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_WITHIN).max_buf_size(HEADER_BYTES_MAX);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    tokio::select! {
        _ = served.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => served.as_mut().graceful_shutdown(),
    }
    // An error is the client's, who knows it already.
    let _ = served.await;
}
