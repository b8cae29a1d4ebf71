//! From a tap and its input to one outcome: order, concurrency, deadlines, folding.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::Poll,
};

use futures_util::FutureExt;
use tapline_metrics::Outcome;
use tapline_tap_dispatch::{Altered, Ballot, Collected, PluginName, Policy, Verdict};
use tokio::time::{Instant, error::Elapsed, timeout_at};

use crate::{
    call::{Call, Handler},
    error::{CallError, Fault},
    tap::{Tap, on_failure},
};

/// How the answers of a tap's handlers fold into one outcome. Implemented by [`Collect`], [`Alter`], [`Notify`],
/// [`Vote`] and [`First`], for the taps whose types fit.
pub trait Fold<T: Tap>: 'static {
    /// The policy, for contracts and reports.
    const POLICY: Policy;
    /// What a dispatch gets.
    type Input<'a>: Send + 'a;
    /// What a dispatch gives.
    type Outcome: Send;

    /// Runs the handlers, in their order or all at once, and folds.
    fn fold<'a>(
        handlers: Handlers,
        input: Self::Input<'a>,
    ) -> impl Future<Output = Result<Self::Outcome, CallError>> + Send + 'a;
}

/// The handlers of one tap, in their order, as one dispatch sees them. A plugin that is loaded or removed meanwhile
/// changes the next dispatch, not this one.
pub struct Handlers {
    pub(crate) list: Arc<[Arc<Handler>]>,
}

impl Handlers {
    fn name(&self, index: usize) -> PluginName {
        self.list[index].plugin.name().clone()
    }
}

/// Every handler runs, all at once; the answers are kept in the order of the handlers.
#[derive(Clone, Copy, Debug)]
pub struct Collect;

/// What a collecting dispatch found.
#[derive(Debug)]
pub struct Contributions<A> {
    /// The answers with their plugins, in the order of the tap.
    pub answers: Vec<(PluginName, A)>,
    /// The handlers that failed and were skipped.
    pub failures: Vec<CallError>,
}

impl<T: Tap> Fold<T> for Collect {
    const POLICY: Policy = Policy::Collect;
    type Input<'a> = &'a T::Input;
    type Outcome = Contributions<T::Answer>;

    async fn fold<'a>(handlers: Handlers, input: <Self as Fold<T>>::Input<'a>) -> Result<Self::Outcome, CallError> {
        let Collected { answers, failures } =
            tapline_tap_dispatch::collect(&handlers.list, on_failure::<T>(), |handler| run::<T>(handler, input))
                .await?;
        Ok(Contributions {
            answers: answers.into_iter().map(|(index, answer)| (handlers.name(index), answer)).collect(),
            failures: failures.into_iter().map(|(_, error)| error).collect(),
        })
    }
}

/// Every handler runs, all at once; there is nothing to answer.
#[derive(Clone, Copy, Debug)]
pub struct Notify;

impl<T: Tap<Answer = ()>> Fold<T> for Notify {
    const POLICY: Policy = Policy::Notify;
    type Input<'a> = &'a T::Input;
    type Outcome = Vec<CallError>;

    async fn fold<'a>(handlers: Handlers, input: <Self as Fold<T>>::Input<'a>) -> Result<Vec<CallError>, CallError> {
        let failures =
            tapline_tap_dispatch::notify(&handlers.list, on_failure::<T>(), |handler| run::<T>(handler, input)).await?;
        Ok(failures.into_iter().map(|(_, error)| error).collect())
    }
}

/// Every handler runs, all at once; one deny outweighs every allow, and a handler that fails denies.
#[derive(Clone, Copy, Debug)]
pub struct Vote;

/// What a vote came to.
#[derive(Debug)]
pub struct Decision {
    /// Deny if one denied or failed, else allow if one allowed, else neutral.
    pub ballot: Ballot,
    /// Who denied, failures included.
    pub denied_by: Vec<PluginName>,
    /// The handlers that failed.
    pub failures: Vec<CallError>,
}

impl<T: Tap<Answer = Ballot>> Fold<T> for Vote {
    const POLICY: Policy = Policy::Vote;
    type Input<'a> = &'a T::Input;
    type Outcome = Decision;

    async fn fold<'a>(handlers: Handlers, input: <Self as Fold<T>>::Input<'a>) -> Result<Decision, CallError> {
        let Verdict { ballot, denied_by, failures } =
            tapline_tap_dispatch::vote(&handlers.list, |handler| run::<T>(handler, input)).await;
        Ok(Decision {
            ballot,
            denied_by: denied_by.into_iter().map(|index| handlers.name(index)).collect(),
            failures: failures.into_iter().map(|(_, error)| error).collect(),
        })
    }
}

/// One handler after the other; each gets what the one before it made.
#[derive(Clone, Copy, Debug)]
pub struct Alter;

