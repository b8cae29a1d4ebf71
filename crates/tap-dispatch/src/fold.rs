//! Calling the handlers of a tap and folding what they answer.
//!
//! Handlers that do not feed each other run concurrently on the caller's task, so that their waits overlap. The
//! result depends on their order only, never on who finishes first. Dropping a fold drops the calls that still run.
//!
//! The futures may borrow the handlers and whatever the closure borrows, and a fold is `Send` when they are. For that
//! to be proven, write the closure as `|handler| async move { … }` rather than `async |handler| { … }`.
//!
//! A dispatch takes a few microseconds, most often with one handler: that case awaits the handler's future in place.

use futures_util::future::join_all;

use crate::OnFailure;

/// What [`collect`] gathered. Indexes count handlers from 0, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected<A, E> {
    /// The answers, in order.
    pub answers: Vec<(usize, A)>,
    /// The handlers that failed, in order.
    pub failures: Vec<(usize, E)>,
}

/// What [`alter`] made of the state. Indexes count handlers from 0, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered<S, E> {
    /// The state after the last handler that did not fail.
    pub state: S,
    /// The handlers that failed, in order.
    pub failures: Vec<(usize, E)>,
}

/// What [`first`] found. Indexes count handlers from 0, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<A, E> {
    /// The handler that answered and its answer. `None` when nobody did.
    pub answer: Option<(usize, A)>,
    /// The handlers that failed before one answered, in order.
    pub failures: Vec<(usize, E)>,
}

/// One handler's voice in a vote, and the outcome of a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ballot {
    /// In favour.
    Allow,
    /// No opinion.
    Neutral,
    /// Against. One of these decides the vote.
    Deny,
}

/// The outcome of a [`vote`]. Indexes count handlers from 0, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<E> {
    /// `Deny` when anybody denied or failed, else `Allow` when anybody allowed, else `Neutral`.
    pub ballot: Ballot,
    /// Who denied, in order. A handler that failed is among them.
    pub denied_by: Vec<usize>,
    /// The handlers that failed, in order.
    pub failures: Vec<(usize, E)>,
}

/// Calls all handlers concurrently and hands their results to `sink` in order, when the last one is done.
async fn join<'a, H, T, F, Fut>(handlers: &'a [H], call: F, mut sink: impl FnMut(usize, T))
where
    F: Fn(&'a H) -> Fut,
    Fut: Future<Output = T>,
{
    match handlers {
        [] => {}
        [only] => sink(0, call(only).await),
        many => {
            for (index, result) in join_all(many.iter().map(call)).await.into_iter().enumerate() {
                sink(index, result);
            }
        }
    }
}

/// The first failure in order ends the dispatch, unless the contract lets it go on.
fn check<E>(on_failure: OnFailure, failures: Vec<(usize, E)>) -> Result<Vec<(usize, E)>, E> {
    if on_failure.goes_on() {
        return Ok(failures);
    }
    match failures.into_iter().next() {
        None => Ok(Vec::new()),
        Some((_, error)) => Err(error),
    }
}

/// Calls all handlers concurrently and gathers their answers in order.
///
/// Every handler runs to its end, also after another one failed: what a plugin did never depends on how fast its
/// neighbour was. With [`OnFailure::Default`], `default` stands in for the answer of a handler that failed; `None` skips
/// the handler.
///
/// # Errors
///
/// With [`OnFailure::Fail`], the error of the first handler in order that failed.
pub async fn collect<'a, H, A, E, F, Fut>(
    handlers: &'a [H],
    on_failure: OnFailure,
    default: impl Fn() -> Option<A>,
    call: F,
) -> Result<Collected<A, E>, E>
where
    F: Fn(&'a H) -> Fut,
    Fut: Future<Output = Result<A, E>>,
{
    let mut answers = Vec::with_capacity(handlers.len());
    let mut failures = Vec::new();
    join(handlers, call, |index, result| {
        let answer = result.map(Some).unwrap_or_else(|error| {
            failures.push((index, error));
            if on_failure == OnFailure::Default { default() } else { None }
        });
        answers.extend(answer.map(|answer| (index, answer)));
    })
    .await;
    Ok(Collected { answers, failures: check(on_failure, failures)? })
}

/// Tells all handlers concurrently. Returns those that failed, in order, with their index from 0.
///
/// Every handler runs to its end, also after another one failed.
///
/// # Errors
///
/// With [`OnFailure::Fail`], the error of the first handler in order that failed.
pub async fn notify<'a, H, E, F, Fut>(handlers: &'a [H], on_failure: OnFailure, call: F) -> Result<Vec<(usize, E)>, E>
where
    F: Fn(&'a H) -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let mut failures = Vec::new();
    join(handlers, call, |index, result| {
        if let Err(error) = result {
            failures.push((index, error));
        }
    })
    .await;
    check(on_failure, failures)
}

