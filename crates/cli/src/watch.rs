//! Follows the configuration file, the files of the plugins and the plugin directory while the program serves: all the time with
//! `serve --watch`, and whenever the program is sent SIGHUP.
//!
//! The files are looked at, and no notification of the system is waited for: they are few, a look at one costs about a
//! microsecond, and it works where notifications do not, on network file systems, mounts of
//! containers and files that are replaced through links.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    error::Error,
    fs,
    future::pending,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tapline_host_core::{Applied, Host, PluginSource, Refused, causes};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::{
    arguments::Global,
    config::{Config, ConfigError, DEFAULT_FILE, Setting, plugin_files},
};

/// How often the files are looked at. A change counts when the next look finds the files as they are: whoever writes a file
/// has written something in between, or is done.
const INTERVAL: Duration = Duration::from_millis(250);

/// So many looks in a row may find the files changing before they are taken as they are: whoever writes to one file all the time
/// must not keep the others from being loaded. That one is refused, or is whole by chance.
const PATIENCE: u32 = 8;

/// How long until what was busy is asked again. Who is refused within less than a twentieth of it is not asked again at all.
const SOON: Duration = Duration::from_secs(1);

/// What a file looks like from outside. Different when it was written or replaced, also by one of the same length.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
    /// Which file it is, and when the system last noted a change of it: nobody can set that back.
    #[cfg(unix)]
    identity: [i64; 4],
}

/// All files that are watched. `None`: there is none.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// What is looked at.
#[derive(Clone)]
struct Watched {
    /// Known by name.
    files: BTreeSet<PathBuf>,
    /// The plugin directory, in which others appear.
    directory: Option<PathBuf>,
}

/// Somebody asks the program to look at its files now.
pub(crate) struct Hangups(#[cfg(unix)] Option<Signal>);

impl Hangups {
    /// From here on SIGHUP does not end the program. It does where the program has a terminal, which sends it when it is closed.
    pub(crate) fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        let has_terminal = io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
        #[cfg(unix)]
        return Ok(Self(if has_terminal { None } else { Some(signal(SignalKind::hangup())?) }));
        #[cfg(not(unix))]
        return Ok(Self());
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        pending().await
    }
}

/// Follows the files for ever. `started`: what the program started with. `watch`: looks at them without being asked.
pub(crate) async fn follow(
    host: Host,
    global: Global,
    started: Config,
    watch: bool,
    mut hangups: Hangups,
) -> Infallible {
    let mut watched = watched(&started, started.file.as_deref());
    // Nothing: the first look finds everything changed, and so what happened between the start and now is not missed.
    let mut seen = Stamps::new();
    let (mut changed, mut changing) = (Stamps::new(), 0);
    let mut again_at = None;
    let mut said = Vec::new();
    loop {
        let is_asked = tokio::select! {
            () = sleep(INTERVAL), if watch || again_at.is_some() => false,
            () = hangups.next() => true,
        };
        let is_due = again_at.is_some_and(|at| Instant::now() >= at);
        if !(watch || is_asked || is_due) {
            continue;
        }
        let now = look(watched.clone()).await;
        if is_asked {
            tracing::info!("asked to look at the configuration and at the files of the plugins");
            // Somebody believes that what was wrong is mended.
            host.forgive_refused();
        } else if !is_due {
            if now == seen {
                (changed, changing) = (Stamps::new(), 0);
                continue;
            }
            let is_steady = |path: &PathBuf| changed.get(path) == now.get(path);
            let restless = changed.keys().chain(now.keys()).filter(|path| !is_steady(path));
            // Half a configuration is another configuration, and is waited for as long as it takes.
            if restless.into_iter().any(|path| changing < PATIENCE || is_configuration(path, &started)) {
                (changed, changing) = (now, changing + 1);
                continue;
            }
        }
        (changed, changing) = (Stamps::new(), 0);
        again_at = None;
        seen = now;
        let read = read(&host, &global, &started).await;
        match &read {
            Ok((config, _)) => watched = self::watched(config, started.file.as_deref()),
            // It is waited for.
            Err(Some(missing)) => watched.directory = Some(missing.clone()),
            Err(None) => {}
        }
        // Before the plugins are read. Where there was a look before the configuration was read, that one counts: what
        // happened since is seen by the next look.
        let mut before = std::mem::replace(&mut seen, look(watched.clone()).await);
        seen.retain(|path, stamp| match before.remove(path) {
            Some(before) => {
                *stamp = before;
                true
            }
            None => stamp.is_none() || watched.files.contains(path),
        });
        let Ok((config, refused)) = read else { continue };
        let texts: Vec<String> = refused.iter().map(|error| causes(error).join(": ")).collect();
        // What was said before is not said again with every change of something else.
        for (error, _) in refused.iter().zip(&texts).filter(|(_, text)| !said.contains(*text)) {
            log(None, error, error.hint(), "refused: the others are loaded");
        }
        warn_of_restart(&started.settings, &config.settings);
        let had_refused = !host.refused_changes().is_empty();
        again_at = apply(&host, &config).await.map(|pause| Instant::now() + pause);
        if let (Some(error), Some(text)) = (refused.first(), texts.first()) {
            host.note_refused_change(text.clone(), error.hint());
        }
        said = texts;
        if had_refused && host.refused_changes().is_empty() {
            tracing::info!("nothing is refused any more: the host runs what the configuration says");
        }
    }
}

/// Whether this is the file that says which plugins there are.
fn is_configuration(path: &Path, started: &Config) -> bool {
    path == started.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE))
}

