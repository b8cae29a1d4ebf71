//! A request as bars in the order of time.

use tapline_host_core::{cut, escape};
use tapline_telemetry::{Span, Trace};

/// Cells of the bar that is the whole request.
const WIDTH: usize = 40;
/// Widest name, in characters. A plugin's and a tap's together may have more.
const MAX_NAME: usize = 48;
/// Longest text behind a bar, in bytes.
const MAX_NOTE: usize = 80;

/// For whom it is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// A terminal: what failed is red.
    Terminal,
    /// A file, another program: letters of ASCII, no colours.
    Plain,
}

const RED: &str = "\u{1b}[31m";
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// Nothing that the host sends is trusted: it is cut, escaped, and cannot make this go round in circles.
pub(super) fn render(trace: &Trace, look: Look) -> String {
    let Some(root) = trace.root() else { return "the trace has no spans\n".to_owned() };
    let rows = rows(&trace.spans);
    let shown: Vec<String> = rows
        .iter()
        .map(|(span, depth)| {
            let label = span.label();
            let text = format!("{}{}", "  ".repeat(*depth), escape(cut(&label, MAX_NAME)));
            text.chars().take(MAX_NAME).collect()
        })
        .collect();
    let width = shown.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let mut text = head(trace, root);
    for ((span, _), name) in rows.iter().zip(&shown) {
        let bar = bar(span, root.duration_ns, look);
        let padding = " ".repeat(width - name.chars().count());
        let line = format!(
            "{name}{padding}  {:>10}  {:>10}  |{bar}|{}",
            duration(span.start_ns),
            duration(span.duration_ns),
            note(span)
        );
        let line = line.trim_end();
        match look {
            Look::Terminal if span.failed() => text.push_str(&format!("{RED}{line}{RESET}\n")),
            Look::Terminal if span.name == "host_call" || span.name == "sql" => {
                text.push_str(&format!("{DIM}{line}{RESET}\n"));
            }
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    if trace.dropped_spans > 0 {
        text.push_str(&format!("and {} more, which were not kept\n", trace.dropped_spans));
    }
    text
}

/// What was asked for, what came of it, and where the same stands in the log.
fn head(trace: &Trace, root: &Span) -> String {
    let field = |name| escape(cut(root.field(name).unwrap_or("-"), 4 * MAX_NAME)).into_owned();
    format!(
        "{} {}  status {}  {}  trace {}\n\n",
        field("method"),
        field("path"),
        field("status"),
        duration(root.duration_ns),
        escape(cut(&trace.trace_id, MAX_NAME))
    )
}

/// Each span below the one that it belongs to, with its depth; those of one by their start.
fn rows(spans: &[Span]) -> Vec<(&Span, usize)> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    for (index, span) in spans.iter().enumerate().skip(1) {
        // A parent stands before its children. One that says otherwise is taken for a child of the request.
        let parent = span.parent.filter(|parent| *parent < index).unwrap_or_default();
        children[parent].push(index);
    }
    let mut rows = Vec::with_capacity(spans.len());
    let mut left = vec![(0, 0)];
    while let Some((index, depth)) = left.pop() {
        rows.push((&spans[index], depth));
        let mut of_this = std::mem::take(&mut children[index]);
        // The last first: the stack turns them round.
        of_this.sort_by_key(|child| std::cmp::Reverse((spans[*child].start_ns, *child)));
        left.extend(of_this.into_iter().map(|child| (child, depth + 1)));
    }
    rows
}

/// Where in the whole the span lies. It has one cell at least.
fn bar(span: &Span, whole: u64, look: Look) -> String {
    let cell =
        |time: u64| ((time as f64 / whole.max(1) as f64) * WIDTH as f64).floor().clamp(0.0, WIDTH as f64) as usize;
    let start = cell(span.start_ns).min(WIDTH - 1);
    let end = cell(span.start_ns.saturating_add(span.duration_ns)).clamp(start + 1, WIDTH);
    let full = if look == Look::Terminal { "█" } else { "#" };
    format!("{}{}{}", " ".repeat(start), full.repeat(end - start), " ".repeat(WIDTH - end))
}

/// What else there is to say: how it failed, or what was asked of the database.
fn note(span: &Span) -> String {
    let text = match (span.field("outcome"), span.field("sql")) {
        (Some(outcome), _) if span.failed() => outcome.to_owned(),
        // Line ends in it are escaped already.
        (_, Some(sql)) => sql.replace("\\n", " ").split_whitespace().collect::<Vec<_>>().join(" "),
        _ => return String::new(),
    };
    format!(" {}", escape(cut(&text, MAX_NOTE)))
}

/// A time for people, with three digits behind the point: what plugins do takes microseconds.
pub(super) fn duration(nanoseconds: u64) -> String {
    format!("{:.3} ms", nanoseconds as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn trace(spans: serde_json::Value) -> Trace {
        let trace = json!({ "trace_id": "4bf9", "started_unix_us": 0, "spans": spans, "dropped_spans": 2 });
        serde_json::from_value(trace).unwrap()
    }

    fn span(name: &str, parent: Option<usize>, start: u64, took: u64, fields: serde_json::Value) -> serde_json::Value {
        json!({ "name": name, "parent": parent, "start_ns": start, "duration_ns": took, "fields": fields })
    }

    #[track_caller]
    fn check(trace: &Trace, look: Look, expected: Expect) {
        // The ends of lines are part of what is compared.
        expected.assert_eq(&render(trace, look).replace('\u{1b}', "^"));
    }

    fn page() -> Trace {
        let handler = |plugin: &str, outcome: &str| json!({ "plugin": plugin, "tap": "item_view", "outcome": outcome });
        trace(json!([
            span(
                "request",
                None,
                0,
                4_000_000,
                json!({ "method": "GET", "route": "/item/{id}", "path": "/item/a", "status": "200" })
            ),
            span("dispatch", Some(0), 1_000_000, 2_000_000, json!({ "tap": "item_view" })),
            span("handler", Some(1), 1_000_000, 100_000, handler("seo", "trap")),
            span("handler", Some(1), 1_100_000, 1_900_000, handler("related", "ok")),
            span("render", Some(0), 3_000_000, 1_000_000, json!({})),
            span("host_call", Some(3), 1_500_000, 1_000_000, json!({ "function": "database.query" })),
            span("sql", Some(5), 1_500_000, 900_000, json!({ "sql": "\"SELECT\\n    1\"" })),
        ]))
    }

    #[test]
    fn bars_lie_where_their_time_lies() {
        check(
            &page(),
            Look::Plain,
            expect![[r##"
                GET /item/a  status 200  4.000 ms  trace 4bf9

                GET /item/{id}           0.000 ms    4.000 ms  |########################################|
                  dispatch item_view     1.000 ms    2.000 ms  |          ####################          |
                    seo.item_view        1.000 ms    0.100 ms  |          #                             | trap
                    related.item_view    1.100 ms    1.900 ms  |           ###################          |
                      database.query     1.500 ms    1.000 ms  |               ##########               |
                        sql              1.500 ms    0.900 ms  |               #########                | "SELECT 1"
                  render                 3.000 ms    1.000 ms  |                              ##########|
                and 2 more, which were not kept
            "##]],
        );
    }

    #[test]
    fn a_terminal_has_colours() {
        let shown = render(&page(), Look::Terminal);
        assert!(shown.contains("\u{1b}[31m    seo.item_view ") && shown.contains("| trap\u{1b}[0m\n"), "{shown}");
        assert!(shown.contains("|          ████████████████████          |\n"), "{shown}");
    }

    #[test]
    fn a_host_that_is_none_can_send_what_it_likes() {
        let evil = "\u{1b}[2J".repeat(100);
        let fields = json!({ "plugin": evil, "tap": "x\ny", "outcome": evil, "sql": evil });
        let strange = trace(json!([
            span("request", Some(7), u64::MAX, u64::MAX, json!({ "method": evil, "path": evil, "status": evil })),
            span("handler", Some(1), u64::MAX, u64::MAX, fields.clone()),
            span("handler", Some(9), 5, u64::MAX, fields),
            span(&evil, None, 0, 0, json!({})),
        ]));
        let shown = render(&strange, Look::Plain);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert_eq!(shown.lines().count(), 2 + 4 + 1, "{shown}");
        assert_eq!(render(&trace(json!([])), Look::Plain), "the trace has no spans\n");
        let nothing = trace(json!([span("request", None, 0, 0, json!({}))]));
        assert!(render(&nothing, Look::Plain).starts_with("- -  status -  0.000 ms  trace 4bf9\n"));
    }
}
