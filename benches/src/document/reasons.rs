//! Why a target is missed: what the machine and bare wasmtime set as a limit in the same run.

use crate::report::Report;

/// The reason, with the figures of the same run that bound it.
pub(super) fn why(report: &Report, id: &str) -> String {
    let value = |id: &str| report.value(id).map_or_else(|| "not measured".to_owned(), super::number);
    match id {
        "gate2.batch" => format!(
            "The same 100 calls through bare wasmtime, without a queue, limits or metrics, take {} ms (`gate2.batch.bare`): one call takes \
             {} µs (`gate1.lazy.2k4.whole`), and there are {} cores.",
            value("gate2.batch.bare"),
            value("gate1.lazy.2k4.whole"),
            report.machine.cores
        ),
        "gate3.added" => format!(
            "Plain sqlx takes {} µs (`gate3.plain-query`). Both are one message to the thread of a connection and back. What is \
             added lies between: the way out of the guest and back, the deadline, and copies of the statement and of each value.",
            value("gate3.plain-query")
        ),
        "gate3.wait.100" | "gate3.wait.1000" => format!(
            "Through bare wasmtime they take {} ms (`{id}.bare`). The timer counts whole milliseconds, so that a wait of 10 ms ends after 10 \
             to 11; the rest is making and ending the instances.",
            value(&format!("{id}.bare"))
        ),
        "airssys.load" | "airssys.load-1mb" => format!(
            "Bare wasmtime takes {} {unit} to map a file that nobody checks (`{id}.engine`) and {} {unit} to link it and make its first \
             instance (`{id}.first`). What was asked for beside that: the SHA-256 of the bytes, by which an artifact is found, {} {unit} \
             (`{id}.hash`), and the keyed hash of the artifact before it is mapped, {} {unit} (`{id}.authenticator`). The rest is reading \
             both, the manifest, the grants and limits, the instruments of the plugin, and the order of its taps. \
             [Decision 46](../decisions/0046-every-load-reads-every-byte.md) says why nothing of it is left out.",
            value(&format!("{id}.engine")),
            value(&format!("{id}.first")),
            value(&format!("{id}.hash")),
            value(&format!("{id}.authenticator")),
            unit = if id == "airssys.load" { "µs" } else { "ms" },
        ),
        "airssys.load-1mb.cache" => format!(
            "The SHA-256 of the bytes alone takes {} ms (`airssys.load-1mb.hash`), the keyed hash of the artifact {} ms \
             (`airssys.load-1mb.authenticator`), and bare wasmtime {} ms to map it (`airssys.load-1mb.engine`): see \
             [decision 46](../decisions/0046-every-load-reads-every-byte.md).",
            value("airssys.load-1mb.hash"),
            value("airssys.load-1mb.authenticator"),
            value("airssys.load-1mb.engine"),
        ),
        "p8.start" => format!(
            "A host alone takes {} ms (`airssys.host`), and each plugin {} µs (`airssys.load`).",
            value("airssys.host"),
            value("airssys.load")
        ),
        "p8.serve" => format!(
            "Until `main` and back the process takes {} ms (`p8.serve.process`), making the engine and linking what is offered \
             {} ms (`p8.serve.host`), reading and checking the plugins {} ms (`p8.serve.plugins`), and the database, which is opened \
             meanwhile, {} ms more (`p8.serve.database`).",
            value("p8.serve.process"),
            value("p8.serve.host"),
            value("p8.serve.plugins"),
            value("p8.serve.database"),
        ),
        "airssys.call.sync" | "airssys.call.async" => {
            "This is bare wasmtime with our engine settings: there is nothing of ours in it to take away.".to_owned()
        }
        "phase0-over-full.2k4" | "phase0-over-lazy.2k4" => format!(
            "The target was set against another program's figure. This arm runs on the newest engine and without WASI: {} µs \
             (`gate1.phase-zero.2k4.whole`). Of typed full, bare wasmtime itself takes {} µs to make the instance, {} µs for \
             the call and {} µs to drop it; of lazy {}, {} and {} µs.",
            value("gate1.phase-zero.2k4.whole"),
            value("stage.full.2k4.instantiate"),
            value("stage.full.2k4.call"),
            value("stage.full.2k4.teardown"),
            value("stage.lazy.2k4.instantiate"),
            value("stage.lazy.2k4.call"),
            value("stage.lazy.2k4.teardown"),
        ),
        "gate1.lazy-over-json.2k4" | "gate1.lazy-over-json.100k" => {
            let size = id.rsplit('.').next().unwrap_or_default();
            format!(
                "Bare wasmtime needs {} µs for the lazy call alone (`stage.lazy.{size}.call`), and {} µs to enter and leave a \
                 guest that does nothing (`stage.lazy.{size}.copy-in`).",
                value(&format!("stage.lazy.{size}.call")),
                value(&format!("stage.lazy.{size}.copy-in"))
            )
        }
        "stop.loop.p99" => format!(
            "Without a guest, a native thread that waits for the same clock is up to {} ms late on this machine (`stop.native.p99`).",
            value("stop.native.p99")
        ),
        "stock.wait" => "What a dispatch does before it has an instance is in it: the breaker is asked, a turn and a slot are taken, and the \
                         instance is found and set up under a lock."
            .to_owned(),
        "stock.saturated" => "Where no core is idle a stock saves nothing: the same instances are made and dropped, and a task is woken for \
                              it."
            .to_owned(),
        "stock.caller" => format!(
            "Beside the call there are the queue, the limiter, the deadline, the metrics and folding; without a stock it is {} times \
             (`stock.caller.fresh`).",
            value("stock.caller.fresh")
        ),
        _ if id.starts_with("metrics.") => "A call is counted at its beginning and end, with its instance, memory, fuel and processor time: the \
                                            clock is read six times for that, and the difference of two medians has the spread of both."
            .to_owned(),
        _ if id.starts_with("layers.") => {
            "The rest of the dispatch is bare wasmtime; what is ours is the queue, the limiter, the deadline, the metrics and the \
             checks of the answer."
                .to_owned()
        }
        _ if !report.machine.pagemap_scan && (id.starts_with("faults.") || id.starts_with("gate2.memory")) => {
            "Pagemap scanning was off on this machine.".to_owned()
        }
        _ => "No reason is known: this is a defect to look into.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{machine::Machine, report::Row, stats::Estimate};

    #[test]
    fn a_reason_names_the_limit_of_the_same_run() {
        let row = Row::new("airssys.load.engine", Estimate::exact(90.5)).unwrap();
        let report = Report::new("full", Machine::here(true), String::new(), vec![row]);
        assert!(
            why(&report, "airssys.load").contains("90.5 µs to map a file that nobody checks (`airssys.load.engine`)")
        );
        assert!(why(&report, "gate3.added").contains("takes not measured µs"));
        assert!(why(&report, "simd.kernel").contains("a defect to look into"));
        assert!(why(&report, "faults.lazy").contains("a defect"));
        let without = Report { machine: Machine { pagemap_scan: false, ..report.machine.clone() }, ..report };
        assert!(why(&without, "faults.lazy").contains("was off"));
    }
}