/// The configuration as it stands now, and what is wrong with single plugins of the plugin directory. An error: it cannot be
/// used, which has been logged; beside it the plugin directory, if it was that.
async fn read(host: &Host, global: &Global, started: &Config) -> Result<(Config, Vec<ConfigError>), Option<PathBuf>> {
    let global = global.clone();
    let read = spawn_blocking(move || Config::read_what_fits(&global, std::env::vars_os())).await;
    match read.map_err(|_ended| None::<PathBuf>)? {
        Ok((config, _)) if config.file.is_none() && started.file.is_some() => {
            let (what, hint) = ("the configuration file is gone", "put it back, or start without one");
            host.note_refused_change(what.to_owned(), Some(hint.to_owned()));
            tracing::error!(hint, "{what}: everything that is loaded serves on");
            Err(None)
        }
        Ok(read) => Ok(read),
        Err(error) => {
            host.note_refused_change(causes(&error).join(": "), error.hint());
            log(None, &error, error.hint(), "the configuration cannot be used: everything that is loaded serves on");
            match error {
                ConfigError::PluginDirectory { path, .. } => Err(Some(path)),
                _ => Err(None),
            }
        }
    }
}

/// Brings the host to what the configuration says, and logs what that took. Returns after how long it is to be tried again, although
/// no file has changed.
async fn apply(host: &Host, config: &Config) -> Option<Duration> {
    let applied = match host.apply(config.plugins.clone()).await {
        Ok(applied) => applied,
        Err(error) => {
            log(
                None,
                &error,
                error.hint(),
                "the plugins cannot be loaded together: everything that is loaded serves on",
            );
            return None;
        }
    };
    let Applied { added, replaced, reordered, removed, refused, .. } = &applied;
    if ![added, replaced, reordered, removed].iter().all(|names| names.is_empty()) {
        let [added, replaced, reordered, removed] = [added, replaced, reordered, removed].map(|names| {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            names.join(" ")
        });
        tracing::info!(added, replaced, reordered, removed, "reloaded");
    }
    for Refused { plugin, error, serves_on, .. } in refused.iter().filter(|refused| !refused.is_known) {
        let becomes = match serves_on {
            true => "refused: what was loaded before serves on, with the grants and limits that it had",
            false if removed.contains(plugin) => "refused and removed: it is not granted any more what it imports",
            false => "refused: it is not loaded",
        };
        log(config.place_of(error), &**error, error.hint(), becomes);
    }
    // Busy compilers, and what may have been the machine's fault: it took long.
    let of_the_moment = |it: &Refused| it.error.is_of_the_moment().then_some(SOON);
    let costly = |it: &Refused| Some(it.retry_in).filter(|pause| *pause >= SOON);
    refused.iter().filter_map(|refused| of_the_moment(refused).or_else(|| costly(refused))).min()
}

/// `place`: the file and the line of what is wrong, where it is in one that the error does not name itself.
fn log(place: Option<String>, error: &(dyn Error + 'static), hint: Option<String>, message: &str) {
    let error = place.into_iter().chain(causes(error)).collect::<Vec<_>>().join(": ");
    // Without a hint there is no field.
    tracing::error!(error, hint, "{message}");
}

/// Names the settings that a running host cannot change.
fn warn_of_restart(in_force: &[Setting], wished: &[Setting]) {
    let value = |key: &str| in_force.iter().find(|setting| setting.key == key).map(|setting| &setting.value);
    // Where plugins lie is no setting of the host: it holds at once.
    let of_host = wished.iter().filter(|setting| setting.key != "host.plugin_directory");
    let differs = of_host.filter(|setting| value(&setting.key) != Some(&setting.value));
    let keys: Vec<&str> = differs.map(|setting| setting.key.as_str()).collect();
    if !keys.is_empty() {
        tracing::warn!(
            keys = keys.join(" "),
            "these settings hold after a restart; only plugins change while it serves"
        );
    }
}

fn watched(config: &Config, configuration: Option<&Path>) -> Watched {
    let of_plugins = config.plugins.iter().filter_map(|plugin| match &plugin.source {
        PluginSource::File(path) => Some(path.clone()),
        PluginSource::Bytes(_) => None,
    });
    let configuration = configuration.unwrap_or(Path::new(DEFAULT_FILE));
    Watched {
        files: of_plugins.chain([configuration.to_owned()]).collect(),
        directory: config.plugin_directory.clone(),
    }
}

/// A file system may let a look wait for as long as it likes.
async fn look(watched: Watched) -> Stamps {
    let look = move || {
        let Watched { mut files, directory } = watched;
        let unreadable = directory.filter(|directory| match plugin_files(directory) {
            Ok(found) => {
                files.extend(found);
                false
            }
            Err(_) => true,
        });
        let mut stamps: Stamps = files.into_iter().map(|file| (file.clone(), stamp(&file))).collect();
        // That it cannot be read any more is a change as well.
        stamps.extend(unreadable.map(|directory| (directory, None)));
        stamps
    };
    spawn_blocking(look).await.unwrap_or_default()
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some(Stamp {
        length: metadata.len(),
        modified: metadata.modified().ok(),
        #[cfg(unix)]
        identity: {
            use std::os::unix::fs::MetadataExt;
            [metadata.dev().cast_signed(), metadata.ino().cast_signed(), metadata.ctime(), metadata.ctime_nsec()]
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_same_length_and_time_is_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a"), "old").unwrap();
        let old = stamp(&path("a"));
        assert_eq!(stamp(&path("a")), old);
        fs::write(path("b"), "new").unwrap();
        let file = fs::File::options().write(true).open(path("b")).unwrap();
        file.set_modified(fs::metadata(path("a")).unwrap().modified().unwrap()).unwrap();
        fs::rename(path("b"), path("a")).unwrap();
        assert_ne!(stamp(&path("a")), old);
        assert_eq!(stamp(&path("b")), None);
    }
}
