//! From a tap and its input to one outcome: order, concurrency, deadlines, folding.

use std::{
    future::{Future, pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tapline_limits::Limits;
use tapline_metrics::Outcome;
use tapline_tap_dispatch::{Altered, Ballot, Collected, Pass, PluginName, Policy, Verdict};
use tokio::{
    task::coop::unconstrained,
    time::{Instant, sleep_until},
};
use tracing::Span;

use crate::{
    bringing::bring_for_call,
    call::{Call, Handler},
    error::{CallError, Fault},
    nesting::{Enclosing, MAX_NESTED_CALLS},
    observe::{Observation, Observer, Running, Used},
    slots::Slots,
    state::{contain, panic_message},
    tap::{Tap, on_failure},
    trace::{self, Listened},
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
    /// What this dispatch allows, where that is less than what the plugins have.
    pub(crate) limits: Option<Limits>,
    /// What the dispatch is to whoever listens. It ends with the dispatch.
    pub(crate) span: Listened,
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
        let Collected { answers, failures } = tapline_tap_dispatch::collect(
            &handlers.list,
            on_failure::<T>(),
            || T::default_answer(input),
            |handler| run::<T>(handler, input, handlers.limits, handlers.span.as_deref()),
        )
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
        let failures = tapline_tap_dispatch::notify(&handlers.list, on_failure::<T>(), |handler| {
            run::<T>(handler, input, handlers.limits, handlers.span.as_deref())
        })
        .await?;
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
        let Verdict { ballot, denied_by, failures } = tapline_tap_dispatch::vote(&handlers.list, |handler| {
            run::<T>(handler, input, handlers.limits, handlers.span.as_deref())
        })
        .await;
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
        let span = handlers.span.as_deref();
        let Altered { state, failures } = tapline_tap_dispatch::alter(
            &handlers.list,
            input,
            on_failure::<T>(),
            T::default_answer,
            |handler, state| async move {
                match run::<T>(handler, &state, handlers.limits, span).await {
                    Ok(altered) => Ok(altered),
                    Err(error) => Err((state, error)),
                }
            },
        )
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
        let found = tapline_tap_dispatch::first(
            &handlers.list,
            on_failure::<T>(),
            || T::default_answer(input).flatten(),
            |handler| run::<T>(handler, input, handlers.limits, handlers.span.as_deref()),
        )
        .await?;
        Ok(found.answer.map(|(index, answer)| (handlers.name(index), answer)))
    }
}

/// Runs one handler, on a fresh instance unless its plugin is reused, under one deadline, and records what became of it.
pub(crate) async fn run<T: Tap>(
    handler: &Arc<Handler>,
    input: &T::Input,
    narrower: Option<Limits>,
    within_span: Option<&Span>,
) -> Result<T::Answer, CallError> {
    let mut record = Record::new(handler, within_span);
    record.is_narrowed = narrower.is_some();
    let around = Enclosing::current();
    if around.is_some_and(Enclosing::is_deepest) {
        return Err(record.failed(handler.error(Fault::TooDeep { limit: MAX_NESTED_CALLS })));
    }
    match handler.breaker.admit() {
        Ok(pass) => record.pass = Some(pass),
        Err(open) => return Err(record.failed(handler.error(open))),
    }
    let limits = narrower.map_or(handler.plugin.limits, |narrower| handler.plugin.limits.smallest(narrower));
    let code = match handler.plugin.code.get() {
        Some(code) => code,
        // Rare, and large: it would make the future of every call larger.
        None => match Box::pin(bring_for_call(handler, limits.max_execution_time())).await {
            Ok(code) => {
                // The deadline is for the call; bringing code is none of its work.
                record.started = Instant::now();
                code
            }
            Err(fault) => return Err(record.failed(handler.error(fault))),
        },
    };
    let slots = &handler.runtime.slots;
    let mut slot = match slots.try_take(&handler.plugin) {
        Some(slot) => slot,
        None if around.is_some() => match slots.take_now(&handler.plugin) {
            Ok(slot) => slot,
            Err(fault) => return Err(record.failed(handler.error(fault))),
        },
        None => match slots.take(&handler.plugin).await {
            Ok(slot) => {
                // The deadline is for the call; the queue has its own.
                record.started = Instant::now();
                slot
            }
            Err(fault) => return Err(record.failed(handler.error(fault))),
        },
    };
    record.has_slot = true;
    let limit = limits.max_execution_time();
    let deadline = record.started + limit;
    // A call ends with the one around it, which drops it. That is not held against this plugin: it had no time of its own.
    let ends = around.map_or(deadline, |around| around.deadline.min(deadline));
    // The limiter of an instance that was there already has its plugin's limits.
    let used = slot.used();
    if let (Some(stock), None) = (handler.plugin.stock(), narrower) {
        if used.is_some() { stock.found() } else { stock.missed() }
    }
    let (mut call, is_fresh) = match used.filter(|_| narrower.is_none()) {
        None => (Call::new(handler, code, ends, limits), true),
        Some(mut call) => {
            let was_made_ahead = call.is_unused();
            call.begin_use(handler, ends);
            record.taken = (was_made_ahead && record.is_timed).then(Instant::now);
            (call, false)
        }
    };
    record.running = Running::begin(record.is_timed.then_some(record.started));
    let (instantiated, running, is_timed) = (&mut record.instantiated, &mut record.running, record.is_timed);
    let enclosing = Enclosing::new(around, ends);
    let span = record.span.as_deref();
    let ended = {
        // Kilobytes: pinned where it is made, and never moved.
        let calling = pin!(Some(async {
            if is_fresh {
                call.instantiate().await?;
                *instantiated = is_timed.then(Instant::now);
            }
            T::call(&mut call, input).await
        }));
        let mut calling = Calling { call: calling, handler };
        within(slots, (ends == deadline).then_some(deadline), |context| {
            let _entered = span.map(Span::enter);
            running.resume(Instant::now);
            // A host function that panics costs this call and no other: what it touched is the store, which is dropped
            // below.
            let polled = match enclosing.around(|| catch_unwind(AssertUnwindSafe(|| calling.poll(context)))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            };
            if polled.is_pending() {
                running.pause(Instant::now);
            }
            polled
        })
        .await
    };
    record.answered = is_timed.then(Instant::now);
    record.used = (record.observer.is_some() || record.span.is_some()).then(|| call.used());
    if matches!(ended, Ok(Ok(Ok(_)))) && narrower.is_none() && call.end_use() {
        slot.keep(&handler.plugin, call);
    } else if let Some(stock) = handler.plugin.stock() {
        slot.leave(&handler.plugin, stock, call);
    } else {
        // After a trap or a timeout always: such a store is never used again.
        drop(call);
        record.dropped = is_timed.then(Instant::now);
        drop(slot);
    }
    match ended {
        Ok(Ok(Ok(answer))) => {
            record.finish(Outcome::Ok, None);
            Ok(answer)
        }
        Ok(Ok(Err(error))) => Err(record.failed(error)),
        Ok(Err(panic)) => Err(record.failed(handler.error(Fault::HostPanicked { message: panic_message(&*panic) }))),
        Err(cut) => Err(record.failed(handler.error(cut.fault(limit)))),
    }
}

/// What ends a call that does not end by itself.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// Its time is up.
    Late,
    /// The host stops, and has waited for it as long as it was to wait.
    Stopped,
}

