//! A host and a store behind addresses.

use std::{
    convert::Infallible,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{Extension, Router};
use tapline_host_core::Host;
use tapline_store::Store;
use tapline_telemetry::Traces;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::spawn_blocking,
    time::{MissedTickBehavior, timeout_at},
};
use tracing::Instrument;

use crate::{
    action::{Outcomes, SpecSource},
    connections,
    form::FormToken,
    heavy::Heavy,
    history::{self, History},
    operator::{OnLoopback, OperatorToken},
    request, respond,
    scrape::Scrapes,
};

/// The title of a site that has no other.
pub const DEFAULT_TITLE: &str = "Tapline";
/// Items on one page of the list.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// How long a server waits for what runs when it is told to end.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(10);
/// How long a client may keep the server waiting: no longer than [`DEFAULT_DRAIN`], so that a server that is told to end has
/// answered all who read.
pub const DEFAULT_CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections at the same time: as many as requests that a host with a thousand slots is shown to serve at once.
pub const DEFAULT_MAX_CONNECTIONS: usize = 4000;

/// The settings of a [`Server`]. Start from `default()` and change what differs.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The title of the site. Defaults to [`DEFAULT_TITLE`].
    pub title: String,
    /// Items on one page of the list. Defaults to [`DEFAULT_PAGE_SIZE`].
    pub page_size: u32,
    /// The time between two runs of `cron`, the first of which comes at once. Defaults to none.
    pub cron: Option<Duration>,
    /// How long to wait for what runs when the server is told to end. Defaults to [`DEFAULT_DRAIN`].
    pub drain: Duration,
    /// What opens `/_tapline` and `?explain`, which say more than visitors should know. Defaults to none: they are then open
    /// to this machine alone, and only where the server listens on a loopback address. A server behind a proxy on
    /// the same machine should have one.
    pub operator_token: Option<OperatorToken>,
    /// How long a client may take until a request is complete, and until it takes more of an answer. What is cut off then
    /// is its connection; one that waits for a next request is closed after the same time. It does not bound an answer that
    /// is read slowly, byte by byte. Defaults to [`DEFAULT_CLIENT_TIMEOUT`].
    pub client_timeout: Duration,
    /// Connections at the same time, at least one. Whoever comes when they are all taken waits until one ends, in the queue of the
    /// system; the log says so, once a minute. How many files the process may open is a bound as well. Defaults to
    /// [`DEFAULT_MAX_CONNECTIONS`].
    pub max_connections: usize,
    /// Where a plugin comes from when an operator has it loaded again. Defaults to none: that cannot be done then.
    pub specs: Option<SpecSource>,
    /// What a [`Recorder`](tapline_telemetry::Recorder) of the program keeps, for operators to look at. Defaults to nothing.
    pub traces: Traces,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            title: DEFAULT_TITLE.to_owned(),
            page_size: DEFAULT_PAGE_SIZE,
            cron: None,
            drain: DEFAULT_DRAIN,
            operator_token: None,
            client_timeout: DEFAULT_CLIENT_TIMEOUT,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            specs: None,
            traces: Traces::new(0),
        }
    }
}

/// Makes pages and serves them. Cheap to clone; all clones are the same server.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host,
    store: Store,
    config: ServerConfig,
    started: Instant,
    history: History,
    form_token: Option<FormToken>,
    outcomes: Outcomes,
    scrapes: Scrapes,
    heavy: Heavy,
}

impl Server {
    /// Puts a server together. Nothing runs yet.
    #[must_use]
    pub fn new(host: Host, store: Store, config: ServerConfig) -> Self {
        Self {
            inner: Arc::new(Inner {
                host,
                store,
                config,
                started: Instant::now(),
                history: History::default(),
                form_token: FormToken::new(),
                outcomes: Outcomes::default(),
                scrapes: Scrapes::default(),
                heavy: Heavy::default(),
            }),
        }
    }

    /// All addresses, for a program that serves them itself or beside its own.
    pub fn router(&self) -> Router {
        respond::router(self.clone())
    }

    /// Answers requests until `shutdown` is ready. Then it takes no new ones, waits for those that run, for at most
    /// [`ServerConfig::drain`], and shuts the host down. `false`: something still ran and was cut off.
    ///
    /// # Errors
    ///
    /// The listener fails.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> io::Result<bool> {
        let (stop, stopped) = oneshot::channel::<()>();
        let mut router = self.router();
        if listener.local_addr()?.ip().is_loopback() {
            router = router.layer(Extension(OnLoopback));
        }
        let stopped = async {
            // The sender is dropped only when this future is dropped as well.
            let _ = stopped.await;
        };
        let ServerConfig { client_timeout, max_connections, .. } = self.inner.config;
        let mut serving =
            std::pin::pin!(connections::serve(listener, router, client_timeout, max_connections.max(1), stopped));
        {
            let cron = std::pin::pin!(self.cron());
            let watch = std::pin::pin!(self.watch());
            tokio::select! {
                // It ends only when it is told to.
                () = &mut serving => return Ok(true),
                () = shutdown => {}
                never = cron => match never {},
                never = watch => match never {},
            }
        }
        let deadline = tokio::time::Instant::now() + self.inner.config.drain;
        let _ = stop.send(());
        let answered = timeout_at(deadline, serving).await.is_ok();
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let drained = self.inner.host.shut_down(left).await;
        self.inner.store.close().await;
        Ok(answered && drained)
    }

    /// Runs `cron` for ever. A run that takes longer than the interval delays the next one.
    async fn cron(&self) -> Infallible {
        let Some(every) = self.inner.config.cron.filter(|every| !every.is_zero()) else {
            return std::future::pending().await;
        };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let server = self.clone();
            // A task of its own: a run that is on its way when the server ends is waited for like any other call.
            let run = tokio::spawn(async move { server.run_cron().await }.instrument(request::cron()));
            if let Err(error) = run.await {
                tracing::error!(error = &error as &dyn std::error::Error, "cron ended early");
            }
        }
    }

    /// Takes a sample of the counters every second, for ever.
    async fn watch(&self) -> Infallible {
        let mut ticks = tokio::time::interval(history::EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let host = self.inner.host.clone();
            // Longer the more plugins there are, and the listener would wait for it.
            if let Ok(snapshots) = spawn_blocking(move || host.metrics().tap_snapshots()).await {
                self.inner.history.take(Instant::now(), &snapshots);
            }
        }
    }

    async fn run_cron(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // The host has logged the failures of plugins.
        if let Err(error) = self.inner.store.cron(&self.inner.host, i64::try_from(now).unwrap_or(i64::MAX)).await {
            tracing::error!(error = &error as &dyn std::error::Error, "cron could not run");
        }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.inner.host
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn config(&self) -> &ServerConfig {
        &self.inner.config
    }

    pub(crate) fn history(&self) -> &History {
        &self.inner.history
    }

    pub(crate) fn form_token(&self) -> Option<&FormToken> {
        self.inner.form_token.as_ref()
    }

    pub(crate) fn outcomes(&self) -> &Outcomes {
        &self.inner.outcomes
    }

    pub(crate) fn scrapes(&self) -> &Scrapes {
        &self.inner.scrapes
    }

    pub(crate) fn heavy(&self) -> &Heavy {
        &self.inner.heavy
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.inner.started.elapsed()
    }
}
