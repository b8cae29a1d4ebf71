//! A report for people: Markdown with charts, made from the same numbers that programs read.

mod reasons;

use std::fmt::Write as _;

use anyhow::Result;

use crate::{
    charts,
    items::SIZES,
    report::{Report, Row},
    spec,
};

/// The arms of gate 1, by their names in ids and for people.
const ARMS: [(&str, &str); 5] = [
    ("lazy", "lazy"),
    ("projected", "projected"),
    ("full", "typed full"),
    ("json", "JSON full"),
    ("phase-zero", "phase 0 way"),
];
const STAGES: [&str; 5] = ["encode", "instantiate", "call", "decode", "teardown"];

/// The clocks of gate 1, by their names in ids and for people.
const CLOCKS: [(&str, &str); 3] = [
    ("own", "The tap's own time, µs"),
    ("whole", "The whole dispatch on a fresh instance, µs"),
    ("p95", "The same, 95th percentile, µs"),
];

/// The files of the document: their names and their texts. `report.md` is the first.
///
/// # Errors
///
/// A chart cannot be drawn.
pub fn files(report: &Report) -> Result<Vec<(String, String)>> {
    let mut charts = Vec::new();
    if report.value("gate1.lazy.2k4.own").is_some() {
        charts.push(("own-time.svg".to_owned(), own_time(report)?));
        charts.push(("stages.svg".to_owned(), stages(report)?));
    }
    for (size, bytes) in SIZES {
        let cells = cells(report, size);
        if !cells.is_empty() {
            let title = format!("Typed full over lazy, {} KB: above 1 lazy is faster", kilobytes(bytes));
            let axes = ["fields read", "fields written"];
            charts.push((format!("map-{size}.svg"), charts::heat_map(&title, axes, &cells)?));
        }
    }
    let mut files = vec![("report.md".to_owned(), text(report, &charts)?)];
    files.extend(charts);
    Ok(files)
}

fn text(report: &Report, charts: &[(String, String)]) -> Result<String> {
    let mut text = String::new();
    let Report { machine, date, .. } = report;
    writeln!(
        text,
        "---\ntitle: Gates\nauthor: The Tapline developers\ndate: {date}\ntags: [benchmark, report]\nsummary: What was \
         measured, on what, against which target, and what follows from it.\n---\n# Gates\n"
    )?;
    writeln!(text, "Written by `cargo xtask gates --write`; [how to read it](../benchmarking.md).\n")?;
    writeln!(text, "**{}**\n", recommendation(report))?;
    for sentence in advice(report) {
        writeln!(text, "{sentence}\n")?;
    }
    writeln!(text, "## Gates\n\n{}", table(&report.gates))?;
    let targets: Vec<Row> = report.figures.iter().filter(|row| row.target.is_some()).cloned().collect();
    writeln!(text, "## Figures with a target\n\n{}", table(&targets))?;
    let missed: Vec<_> = report.rows().filter(|row| row.met == Some(false)).collect();
    writeln!(text, "## What is not met, and why\n")?;
    if missed.is_empty() {
        writeln!(text, "Every target is met.\n")?;
    }
    for row in missed {
        let target = row.target.as_deref().unwrap_or_default();
        writeln!(
            text,
            "- `{}`: {} {}, wanted {target}. {}",
            row.id,
            number(row.measured),
            row.unit,
            reasons::why(report, &row.id)
        )?;
    }
    writeln!(text, "\n## Gate 1 in detail\n")?;
    for (name, _) in charts {
        writeln!(text, "![{}]({name})\n", name.trim_end_matches(".svg").replace('-', " "))?;
    }
    for (clock, heading) in CLOCKS {
        writeln!(text, "### {heading}\n\n{}", by_size(report, clock))?;
    }
    writeln!(text, "### Stages at 2.4 KB, each with its own clock, µs\n\n{}", stage_table(report))?;
    let others: Vec<Row> =
        report.figures.iter().filter(|row| row.target.is_none() && !is_detail(row)).cloned().collect();
    writeln!(text, "## Figures for comparison\n\n{}", table(&others))?;
    writeln!(
        text,
        "## Where\n\n| | |\n|---|---|\n| processor | {} |\n| cores | {} |\n| memory | {} GB |\n| kernel | {} |\n\
         | wasmtime | {} |\n| settings | {} |\n| pagemap scanning | {} |\n| build | {} |\n| load before the run | {} |\n\
         | source | {} |\n| scale | {} |\n",
        machine.cpu,
        machine.cores,
        machine.memory_bytes >> 30,
        machine.kernel,
        machine.wasmtime,
        machine.settings,
        if machine.pagemap_scan { "on" } else { "off" },
        machine.build,
        machine.load,
        report.commit,
        report.scale,
    )?;
    writeln!(text, "## How\n\n{}", METHOD.trim())?;
    Ok(text)
}

const METHOD: &str = "
- Every answer of every arm is compared with that of the same function run natively, outside of the clocks.
- Items, hosts, compiled code and databases are made before the clocks start.
- Arms take turns within a round, and who begins changes. The first round does not count. A number is the median of the
  rounds' medians, its interval the 95 % bootstrap interval of that median; ratios are taken round by round.