impl Cut {
    pub(crate) fn fault(self, limit: Duration) -> Fault {
        match self {
            Self::Late => Fault::TimedOut { limit },
            Self::Stopped => Fault::ShuttingDown,
        }
    }
}

/// Polls a call until `deadline`, or until the host cuts off what still runs. Without a deadline the call around it ends
/// first, and drops it.
///
/// Most calls end the first time they are polled. Those never need a timer, which would cost them a few percent.
pub(crate) async fn within<R>(
    slots: &Slots,
    deadline: Option<Instant>,
    mut poll_call: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Result<R, Cut> {
    // Host functions, also those of other calls in the same task, may use up what it may do in a turn.
    let wait_for_cut = || unconstrained(cut(slots, deadline));
    // The type of that future has no name: this is a `None` of it.
    let mut waiting = pin!(false.then(wait_for_cut));
    poll_fn(|context| {
        // First: a guest that is cut off does not get another turn.
        if let Some(waiting) = waiting.as_mut().as_pin_mut()
            && let Poll::Ready(cut) = waiting.poll(context)
        {
            return Poll::Ready(Err(cut));
        }
        if let Poll::Ready(ended) = poll_call(context) {
            return Poll::Ready(Ok(ended));
        }
        // A guest that spins comes by at each tick of the epoch clock. The timer, with a clock of its own, would be later.
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Poll::Ready(Err(Cut::Late));
        }
        if waiting.is_none() {
            waiting.set(Some(wait_for_cut()));
            return waiting.as_mut().as_pin_mut().map_or(Poll::Pending, |waiting| waiting.poll(context).map(Err));
        }
        Poll::Pending
    })
    .await
}

async fn cut(slots: &Slots, deadline: Option<Instant>) -> Cut {
    let late = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        () = late => Cut::Late,
        () = slots.until_cut_off() => Cut::Stopped,
    }
}

/// A call that is being made. It may be dropped at any point, in the middle of a host function too, which then drops what it
/// holds: a panic in that stays here.
struct Calling<'a, 'f, F> {
    call: Pin<&'f mut Option<F>>,
    handler: &'a Handler,
}

impl<F: Future> Calling<'_, '_, F> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        self.call.as_mut().as_pin_mut().map_or(Poll::Pending, |call| call.poll(context))
    }
}