/// What an altering dispatch made.
#[derive(Debug)]
pub struct Change<S> {
    /// The state after the last handler.
    pub state: S,
    /// The handlers that failed and were skipped.
    pub failures: Vec<CallError>,
}

impl<T: Tap<Answer = <T as Tap>::Input>> Fold<T> for Alter
where
    T::Input: Sized,
{
    const POLICY: Policy = Policy::Alter;
    type Input<'a> = T::Input;
    type Outcome = Change<T::Input>;

    async fn fold<'a>(handlers: Handlers, input: <Self as Fold<T>>::Input<'a>) -> Result<Self::Outcome, CallError> {
        let Altered { state, failures } =
            tapline_tap_dispatch::alter(&handlers.list, input, on_failure::<T>(), |handler, state| async move {
                match run::<T>(handler, &state).await {
                    Ok(altered) => Ok(altered),
                    Err(error) => Err((state, error)),
                }
            })
            .await?;
        Ok(Change { state, failures: failures.into_iter().map(|(_, error)| error).collect() })
    }
}

/// One handler after the other, until one has an answer.
#[derive(Clone, Copy, Debug)]
pub struct First;

impl<T: Tap<Answer = Option<A>>, A: Send + 'static> Fold<T> for First {
    const POLICY: Policy = Policy::First;
    type Input<'a> = &'a T::Input;
    type Outcome = Option<(PluginName, A)>;

    async fn fold<'a>(handlers: Handlers, input: <Self as Fold<T>>::Input<'a>) -> Result<Self::Outcome, CallError> {
        let found =
            tapline_tap_dispatch::first(&handlers.list, on_failure::<T>(), |handler| run::<T>(handler, input)).await?;
        Ok(found.answer.map(|(index, answer)| (handlers.name(index), answer)))
    }
}

/// Runs one handler on a fresh instance, under one deadline, and records what became of it.
async fn run<T: Tap>(handler: &Arc<Handler>, input: &T::Input) -> Result<T::Answer, CallError> {
    let mut record = Record::new(handler);
    let permit = match handler.runtime.slots.try_take() {
        Some(permit) => permit,
        None => match handler.runtime.slots.take().await {
            Ok(permit) => {
                // The deadline is for the call; the queue has its own.
                record.started = Instant::now();
                permit
            }
            Err(fault) => return Err(record.failed(handler.error(fault))),
        },
    };
    let limit = handler.plugin.limits.max_execution_time();
    let deadline = record.started + limit;
    let mut call = Call::new(handler, deadline);
    let instantiated = &mut record.instantiated;
    let calling = AssertUnwindSafe(async {
        call.instantiate(handler).await?;
        *instantiated = Some(Instant::now());
        T::call(&mut call, input).await
    });
    // A host function that panics costs this call and no other: what it touched is the store, which is dropped below.
    let ended = within(deadline, calling.catch_unwind()).await;
    record.answered = Some(Instant::now());
    // Also after a trap or a timeout: a store that a call has used is never used again.
    drop(call);
    drop(permit);
    match ended {
        Ok(Ok(Ok(answer))) => {
            record.finish(Outcome::Ok);
            Ok(answer)
        }
        Ok(Ok(Err(error))) => Err(record.failed(error)),
        Ok(Err(panic)) => Err(record.failed(handler.error(Fault::HostPanicked { message: panic_message(&*panic) }))),
        Err(_elapsed) => Err(record.failed(handler.error(Fault::TimedOut { limit }))),
    }
}

/// Most calls end the first time they are polled. Those never need a timer, which would cost them a few percent.
async fn within<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => timeout_at(deadline, future).await,
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the panic carries a value that is not text").to_owned()
}

/// Records a call when it ends, however it ends: a call whose future is dropped counts as cancelled.
struct Record<'a> {
    handler: &'a Handler,
    started: Instant,
    instantiated: Option<Instant>,
    answered: Option<Instant>,
    outcome: Outcome,
}

impl<'a> Record<'a> {
    fn new(handler: &'a Handler) -> Self {
        Self { handler, started: Instant::now(), instantiated: None, answered: None, outcome: Outcome::Cancelled }
    }

    fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    fn failed(self, error: CallError) -> CallError {
        tracing::warn!(plugin = %error.plugin, tap = %error.tap, party = ?error.fault.party(), "{}", error.fault);
        self.finish(error.fault.outcome());
        error
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let answered = self.answered.unwrap_or(now);
        self.handler.metrics.record(self.outcome, answered - self.started);
        let plugin = self.handler.plugin.metrics();
        if let Some(instantiated) = self.instantiated {
            plugin.instantiated(instantiated - self.started);
        }
        if self.answered.is_some() {
            plugin.torn_down(now - answered);
        }
    }
}
