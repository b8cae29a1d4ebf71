//! Bringing a plugin's code: one task does so however many calls wait for it, and after a failure none does for a while.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    call::Handler,
    code::{self, Code},
    error::{Fault, LoadError},
    nesting::Enclosing,
    slots::LONGEST_WAIT,
};

/// How long no call brings the code after the first failure; twice as long after each further one in a row. A page comes
/// again within a second, and a compiler that has just failed would keep it waiting for as long as before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause: so late a plugin serves again when nobody says that its cause is gone.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

type Brought = Result<Arc<Code>, Arc<LoadError>>;
/// Where the task that brings the code tells what came of it.
type Told = watch::Receiver<Option<Brought>>;

/// Why a plugin has no code, although it was to be brought.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CodeFailure {
    /// What went wrong the last time.
    pub error: Arc<LoadError>,
    /// When it went wrong for the first time in a row.
    pub since: SystemTime,
    /// How often it went wrong in a row.
    pub attempts: u32,
    /// How long until a call tries again; those that come before get the same error. Zero: the next one does.
    pub retry_in: Duration,
}

/// Who brings the code of one plugin now, and what came of it before.
#[derive(Default)]
pub(crate) struct Bringing(Mutex<State>);

#[derive(Default)]
struct State {
    /// None: nobody is at it.
    told: Option<Told>,
    failure: Option<Failure>,
}

struct Failure {
    error: Arc<LoadError>,
    since: SystemTime,
    attempts: u32,
    not_before: Instant,
}

impl Bringing {
    pub(crate) fn failure(&self) -> Option<CodeFailure> {
        let state = self.lock();
        let Failure { error, since, attempts, not_before } = state.failure.as_ref()?;
        let retry_in = not_before.saturating_duration_since(Instant::now());
        Some(CodeFailure { error: Arc::clone(error), since: *since, attempts: *attempts, retry_in })
    }

    /// Somebody says that the cause of failures may be gone: the next call tries.
    pub(crate) fn forgive(&self) {
        self.lock().failure = None;
    }

