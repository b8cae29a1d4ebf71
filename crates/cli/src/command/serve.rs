//! `tapline serve`

use std::{
    error::Error,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use indicatif::ProgressBar;
use tapline_host_core::{Host, Profile};
use tokio::net::TcpListener;

use crate::{
    app::{App, ProcessStart, StartStages},
    arguments::Global,
    progress,
    report::Hint,
    watch::{self, Hangups},
};

/// Something was still running when the program had to end.
const CUT_OFF: u8 = 3;

/// Where `--profile` writes what plugins did.
pub(crate) struct ProfileFile {
    pub(crate) profile: Profile,
    file: File,
    path: PathBuf,
}

impl ProfileFile {
    /// Makes the file, so that one that cannot be written is known at once and not after hours.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let failed = || Hint {
            message: format!("cannot write {}", path.display()),
            hint: "name a file in a directory that there is, with --profile".to_owned(),
        };
        // To open a pipe is to wait for whoever reads it.
        #[cfg(unix)]
        if fs::metadata(path).is_ok_and(|it| std::os::unix::fs::FileTypeExt::is_fifo(&it.file_type())) {
            return Err(io::Error::other("it is a pipe")).with_context(failed);
        }
        let file = File::create(path).with_context(failed)?;
        Ok(Self { profile: Profile::default(), file, path: path.to_owned() })
    }

    pub(crate) fn write(mut self) -> Result<()> {
        let written = self.file.write_all(self.profile.folded().as_bytes());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// `global`: where the configuration comes from. `watch`: whether it is followed without being asked.
pub(crate) async fn run(
    app: &App,
    global: &Global,
    watch: bool,
    hangups: Hangups,
    process: ProcessStart,
) -> Result<ExitCode> {
    let start = Instant::now();
    let address = &app.config.listen;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let hint = Hint { message: format!("cannot listen on {address}"), hint: where_to_listen(&error).to_owned() };
        anyhow::Error::new(error).context(hint)
    })?;
    let signals = signals()?;
    let address = listener.local_addr()?;
    writeln!(io::stdout(), "listening on http://{address}")?;
    io::stdout().flush()?;
    let process_start = process.elapsed();
    app.host.metrics().set_process_start(process_start);
    let StartStages { config, database, host, plugins } = app.stages;
    let microseconds = |stage: Duration| u64::try_from(stage.as_micros()).unwrap_or(u64::MAX);
    tracing::info!(
        config_us = microseconds(config),
        database_us = microseconds(database),
        host_us = microseconds(host),
        plugins_us = microseconds(plugins),
        listen_us = microseconds(start.elapsed()),
        process_start_ms = process_start.as_secs_f64() * 1000.0,
        "ready"
    );
    // Nobody waits for plugins that nobody calls: who calls one that has no code yet waits for this one alone.
    let bar = progress::bar(app.host.plugins().len());
    let bringing = tokio::spawn(bring_code(app.host.clone(), bar));
    let resting = app.config.idle_after.map(|after| {
        let host = app.host.clone();
        tokio::spawn(async move { host.rest_when_idle(after).await })
    });
    // A task of its own: checking a plugin takes milliseconds of a thread, which the listener would wait for.
    let following = watch::follow(app.host.clone(), global.clone(), app.config.clone(), watch, hangups);
    let following = tokio::spawn(following);
    let shutdown = async {
        signals.await;
        // What is loaded from now on would serve nobody.
        following.abort();
    };
    let complete = app.server().serve(listener, shutdown).await?;
    bringing.abort();
    if let Some(resting) = resting {
        resting.abort();
    }
    app.telemetry.end().await;
    if !complete {
        tracing::warn!("something was still running and was cut off");
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(CUT_OFF) })
}

/// What to do about an address that cannot be had.
fn where_to_listen(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: choose an address with --listen, port 0 for a free one"
        }
        io::ErrorKind::PermissionDenied => {
            "choose a port from 1024 with --listen, or give the program the right to this one"
        }
        _ => "choose an address of this machine with --listen, such as 127.0.0.1:8380",
    }
}

/// Brings the code of all plugins, which the bar counts. What is wrong with a plugin is logged; its calls fail.
async fn bring_code(host: Host, progress: ProgressBar) {
    let failed = AtomicUsize::new(0);
    host.bring_all(|plugin, brought| {
        progress.inc(1);
        match brought {
            Ok(()) => progress.set_message(format!("{plugin} is ready")),
            Err(error) => {
                failed.fetch_add(1, Relaxed);
                tracing::error!(%plugin, error = &*error as &dyn Error, hint = error.hint(), "cannot be called");
            }
        }
    })
    .await;
    progress.finish_and_clear();
    match failed.into_inner() {
        0 => tracing::info!("all plugins are compiled, or were found so"),
        failed => {
            tracing::warn!(failed, "some plugins have no code; the others, if any, are compiled or were found so")
        }
    }
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

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, ProgressDrawTarget};
    use tapline_content::register;
    use tapline_host_core::{PluginName, PluginSpec};

    use super::*;

    #[tokio::test]
    async fn the_bar_counts_the_plugins_whose_code_was_brought_and_those_that_failed() {
        let host = register(Host::builder()).build().unwrap();
        let export = r#"(component (core module $m (func (export "f")))
            (core instance $i (instantiate $m)) (func $f (canon lift (core func $i "f")))
            (instance $e (export "item-view" (func $f))) (export "tapline:content/item-view@0.1.0" (instance $e)))"#;
        for name in ["a", "b"] {
            // Each exports the tap, and none has its signature: that is found when its code is there.
            let spec = PluginSpec::bytes(PluginName::new(name).unwrap(), wat::parse_str(export).unwrap());
            host.load_lazily(spec).await.unwrap();
        }
        let terminal = InMemoryTerm::new(10, 80);
        let target = ProgressDrawTarget::term_like(Box::new(terminal));
        let bar = ProgressBar::with_draw_target(Some(2), target);
        let counted = bar.clone();
        bring_code(host.clone(), bar).await;
        assert!(counted.is_finished());
        assert_eq!((counted.position(), host.plugins().iter().filter(|plugin| plugin.has_code()).count()), (2, 0));
    }
}