- The tap's own time is what the way of crossing costs: arguments, guest, answer and the host's checks of it. The whole
  dispatch adds the queue, a fresh instance, its end and folding. Stages of typed arms are clocked on bare wasmtime; their
  encoding and decoding is lowering and lifting, and part of `call`. `copy-in` is a call of a guest that gets the same
  argument and does nothing with it: a part of `call`, but for the phase 0 way, where it is a stage.
- JSON full is a real round trip: the host writes the whole item, the guest parses it into typed values, writes the whole
  item again, and the host parses and checks that.
- System calls for each tap are counted by `cargo xtask steady-state`, and a million taps are made by `cargo xtask soak`.
";

/// What was asked of the gates: go on or think again.
fn recommendation(report: &Report) -> String {
    let failed: Vec<_> = report.gates.iter().filter(|row| row.met != Some(true)).map(|row| row.id.as_str()).collect();
    let fired: Vec<_> = report
        .figures
        .iter()
        .filter(|row| row.id.starts_with("reconsider.") && row.met == Some(false))
        .map(|row| row.id.as_str())
        .collect();
    match (&failed[..], &fired[..]) {
        ([], []) if !report.gates.is_empty() => {
            "Recommendation: go on with this design. Every gate is passed, and no reason to reconsider was found."
                .to_owned()
        }
        ([], []) => "No gate was measured: there is nothing to recommend.".to_owned(),
        ([], fired) => format!("Recommendation: think again. The gates are passed, but {} fired.", fired.join(", ")),
        (failed, _) => format!("Recommendation: do not go on as it is. Not passed: {}.", failed.join(", ")),
    }
}

/// What follows for authors, in a sentence for each size.
fn advice(report: &Report) -> Vec<String> {
    let mut sentences = Vec::new();
    for (size, bytes) in SIZES {
        let cells = cells(report, size);
        let reads = |cell: &&charts::Cell| cell.1 == 1 || cell.1 == 0;
        let wins = |reads: usize| cells.iter().filter(|cell| cell.0 == reads && cell.1 <= 1).all(|cell| cell.2 > 1.0);
        let mut measured: Vec<usize> = cells.iter().filter(reads).map(|cell| cell.0).collect();
        measured.sort_unstable();
        measured.dedup();
        let Some(most) = measured.last() else { continue };
        let up_to = measured.iter().take_while(|reads| wins(**reads)).last();
        sentences.push(match up_to {
            Some(up_to) if up_to == most => {
                format!("At {} KB `#[tap(lazy)]` is faster however many of the 14 fields a tap reads.", kilobytes(bytes))
            }
            Some(up_to) => format!(
                "At {} KB `#[tap(lazy)]` is faster for taps that read up to {up_to} of 14 fields and write at most one; \
                 above that take the whole item, or declare `fields`.",
                kilobytes(bytes)
            ),
            None => format!("At {} KB the whole item is as fast as a handle, or faster.", kilobytes(bytes)),
        });
    }
    sentences
}

fn table(rows: &[Row]) -> String {
    let mut text =
        "| id | what | measured | 95 % | target | met | asked by |\n|---|---|---|---|---|---|---|\n".to_owned();
    for row in rows {
        let about = spec::find(&row.id).map_or("", |spec| spec.about);
        let interval = row.interval.map_or(String::new(), |[low, high]| format!("{}–{}", number(low), number(high)));
        let met = match row.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        let _ = writeln!(
            text,
            "| `{}` | {about} | {} {} | {interval} | {} | {met} | {} |",
            row.id,
            number(row.measured),
            row.unit,
            row.target.as_deref().unwrap_or_default(),
            row.requirement
        );
    }
    text
}

/// Shown in tables and charts of their own.
fn is_detail(row: &Row) -> bool {
    ["map.", "stage.", "gate1."].iter().any(|start| row.id.starts_with(start)) && !row.id.contains("-over-")
}

fn by_size(report: &Report, clock: &str) -> String {
    let mut text = "| way |".to_owned();
    for (_, bytes) in SIZES {
        let _ = write!(text, " {} KB |", kilobytes(bytes));
    }
    text.push_str("\n|---|---|---|---|---|\n");
    for (arm, name) in ARMS {
        let _ = write!(text, "| {name} |");
        for (size, _) in SIZES {
            let value = report.value(&format!("gate1.{arm}.{size}.{clock}"));
            let _ = write!(text, " {} |", value.map_or("–".to_owned(), number));
        }
        text.push('\n');
    }
    text
}

fn stage_table(report: &Report) -> String {
    let stages = ["encode", "instantiate", "copy-in", "call", "decode", "teardown"];
    let mut text = format!("| way | {} |\n|---|---|---|---|---|---|---|\n", stages.join(" | "));
    for (arm, name) in ARMS.iter().filter(|(arm, _)| *arm != "projected") {
        let values =
            stages.map(|stage| report.value(&format!("stage.{arm}.2k4.{stage}")).map_or("–".to_owned(), number));
        let _ = writeln!(text, "| {name} | {} |", values.join(" | "));
    }
    text
}

