//! Folding: in the order of the handlers, concurrently where they do not feed each other.

use std::sync::Mutex;

use tapline_tap_dispatch::{
    Altered, Ballot, Collected, Found, OnFailure, Verdict, alter, collect, first, notify, vote,
};
use tokio::sync::{Barrier, Notify};

/// What a handler of these tests does when it is called.
enum Handler {
    Says(&'static str),
    Fails(&'static str),
}

use Handler::{Fails, Says};

struct Host {
    calls: Mutex<Vec<&'static str>>,
}

impl Host {
    fn new() -> Self {
        Self { calls: Mutex::new(Vec::new()) }
    }

    /// A call that borrows the handler and the host, and that waits once.
    async fn call<'a>(&self, handler: &'a Handler) -> Result<&'a str, &'a str> {
        let (Says(name) | Fails(name)) = handler;
        self.calls.lock().unwrap().push(name);
        tokio::task::yield_now().await;
        match handler {
            Says(name) => Ok(name),
            Fails(name) => Err(name),
        }
    }

    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

#[tokio::test]
async fn collect_keeps_order_and_failures() {
    let host = Host::new();
    let all = [Says("a"), Fails("b"), Says("c")];
    let collected = collect(&all, OnFailure::Skip, || None, |handler| host.call(handler)).await;
    assert_eq!(collected, Ok(Collected { answers: vec![(0, "a"), (2, "c")], failures: vec![(1, "b")] }));
    // The others run to their end although the second failed.
    let two_fail = [Says("a"), Fails("b"), Fails("c"), Says("d")];
    host.calls();
    assert_eq!(collect(&two_fail, OnFailure::Fail, || None, |handler| host.call(handler)).await, Err("b"));
    assert_eq!(host.calls(), ["a", "b", "c", "d"]);
    // Outside a vote, `Deny` is as strict as `Fail`.
    assert_eq!(collect(&all, OnFailure::Deny, || None, |handler| host.call(handler)).await, Err("b"));
}

#[tokio::test]
async fn collect_of_none_and_of_one() {
    let host = Host::new();
    let none = collect(&[], OnFailure::Fail, || None, |handler| host.call(handler)).await;
    assert_eq!(none, Ok(Collected { answers: vec![], failures: vec![] }));
    let one = collect(&[Says("a")], OnFailure::Fail, || None, |handler| host.call(handler)).await.unwrap();
    assert_eq!(one.answers, [(0, "a")]);
    let skipped = collect(&[Fails("a")], OnFailure::Skip, || None, |handler| host.call(handler)).await.unwrap();
    assert_eq!(skipped.failures, [(0, "a")]);
    assert_eq!(collect(&[Fails("a")], OnFailure::Fail, || None, |handler| host.call(handler)).await, Err("a"));
}

/// The barrier opens when all are there at the same time. Handlers that ran one after another would wait forever.
#[tokio::test]
async fn handlers_wait_for_each_other() {
    for count in [2, 3, 100] {
        let handlers: Vec<usize> = (0..count).collect();
        let barrier = Barrier::new(count);
        let collected = collect(
            &handlers,
            OnFailure::Fail,
            || None,
            async |index: &usize| {
                barrier.wait().await;
                Ok::<_, ()>(*index)
            },
        )
        .await
        .unwrap();
        assert!(collected.answers.into_iter().eq(handlers.iter().copied().enumerate()));

        notify(&handlers, OnFailure::Fail, async |_: &usize| {
            barrier.wait().await;
            Ok::<_, ()>(())
        })
        .await
        .unwrap();
        let verdict = vote(&handlers, async |_: &usize| {
            barrier.wait().await;
            Ok::<_, ()>(Ballot::Allow)
        })
        .await;
        assert_eq!(verdict.ballot, Ballot::Allow);
    }
}

/// Each handler waits for the one behind it, so they finish in reverse.
#[tokio::test]
async fn who_finishes_first_changes_nothing() {
    let handlers = [0, 1, 2];
    let done = [Notify::new(), Notify::new(), Notify::new()];
    let finished = Mutex::new(Vec::new());
    let collected = collect(
        &handlers,
        OnFailure::Skip,
        || None,
        |&index: &usize| {
            let (done, finished) = (&done, &finished);
            async move {
                if let Some(next) = done.get(index + 1) {
                    next.notified().await;
                }
                finished.lock().unwrap().push(index);
                done[index].notify_one();
                if index == 1 { Err("one") } else { Ok(index) }
            }
        },
    )
    .await;
    assert_eq!(finished.into_inner().unwrap(), [2, 1, 0]);
    assert_eq!(collected, Ok(Collected { answers: vec![(0, 0), (2, 2)], failures: vec![(1, "one")] }));
}

#[tokio::test]
async fn notify_reports_failures() {
    let host = Host::new();
    let handlers = [Fails("a"), Says("b"), Fails("c")];
    let call = async |handler| host.call(handler).await.map(drop);
    assert_eq!(notify(&handlers, OnFailure::Skip, call).await, Ok(vec![(0, "a"), (2, "c")]));
    assert_eq!(host.calls(), ["a", "b", "c"]);
    assert_eq!(notify(&handlers, OnFailure::Fail, call).await, Err("a"));
    assert_eq!(host.calls(), ["a", "b", "c"]);
    assert_eq!(notify(&[], OnFailure::Fail, call).await, Ok(vec![]));
}

/// The handlers' answers, and the ballot, `denied_by` and `failures` that they come to.
type Case = (&'static [Result<Ballot, &'static str>], Ballot, &'static [usize], &'static [(usize, &'static str)]);

#[tokio::test]
async fn deny_wins_and_failing_denies() {
    use Ballot::{Allow, Deny, Neutral};
    let cases: [Case; 9] = [
        (&[], Neutral, &[], &[]),
        (&[Ok(Neutral)], Neutral, &[], &[]),
        (&[Ok(Allow)], Allow, &[], &[]),
        (&[Ok(Deny)], Deny, &[0], &[]),
        (&[Err("x")], Deny, &[0], &[(0, "x")]),
        (&[Ok(Neutral), Ok(Allow), Ok(Neutral)], Allow, &[], &[]),
        (&[Ok(Deny), Ok(Allow)], Deny, &[0], &[]),
        (&[Ok(Allow), Ok(Deny), Ok(Deny), Ok(Allow)], Deny, &[1, 2], &[]),
        (&[Ok(Allow), Err("x"), Ok(Allow), Ok(Deny)], Deny, &[1, 3], &[(1, "x")]),
    ];
    for (handlers, ballot, denied_by, failures) in cases {
        let verdict = vote(handlers, async |answer: &Result<Ballot, _>| *answer).await;
        let expected = Verdict { ballot, denied_by: denied_by.to_vec(), failures: failures.to_vec() };
        assert_eq!(verdict, expected, "{handlers:?}");
    }
}

#[tokio::test]
async fn alter_feeds_each_handler_what_the_one_before_returned() {
    let host = Host::new();
    let handlers = [Says("a"), Fails("b"), Says("c")];
    let call = async |handler, state| match host.call(handler).await {
        Ok(name) => Ok(format!("{state}{name}")),
        Err(name) => Err((state, name)),
    };
    let altered = alter(&handlers, "-".to_owned(), OnFailure::Skip, |_| None, call).await;
    assert_eq!(altered, Ok(Altered { state: "-ac".to_owned(), failures: vec![(1, "b")] }));
    host.calls();
    assert_eq!(alter(&handlers, "-".to_owned(), OnFailure::Fail, |_| None, call).await, Err("b"));
    assert_eq!(host.calls(), ["a", "b"]);
    let none = alter(&[], "-".to_owned(), OnFailure::Fail, |_| None, call).await.unwrap();
    assert_eq!(none.state, "-");
}

#[tokio::test]
async fn a_default_stands_in_for_the_answer_of_a_handler_that_failed() {
    let host = Host::new();
    let handlers = [Says("a"), Fails("b"), Says("c")];
    let collected = collect(&handlers, OnFailure::Default, || Some("-"), |handler| host.call(handler)).await;
    let answers = vec![(0, "a"), (1, "-"), (2, "c")];
    assert_eq!(collected, Ok(Collected { answers, failures: vec![(1, "b")] }));
    let skipped = collect(&handlers, OnFailure::Default, || None, |handler| host.call(handler)).await.unwrap();
    assert_eq!((skipped.answers.len(), skipped.failures.len()), (2, 1), "no default: the handler is skipped");

    let call = async |handler, state| match host.call(handler).await {
        Ok(name) => Ok(format!("{state}{name}")),
        Err(name) => Err((state, name)),
    };
    let altered = alter(&handlers, "<".to_owned(), OnFailure::Default, |state| Some(format!("{state}-")), call).await;
    assert_eq!(altered, Ok(Altered { state: "<a-c".to_owned(), failures: vec![(1, "b")] }));
    let unaltered = alter(&handlers, "<".to_owned(), OnFailure::Default, |_| None, call).await.unwrap();
    assert_eq!(unaltered.state, "<ac");

    host.calls();
    let call = async |handler| host.call(handler).await.map(Some);
    let found = first(&handlers[1..], OnFailure::Default, || Some("-"), call).await;
    assert_eq!(found, Ok(Found { answer: Some((0, "-")), failures: vec![(0, "b")] }));
    assert_eq!(host.calls(), ["b"]);
    let next = first(&handlers[1..], OnFailure::Default, || None, call).await.unwrap();
    assert_eq!(next.answer, Some((1, "c")));
    let told = notify(&handlers, OnFailure::Default, async |handler| host.call(handler).await.map(drop)).await;
    assert_eq!(told, Ok(vec![(1, "b")]));
}

#[tokio::test]
async fn first_stops_at_the_first_answer() {
    let host = Host::new();
    let handlers = [Says(""), Fails("b"), Says("c"), Says("d")];
    let call = async |handler| host.call(handler).await.map(|name| (!name.is_empty()).then_some(name));
    let found = first(&handlers, OnFailure::Skip, || None, call).await;
    assert_eq!(found, Ok(Found { answer: Some((2, "c")), failures: vec![(1, "b")] }));
    assert_eq!(host.calls(), ["", "b", "c"]);
    assert_eq!(first(&handlers, OnFailure::Fail, || None, call).await, Err("b"));
    assert_eq!(host.calls(), ["", "b"]);
    let nobody = first(&handlers[..2], OnFailure::Skip, || None, call).await.unwrap();
    assert_eq!(nobody.answer, None);
}

/// A host's own dispatch: generic over the input, borrowing it, and on a runtime with several threads.
async fn dispatch<I: Sync>(handlers: &[Handler], host: &Host, input: &I) -> (usize, Ballot) {
    let call = |handler| async move {
        let _input = input;
        host.call(handler).await
    };
    let collected = collect(handlers, OnFailure::Skip, || None, call).await.unwrap();
    let verdict = vote(handlers, |handler| async move { call(handler).await.map(|_| Ballot::Allow) }).await;
    let altered = alter(
        handlers,
        0,
        OnFailure::Skip,
        |_| None,
        |handler, state| async move { call(handler).await.map(|_| state + 1).map_err(|error| (state, error)) },
    )
    .await
    .unwrap();
    let found = first(handlers, OnFailure::Skip, || None, |handler| async move { call(handler).await.map(Some) })
        .await
        .unwrap();
    assert_eq!(found.answer, collected.answers.first().copied());
    notify(handlers, OnFailure::Fail, |handler| async move { call(handler).await.map(drop) }).await.unwrap();
    (altered.state, verdict.ballot)
}

#[tokio::test]
async fn folds_are_send_when_calls_are() {
    let task = tokio::spawn(async {
        let (handlers, host, input) = ([Says("a"), Says("b")], Host::new(), "input".to_owned());
        dispatch(&handlers, &host, &input).await
    });
    assert_eq!(task.await.unwrap(), (2, Ballot::Allow));
}
