//! Real plugins, written in Rust with the SDK, that misbehave.

use expect_test::expect;
use tapline_content::{ItemInsert, ItemPresave, ItemView};
use tapline_host_core::{Fault, Host, PluginSpec};

use crate::{PROBES, bytes, host, host_with, item, name};

/// The fault of `item_view` with this command; afterwards the same host serves.
async fn fault(host: &Host, command: &str) -> Fault {
    let outcome = host.dispatch(ItemView, &item(command)).await.unwrap();
    let error = outcome.failures.into_iter().next().unwrap_or_else(|| panic!("`{command}` did no harm"));
    assert_eq!(error.tap.as_ref(), "item_view");
    let good = host.dispatch(ItemView, &item("")).await.unwrap();
    assert_eq!((good.answers.len(), good.failures.len()), (1, 0), "the host serves after `{command}`");
    assert_eq!((host.slots().0, host.memory().usage().current_pages), (0, 0));
    error.fault
}

#[tokio::test]
async fn faults_say_what_happened() {
    for plugin in PROBES {
        let host = host_with(plugin).await;
        assert_eq!(fault(&host, "error").await.to_string(), "returned an error: as asked");

        let Fault::Returned { message } = fault(&host, "long error").await else { panic!() };
        assert_eq!(message.len(), 4096);

        let Fault::Panicked(panic) = fault(&host, "panic").await else { panic!() };
        assert_eq!(panic.message, "as asked");
        assert!(panic.file.ends_with("probe/src/act.rs"), "{panic:?}");
        assert!(panic.line > 10 && panic.column > 1, "{panic:?}");

        let Fault::Panicked(panic) = fault(&host, "long panic").await else { panic!() };
        assert_eq!(panic.message.len(), 4096);

        let Fault::Panicked(panic) = fault(&host, "index").await else { panic!() };
        expect!["index out of bounds: the len is 3 but the index is 3"].assert_eq(&panic.message);

        let Fault::Panicked(panic) = fault(&host, "clock").await else { panic!() };
        assert!(panic.message.contains("Unsupported") || panic.message.contains("os error 58"), "{panic:?}");

        assert!(matches!(fault(&host, "recurse").await, Fault::StackOverflow { .. }));
        assert!(matches!(fault(&host, "allocate").await, Fault::OutOfMemory(_) | Fault::Panicked(_)));
        assert!(matches!(fault(&host, "exit").await, Fault::Trapped { .. }));
        assert!(matches!(fault(&host, "abort").await, Fault::Trapped { .. }));
    }
}

#[tokio::test]
async fn an_endless_loop_ends_at_the_deadline() {
    for plugin in PROBES {
        let host = host();
        let mut spec = PluginSpec::bytes(name(plugin), bytes(plugin));
        spec.limits.max_execution_time_ms = Some(500);
        host.load(spec).await.unwrap();
        let outcome = host.dispatch(ItemView, &item("loop")).await.unwrap();
        assert!(matches!(outcome.failures[0].fault, Fault::TimedOut { .. }), "{:?}", outcome.failures);
    }
}

#[tokio::test]
async fn answers_that_are_too_much() {
    for plugin in PROBES {
        let host = host_with(plugin).await;
        for (command, part) in [
            ("deep", "nested deeper"),
            ("wide", "nodes are refused"),
            ("large", "bytes of text are refused"),
            ("huge", "too much data"),
        ] {
            let fault = fault(&host, command).await;
            assert!(matches!(&fault, Fault::BadAnswer { reason } if reason.contains(part)), "{command}: {fault}");
        }
    }
}

#[tokio::test]
async fn scripts_do_not_reach_the_page() {
    for plugin in PROBES {
        let outcome = host_with(plugin).await.dispatch(ItemView, &item("script")).await.unwrap();
        assert_eq!(outcome.answers[0].1.body(), "<b>bold</b>");
    }
}

#[tokio::test]
async fn floods_of_output_and_of_log_lines_are_cut_and_counted() {
    // Lines that nobody wants are not written, and so not counted either.
    let _ = tracing_subscriber::fmt().with_writer(std::io::sink).try_init();
    for plugin in PROBES {
        let host = host_with(plugin).await;
        assert!(host.dispatch(ItemInsert, &item("print")).await.unwrap().is_empty());
        assert!(host.dispatch(ItemInsert, &item("log")).await.unwrap().is_empty());
        let text = host.metrics().render().unwrap();
        for counter in ["tapline_guest_output_dropped_bytes_total", "tapline_log_lines_dropped_total"] {
            let line = format!("{counter}{{plugin=\"{plugin}\"}} ");
            let value = text.lines().find_map(|found| found.strip_prefix(&line)).unwrap_or_else(|| panic!("{line}"));
            assert!(value.parse::<f64>().unwrap() > 0.0, "{line}{value}");
        }
    }
}

#[tokio::test]
async fn a_sealed_plugin_sees_nothing_of_the_world() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let outcome = host_with("probe").await.dispatch(ItemView, &item("surroundings")).await.unwrap();
        seen.push(outcome.answers[0].1.body());
    }
    assert!(
        seen[0].starts_with("variables 0, arguments 0, files [false, false, false, false], order ["),
        "{}",
        seen[0]
    );
    assert_eq!(seen[0], seen[1], "a call is a function of its input");
}

#[tokio::test]
async fn the_changes_of_one_call_have_a_bound() {
    let host = host_with("probe-lazy").await;
    let error = host.dispatch(ItemPresave, item("write much")).await.unwrap_err();
    assert!(error.to_string().contains("the changes of one call hold at most"), "{error}");
}