impl<F> Drop for Calling<'_, '_, F> {
    fn drop(&mut self) {
        contain(self.handler.plugin.name(), &self.handler.tap, || self.call.set(None));
    }
}

/// Records a call when it ends, however it ends: a call whose future is dropped counts as cancelled.
struct Record<'a> {
    handler: &'a Handler,
    started: Instant,
    instantiated: Option<Instant>,
    /// When it had an instance that was made ahead.
    taken: Option<Instant>,
    answered: Option<Instant>,
    dropped: Option<Instant>,
    running: Running,
    used: Option<Used>,
    /// Whoever wants to know what became of this very call.
    observer: Option<Arc<Observer>>,
    /// Whether anybody wants to know how long it took: if not, no clock is read for that.
    is_timed: bool,
    /// Whether it got a slot. What came before is no time of the plugin's, and no slot was taken for it.
    has_slot: bool,
    outcome: Outcome,
    /// Whether the dispatch has limits of its own.
    is_narrowed: bool,
    /// Leave to call. The circuit breaker has to hear how the call ended.
    pass: Option<Pass>,
    /// What the call is to whoever listens.
    span: Listened,
}

impl<'a> Record<'a> {
    fn new(handler: &'a Handler, within: Option<&Span>) -> Self {
        let observer = Observer::current();
        Self {
            is_timed: handler.metrics.is_enabled() || observer.is_some(),
            has_slot: false,
            observer,
            running: Running::default(),
            used: None,
            handler,
            started: Instant::now(),
            instantiated: None,
            taken: None,
            answered: None,
            dropped: None,
            outcome: Outcome::Cancelled,
            is_narrowed: false,
            pass: None,
            span: trace::handler(within, handler.plugin.name(), &handler.tap),
        }
    }

    fn finish(mut self, outcome: Outcome, fault: Option<&Fault>) {
        self.outcome = outcome;
        // The limits of a dispatch are its caller's choice, and no sign that the plugin is broken. Dropped, the pass is
        // given back as that of a call of which nothing is known.
        let is_callers = self.is_narrowed && fault.is_some_and(Fault::is_of_a_limit);
        if !is_callers && let Some(pass) = self.pass.take() {
            self.handler.breaker.ended(pass, fault, self.handler);
        }
    }

    fn failed(self, error: CallError) -> CallError {
        // One line says that a breaker opened. One for each call that it refuses would fill the log.
        let is_said = matches!(error.fault, Fault::BreakerOpen { .. });
        if !is_said && self.may_report() {
            tracing::warn!(plugin = %error.plugin, tap = %error.tap, party = ?error.fault.party(), "{}", error.fault);
        }
        self.finish(error.fault.outcome(), Some(&error.fault));
        error
    }

    /// What nobody wants to hear is not counted as dropped.
    fn may_report(&self) -> bool {
        tracing::enabled!(tracing::Level::WARN) && self.handler.plugin.admits_report(&self.handler.tap)
    }

    fn warn_if_slow(&self, took: Duration) {
        let Handler { plugin, tap, runtime, .. } = self.handler;
        if runtime.slow_call.is_some_and(|slow| took > slow) && self.may_report() {
            let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(plugin = %plugin.name(), %tap, milliseconds, outcome = self.outcome.as_str(), "a call was slow");
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.handler.breaker.abandoned(pass);
        }
        if let Some(span) = &self.span {
            trace::ended(span, self.outcome.as_str(), self.used);
        }
        // What a caller dropped on its way is gone, and nobody left it to whoever keeps the stock.
        if let (Outcome::Cancelled, true, Some(stock)) = (self.outcome, self.has_slot, self.handler.plugin.stock()) {
            stock.look_again();
        }
        if !self.is_timed {
            return;
        }
        let answered = self.answered.unwrap_or_else(Instant::now);
        let (took, cpu) = (answered - self.started, self.running.until(answered));
        if self.has_slot {
            self.handler.metrics.record(self.outcome, took);
            self.warn_if_slow(took);
        } else {
            self.handler.metrics.refused(self.outcome);
        }
        if !cpu.is_zero() {
            self.handler.metrics.ran(cpu);
        }
        if let Some(observer) = &self.observer {
            let (plugin, tap) = (self.handler.plugin.name().clone(), self.handler.tap.clone());
            observer.saw(Observation { plugin, tap, outcome: self.outcome, took, cpu, used: self.used });
        }
        let plugin = self.handler.plugin.metrics();
        if let Some(instantiated) = self.instantiated {
            plugin.instantiated(instantiated - self.started);
        }
        if let Some(taken) = self.taken {
            plugin.taken_from_stock(taken - self.started);
        }
        if let Some(dropped) = self.dropped {
            plugin.torn_down(dropped - answered);
        }
    }
}
