//! `tapline serve`

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;

use crate::{app::App, report::Hint};

/// Something was still running when the program had to end.
const CUT_OFF: u8 = 3;

pub(crate) async fn run(app: &App) -> Result<ExitCode> {
    let address = &app.config.listen;
    let listener = TcpListener::bind(address).await.with_context(|| Hint {
        message: format!("cannot listen on {address}"),
        hint: "another program may listen there: choose an address with --listen, port 0 for a free one".to_owned(),
    })?;
    let signals = signals()?;
    let address = listener.local_addr()?;
    writeln!(io::stdout(), "listening on http://{address}")?;
    io::stdout().flush()?;
    let complete = app.server().serve(listener, signals).await?;
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