/// Asks all handlers concurrently for their vote. One denial decides, and a handler that fails denies.
///
/// Without handlers the verdict is [`Ballot::Neutral`]: the host's own rule decides.
pub async fn vote<'a, H, E, F, Fut>(handlers: &'a [H], call: F) -> Verdict<E>
where
    F: Fn(&'a H) -> Fut,
    Fut: Future<Output = Result<Ballot, E>>,
{
    let mut verdict = Verdict { ballot: Ballot::Neutral, denied_by: Vec::new(), failures: Vec::new() };
    join(handlers, call, |index, result| {
        let ballot = result.unwrap_or_else(|error| {
            verdict.failures.push((index, error));
            Ballot::Deny
        });
        match (ballot, verdict.ballot) {
            (Ballot::Deny, _) => {
                verdict.denied_by.push(index);
                verdict.ballot = Ballot::Deny;
            }
            (Ballot::Allow, Ballot::Neutral) => verdict.ballot = Ballot::Allow,
            _ => {}
        }
    })
    .await;
    verdict
}

/// Passes a state through the handlers, one after another: each gets what the one before returned.
///
/// `call` owns the state while its handler runs. It returns the altered state, or the error together with the state
/// that it was given, so that the next handler finds it as it was. Owning is what keeps the future `Send`: a closure
/// that is lent the state would have to be so for every lifetime, which the compiler cannot prove.
///
/// With [`OnFailure::Default`], `default` makes of the unaltered state what the next handler gets; `None` leaves it as it
/// was.
///
/// # Errors
///
/// With [`OnFailure::Fail`], the first error; the handlers behind it are not called and the state is dropped.
pub async fn alter<'a, H, S, E, F, Fut>(
    handlers: &'a [H],
    mut state: S,
    on_failure: OnFailure,
    default: impl Fn(&S) -> Option<S>,
    call: F,
) -> Result<Altered<S, E>, E>
where
    F: Fn(&'a H, S) -> Fut,
    Fut: Future<Output = Result<S, (S, E)>>,
{
    let mut failures = Vec::new();
    for (index, handler) in handlers.iter().enumerate() {
        state = match call(handler, state).await {
            Ok(altered) => altered,
            Err((unaltered, error)) if on_failure.goes_on() => {
                failures.push((index, error));
                let stand_in = if on_failure == OnFailure::Default { default(&unaltered) } else { None };
                stand_in.unwrap_or(unaltered)
            }
            Err((_, error)) => return Err(error),
        };
    }
    Ok(Altered { state, failures })
}

/// Asks one handler after another until one answers. The handlers behind it are not called.
///
/// With [`OnFailure::Default`], `default` is what a handler that failed answers; `None` asks the next one.
///
/// # Errors
///
/// With [`OnFailure::Fail`], the first error that comes before an answer.
pub async fn first<'a, H, A, E, F, Fut>(
    handlers: &'a [H],
    on_failure: OnFailure,
    default: impl Fn() -> Option<A>,
    call: F,
) -> Result<Found<A, E>, E>
where
    F: Fn(&'a H) -> Fut,
    Fut: Future<Output = Result<Option<A>, E>>,
{
    let mut failures = Vec::new();
    for (index, handler) in handlers.iter().enumerate() {
        let answer = match call(handler).await {
            Ok(answer) => answer,
            Err(error) if on_failure.goes_on() => {
                failures.push((index, error));
                if on_failure == OnFailure::Default { default() } else { None }
            }
            Err(error) => return Err(error),
        };
        if let Some(answer) = answer {
            return Ok(Found { answer: Some((index, answer)), failures });
        }
    }
    Ok(Found { answer: None, failures })
}