    fn ended(&self, brought: &Brought, now: Instant) {
        let mut state = self.lock();
        state.told = None;
        match brought {
            Ok(_) => state.failure = None,
            // The next call may find a slot or a compiler: that none was free is no failure of the plugin. But where it has
            // failed before, it may be its own compilation that takes the place.
            Err(error)
                if error.is_of_the_moment()
                    && !(state.failure.is_some() && matches!(**error, LoadError::CompilersBusy { .. })) => {}
            Err(error) => {
                let (since, before) = match &state.failure {
                    Some(failure) => (failure.since, failure.attempts),
                    None => (SystemTime::now(), 0),
                };
                let (error, not_before) = (Arc::clone(error), now + pause(before));
                state.failure = Some(Failure { error, since, attempts: before.saturating_add(1), not_before });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause after a failure with so many others before it.
fn pause(before: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(before)).min(LONGEST_PAUSE)
}

/// What there is for somebody who needs the code.
enum Found {
    /// It is here, or has just failed.
    Now(Brought),
    /// Somebody has begun to bring it: whoever asked, if `is_first`.
    Soon { told: Told, is_first: bool },
}

/// Looks for the code, and has it brought if nobody does so and nothing speaks against it.
fn find(handler: &Arc<Handler>) -> Found {
    let code = &handler.plugin.code;
    let mut state = code.bringing.lock();
    if let Some(ready) = code.get() {
        return Found::Now(Ok(ready));
    }
    // A task that went down with its runtime tells nothing any more.
    if let Some(told) = state.told.as_ref().filter(|told| told.has_changed().is_ok()) {
        return Found::Soon { told: told.clone(), is_first: false };
    }
    if let Some(failure) = state.failure.as_ref().filter(|failure| Instant::now() < failure.not_before) {
        return Found::Now(Err(Arc::clone(&failure.error)));
    }
    let (tell, told) = watch::channel(None);
    state.told = Some(told.clone());
    tokio::spawn(run(Arc::clone(handler), Enclosing::current(), tell));
    Found::Soon { told, is_first: true }
}

/// Brings the code, whether or not anybody waits for it to the end: a compilation has its place until it is done, and what
/// it made is for the next call if the first one is gone.
async fn run(handler: Arc<Handler>, around: Option<Enclosing>, tell: watch::Sender<Option<Brought>>) {
    let (plugin, code) = (handler.plugin.name(), &handler.plugin.code);
    let bringing = Arc::clone(&handler);
    // A task within the task: should it panic, this one says so.
    let brought =
        tokio::spawn(async move { code::bring_now(&bringing, None, bringing.plugin.code.stages(), around).await })
            .await;
    let brought =
        brought.unwrap_or_else(|error| Err(LoadError::Engine { plugin: plugin.clone(), source: error.into() }));
    let brought = brought.map_err(|error| Arc::new(code.refused(error)));
    code.bringing.ended(&brought, Instant::now());
    tell.send_replace(Some(brought));
}

async fn outcome(handler: &Handler, mut told: Told) -> Brought {
    if let Ok(told) = told.wait_for(Option::is_some).await
        && let Some(brought) = told.as_ref()
    {
        return brought.clone();
    }
    let source = wasmtime::Error::msg("the runtime in which it was brought has ended");
    Err(Arc::new(LoadError::Engine { plugin: handler.plugin.name().clone(), source }))
}

/// The code of the handler's plugin, which is brought from the cache or the compiler if it is not here. However many ask,
/// one task does that, and all hear of its failure.
pub(crate) async fn bring(handler: &Arc<Handler>) -> Brought {
    match find(handler) {
        Found::Now(brought) => brought,
        Found::Soon { told, .. } => outcome(handler, told).await,
    }
}

/// [`bring`] for a call, which has `time` to run and waits for so long at most, or for as long as it would for a slot where
/// that is longer. Whoever waits for what another call began has a place in the lines in front of the pool meanwhile.
pub(crate) async fn bring_for_call(handler: &Arc<Handler>, time: Duration) -> Result<Arc<Code>, Fault> {
    let slots = &handler.runtime.slots;
    if slots.is_closed() {
        return Err(Fault::ShuttingDown);
    }
    let failed = |reason| Fault::NotLoaded { reason };
    let (told, is_first) = match find(handler) {
        Found::Now(brought) => return brought.map_err(failed),
        Found::Soon { told, is_first } => (told, is_first),
    };
    let since = Instant::now();
    let _places = match is_first {
        // There is one for each plugin at most, and the lines may be without places.
        true => None,
        false => Some(slots.line_up(&handler.plugin).ok_or(Fault::NoCodeYet { waited: Duration::ZERO })?),
    };
    let time = time.max(slots.max_wait()).min(LONGEST_WAIT);
    tokio::select! {
        biased;
        brought = outcome(handler, told) => brought.map_err(failed),
        () = slots.until_closed() => Err(Fault::ShuttingDown),
        () = sleep_until(since + time) => Err(Fault::NoCodeYet { waited: since.elapsed() }),
    }
}

#[cfg(test)]
mod tests {
    use tapline_tap_dispatch::PluginName;

    use super::*;

    fn failed() -> Brought {
        let limit = Duration::from_secs(30);
        Err(Arc::new(LoadError::CompileTimedOut { plugin: PluginName::new("p").unwrap(), limit }))
    }

    #[test]
    fn pauses_grow_to_a_minute_and_begin_anew_when_the_cause_may_be_gone() {
        let bringing = Bringing::default();
        assert!(bringing.failure().is_none());
        let now = Instant::now();
        let pauses = || {
            bringing.ended(&failed(), now);
            let state = bringing.lock();
            let failure = state.failure.as_ref().unwrap();
            ((failure.not_before - now).as_secs(), failure.attempts, failure.since)
        };
        let first = pauses();
        assert_eq!((first.0, first.1), (1, 1));
        for (attempts, seconds) in (2..).zip([2, 4, 8, 16, 32, 60, 60]) {
            assert_eq!(pauses(), (seconds, attempts, first.2), "it fails since the first time");
        }
        bringing.forgive();
        assert!(bringing.failure().is_none());
        let again = pauses();
        assert_eq!((again.0, again.1), (1, 1));
    }

    #[test]
    fn pauses_have_a_bound_however_often_it_fails() {
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
