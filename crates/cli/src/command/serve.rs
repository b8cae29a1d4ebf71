//! `tapline serve`

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;

use crate::{app::App, arguments::Global, report::Hint, watch};

/// Something was still running when the program had to end.
const CUT_OFF: u8 = 3;

/// `watched`: where the configuration comes from, if it is to be followed.
pub(crate) async fn run(app: &App, watched: Option<&Global>) -> Result<ExitCode> {
    let address = &app.config.listen;
    let listener = TcpListener::bind(address).await.with_context(|| Hint {
        message: format!("cannot listen on {address}"),
        hint: "another program may listen there: choose an address with --listen, port 0 for a free one".to_owned(),
    })?;
    let signals = signals()?;
    let address = listener.local_addr()?;
    writeln!(io::stdout(), "listening on http://{address}")?;
    io::stdout().flush()?;
    // A task of its own: checking a plugin takes milliseconds of a thread, which the listener would wait for.
    let watching =
        watched.map(|global| tokio::spawn(watch::follow(app.host.clone(), global.clone(), app.config.clone())));
    let shutdown = async {
        signals.await;
        // What is loaded from now on would serve nobody.
        if let Some(watching) = watching {
            watching.abort();
        }
    };
    let complete = app.server().serve(listener, shutdown).await?;
    if !complete {
        tracing::warn!("something was still running and was cut off");
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(CUT_OFF) })
}

/// Ready when somebody asks the program to end.
#[cfg(unix)]
fn signals() -> Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("asked to end");
    })
}

/// Ready when somebody asks the program to end.
#[cfg(not(unix))]
fn signals() -> Result<impl Future<Output = ()> + Send> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
