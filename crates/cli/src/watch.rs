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
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tapline_host_core::{Applied, Host, PluginSource, Refused, causes, is_scarcity};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::{
    arguments::Global,
    config::{Config, ConfigError, DEFAULT_FILE, MAX_CONFIGURATION, Setting, plugin_files},
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
    /// A hash of what is in it, where nothing else counts.
    contents: Option<u64>,
}

/// All files that are watched. `None`: there is none.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// What is looked at.
#[derive(Clone)]
struct Watched {
    /// What says which plugins there are. One of the files.
    configuration: PathBuf,
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
    // What was read last, and when the host is to be told it again although nothing has changed.
    let (mut last, mut again_at) = (None, None);
    let mut said = Vec::new();
    loop {
        let is_asked = tokio::select! {
            () = sleep(INTERVAL), if watch || again_at.is_some() => false,
            () = hangups.next() => true,
        };
        if !is_asked && again_at.is_some_and(|at| Instant::now() >= at) {
            again_at = match &last {
                Some((config, outside)) => bring(&host, config, outside).await.map(|pause| Instant::now() + pause),
                None => None,
            };
            continue;
        }
        if !watch && !is_asked {
            continue;
        }
        let now = look(watched.clone()).await;
        if is_asked {
            tracing::info!("asked to look at the configuration and at the files of the plugins");
            // Somebody believes that what was wrong is mended.
            host.forgive_refused();
        } else {
            if now == seen {
                (changed, changing) = (Stamps::new(), 0);
                continue;
            }
            let is_steady = |path: &PathBuf| changed.get(path) == now.get(path);
            let mut restless = changed.keys().chain(now.keys()).filter(|path| !is_steady(path));
            // Half a configuration is another configuration, and is waited for as long as it takes.
            let may_wait = |path: &PathBuf| changing < PATIENCE || *path == watched.configuration;
            if restless.any(may_wait) {
                if changing == PATIENCE {
                    tracing::warn!(
                        "somebody writes to the configuration all the time: nothing is loaded until it rests"
                    );
                }
                (changed, changing) = (now, changing + 1);
                continue;
            }
        }
        (changed, changing) = (Stamps::new(), 0);
        seen = now;
        // What was told last is not told again once there is something newer, also where that cannot be used.
        again_at = None;
        let read = read(&host, &global, &started).await;
        match &read {
            Ok((config, _)) => watched = self::watched(config, started.file.as_deref()),
            // It is waited for.
            Err(Unread::Missing(directory)) => watched.directory = Some(directory.clone()),
            Err(Unread::Refused) => {}
            // It may be readable the next time, without having changed.
            Err(Unread::Unlucky) => seen.clear(),
        }
        if let Err(Unread::Unlucky) = read {
            continue;
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
        warn_of_restart(&started.settings, &config.settings);
        let texts: Vec<String> = refused.iter().map(|error| causes(error).join(": ")).collect();
        let outside = refused.first().map(|first| (texts.join("; "), first.hint()));
        again_at = bring(&host, &config, &outside).await.map(|pause| Instant::now() + pause);
        // What was said before is not said again with every change of something else.
        for (error, _) in refused.iter().zip(&texts).filter(|(_, text)| !said.contains(*text)) {
            log(None, error, error.hint(), "refused: it is not loaded");
        }
        said = texts;
        last = Some((config, outside));
    }
}

/// Why there is no configuration to follow. It has been logged.
enum Unread {
    /// The plugin directory cannot be read.
    Missing(PathBuf),
    /// Something is wrong with it.
    Refused,
    /// The system had not enough of something.
    Unlucky,
}

/// What is wrong beside the plugins that the configuration names, and what to do.
type Outside = Option<(String, Option<String>)>;

/// Tells the host what it is to run. Returns after how long it is to be told again, although nothing has changed.
async fn bring(host: &Host, config: &Config, outside: &Outside) -> Option<Duration> {
    let had_refused = !host.refused_changes().is_empty();
    let again = apply(host, config).await;
    let refused = host.refused_changes();
    // Where all of it was refused, that is the reason why nothing has changed.
    if let (Some((reason, hint)), true) = (outside, refused.iter().all(|change| change.plugin.is_some())) {
        host.note_refused_change(reason.clone(), hint.clone());
    } else if had_refused && refused.is_empty() {
        tracing::info!("nothing is refused any more: the host runs what the configuration says");
    }
    again
}

/// The configuration as it stands now, and what is wrong with single plugins of the plugin directory.
async fn read(host: &Host, global: &Global, started: &Config) -> Result<(Config, Vec<ConfigError>), Unread> {
    let global = global.clone();
    let read = spawn_blocking(move || Config::read_what_fits(&global, std::env::vars_os())).await;
    match read.map_err(|_ended| Unread::Refused)? {
        Ok((config, _)) if config.file.is_none() && started.file.is_some() => {
            let (what, hint) = ("the configuration file is gone", "put it back, or start without one");
            host.note_refused_change(what.to_owned(), Some(hint.to_owned()));
            tracing::error!(hint, "{what}: everything that is loaded serves on");
            Err(Unread::Refused)
        }
        Ok(read) => Ok(read),
        Err(error) => {
            host.note_refused_change(causes(&error).join(": "), error.hint());
            log(None, &error, error.hint(), "the configuration cannot be used: everything that is loaded serves on");
            Err(match error {
                ConfigError::Read { source, .. } if is_scarcity(&source) => Unread::Unlucky,
                ConfigError::PluginDirectory { source, .. } if is_scarcity(&source) => Unread::Unlucky,
                ConfigError::PluginDirectory { path, .. } => Unread::Missing(path),
                _ => Unread::Refused,
            })
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
        configuration: configuration.to_owned(),
        files: of_plugins.chain([configuration.to_owned()]).collect(),
        directory: config.plugin_directory.clone(),
    }
}

/// A file system may let a look wait for as long as it likes.
async fn look(watched: Watched) -> Stamps {
    let look = move || {
        let Watched { configuration, mut files, directory } = watched;
        let unreadable = directory.filter(|directory| match plugin_files(directory) {
            Ok(found) => {
                files.extend(found);
                false
            }
            Err(_) => true,
        });
        let mut stamps: Stamps = files.into_iter().map(|file| (file.clone(), stamp(&file))).collect();
        // Whoever only touches it has not written anything.
        if let Some(contents) = stamp_of_contents(&configuration) {
            stamps.insert(configuration, Some(contents));
        }
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
        contents: None,
    })
}

/// None: it is no file, or none that can be read.
fn stamp_of_contents(file: &Path) -> Option<Stamp> {
    let metadata =
        fs::metadata(file).ok().filter(|metadata| metadata.is_file() && metadata.len() <= MAX_CONFIGURATION)?;
    let mut hasher = DefaultHasher::new();
    fs::read(file).ok()?.hash(&mut hasher);
    Some(Stamp {
        length: metadata.len(),
        modified: None,
        #[cfg(unix)]
        identity: [0; 4],
        contents: Some(hasher.finish()),
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