fn own_time(report: &Report) -> Result<String> {
    let line = |(arm, name): (&str, &'static str)| {
        let points = SIZES.iter().filter_map(|(size, bytes)| {
            Some((*bytes as f64 / 1000.0, report.value(&format!("gate1.{arm}.{size}.own"))?))
        });
        (name, points.collect::<Vec<_>>())
    };
    let lines = ARMS.map(line);
    charts::lines("The tap's own time: three fields read, one written", ["item, KB as JSON", "µs"], &lines)
}

fn stages(report: &Report) -> Result<String> {
    let bar = |(arm, name): &(&str, &'static str)| {
        let value = |stage: &str| report.value(&format!("stage.{arm}.2k4.{stage}")).unwrap_or_default();
        let mut values = STAGES.map(value).to_vec();
        // Only in the phase 0 way is it apart from the call.
        if *arm == "phase-zero" {
            values[2] += value("copy-in");
        }
        (*name, values)
    };
    let bars: Vec<_> = ARMS.iter().filter(|(arm, _)| *arm != "projected").map(bar).collect();
    charts::bars("Stages of one call, 2.4 KB", "µs", &STAGES, &bars)
}

/// The cells of one map: fields read, fields written, ratio.
fn cells(report: &Report, size: &str) -> Vec<charts::Cell> {
    let cell = |row: &Row| {
        let (reads, writes) = row.id.strip_prefix("map.")?.strip_prefix(size)?.strip_prefix(".r")?.split_once(".w")?;
        Some((reads.parse().ok()?, writes.parse().ok()?, row.measured))
    };
    report.figures.iter().filter_map(cell).collect()
}

fn kilobytes(bytes: usize) -> f64 {
    bytes as f64 / 1000.0
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.5}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{machine::Machine, stats::Estimate};

    fn report(values: &[(&str, f64)]) -> Report {
        let rows = values.iter().map(|(id, value)| Row::new(*id, Estimate::exact(*value)).unwrap()).collect();
        Report::new("full", Machine::here(true), "abc".to_owned(), rows)
    }

    fn markdown(report: &Report) -> String {
        files(report).unwrap().remove(0).1
    }

    #[test]
    fn the_recommendation_follows_from_the_gates() {
        let passed = report(&[("gate2.p95", 1.0), ("reconsider.p95", 1.0)]);
        assert!(markdown(&passed).contains("go on with this design"));
        let failed = report(&[("gate2.p95", 11.0)]);
        assert!(markdown(&failed).contains("Not passed: gate2.p95."));
        let fired = report(&[("gate2.p95", 1.0), ("reconsider.memory", 501.0)]);
        assert!(markdown(&fired).contains("but reconsider.memory fired"));
        assert!(markdown(&report(&[])).contains("No gate was measured"));
    }

    #[test]
    fn what_is_missed_is_listed_with_its_reason() {
        let text = markdown(&report(&[("gate2.batch", 1.5), ("gate1.lazy.2k4.whole", 14.0)]));
        assert!(text.contains("- `gate2.batch`: 1.50 ms, wanted ≤ 1."), "{text}");
        assert!(text.contains("| `gate2.batch` | time until all 100 are done | 1.50 ms |"), "{text}");
        let met = markdown(&report(&[("gate2.batch", 0.5)]));
        assert!(met.contains("Every target is met."), "{met}");
    }

    #[test]
    fn the_map_becomes_a_chart_and_advice() {
        let report = report(&[
            ("map.2k4.r1.w0", 2.0),
            ("map.2k4.r1.w1", 1.5),
            ("map.2k4.r8.w0", 1.1),
            ("map.2k4.r8.w1", 0.9),
            ("map.10k.r1.w0", 3.0),
            ("map.50k.r1.w0", 0.8),
        ]);
        let files = files(&report).unwrap();
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["report.md", "map-2k4.svg", "map-10k.svg", "map-50k.svg"]);
        let text = &files[0].1;
        assert!(text.contains("At 2.4 KB `#[tap(lazy)]` is faster for taps that read up to 1 of 14 fields"), "{text}");
        assert!(text.contains("At 10 KB `#[tap(lazy)]` is faster however many"), "{text}");
        assert!(text.contains("At 50 KB the whole item is as fast"), "{text}");
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [(0.0, "0"), (0.004, "0.00400"), (0.25, "0.25"), (12.34, "12.3"), (1234.5, "1234")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_whole_report_has_every_chart() {
        let mut values = Vec::new();
        for (size, _) in SIZES {
            for (arm, _) in ARMS {
                for clock in ["own", "whole", "p95"] {
                    values.push((format!("gate1.{arm}.{size}.{clock}"), 5.0));
                }
            }
        }
        let values: Vec<_> = values.iter().map(|(id, value)| (id.as_str(), *value)).collect();
        let files = files(&report(&values)).unwrap();
        assert_eq!(files.len(), 3, "{:?}", files.iter().map(|file| &file.0).collect::<Vec<_>>());
        assert!(files[0].1.contains("| typed full | 5.00 | 5.00 | 5.00 | 5.00 |"), "{}", files[0].1);
    }
}
