//! Connections: each is a task of its own, and none waits for its client for longer than it may.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Sleep, sleep},
};

use crate::seldom::Seldom;

/// How long to wait when no connection can be taken, for which the usual cause is too many open files.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Answers requests until `stop` is ready, then until those that run are answered. When it is dropped, so are they.
///
/// `timeout`: how long a client may take for the head of a request, and to take more of an answer. `most`: connections at the
/// same time; whoever comes then waits in the queue of the system, which has an end as well.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    timeout: Duration,
    most: usize,
    stop: impl Future<Output = ()>,
) {
    let (stopping, _) = watch::channel(());
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(timeout);
    let (cut_off, no_room, full) = (Arc::new(Seldom::default()), Seldom::default(), Seldom::default());
    let mut open = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            // Taken out as they end: the set is as large as what is open.
            Some(_ended) = open.join_next() => {}
            accepted = listener.accept(), if open.len() < most => match accepted {
                Ok((stream, _)) => {
                    let stream = Awaited { stream, timeout, waiting: None, cut_off: Arc::clone(&cut_off) };
                    open.spawn(answer(stream, builder.clone(), router.clone(), stopping.subscribe()));
                    if open.len() >= most
                        && let Some(times) = full.happened(Instant::now())
                    {
                        tracing::warn!(connections = most, times, "no more connections are taken until one of them ends");
                    }
                }
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    if let Some(times) = no_room.happened(Instant::now()) {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, times, "no connection can be taken; see how many files may be open");
                    }
                    sleep(NO_ROOM).await;
                }
            }
        }
    }
    drop(listener);
    stopping.send_replace(());
    while open.join_next().await.is_some() {}
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn answer(stream: Awaited, builder: http1::Builder, router: Router, mut stopping: watch::Receiver<()>) {
    // Answers are written whole or in large parts: there is nothing to wait for.
    let _ = stream.stream.set_nodelay(true);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
    }
}

/// A connection whose client has to take what is written, and cannot let the server wait for ever.
struct Awaited {
    stream: TcpStream,
    timeout: Duration,
    /// Ends when the client has taken nothing for too long. None: it takes what is written.
    waiting: Option<Pin<Box<Sleep>>>,
    cut_off: Arc<Seldom>,
}

impl Awaited {
    fn bounded<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let timeout = self.timeout;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(context));
        if let Some(times) = self.cut_off.happened(Instant::now()) {
            let peer = self.stream.peer_addr().map_or_else(|_| "–".to_owned(), |peer| peer.to_string());
            let seconds = timeout.as_secs_f64();
            tracing::warn!(peer, seconds, times, "a client asks and does not read: its connection was cut off");
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Awaited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The head of a request has its time in hyper, and a form its own: a handler may take longer than either.
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Awaited {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.bounded(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
