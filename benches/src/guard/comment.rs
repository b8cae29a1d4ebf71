//! The comment for a pull request.

use std::fmt::Write as _;

use super::compare::{Comparison, Measured, Row, Verdict};

/// The comment as Markdown: the verdict, what changed, and everything else folded away.
#[must_use]
pub fn markdown(comparison: &Comparison, measured: &Measured) -> String {
    let worse = comparison.worse().len();
    let mut text = match worse {
        0 => "## Guard: nothing got worse\n\n".to_owned(),
        1 => "## Guard: one value got worse\n\n".to_owned(),
        more => format!("## Guard: {more} values got worse\n\n"),
    };
    // Writing to a string cannot fail.
    for row in comparison.rows.iter().filter(|row| row.kind.name == "native") {
        if let (Some(now), Some(before)) = (row.now, row.before) {
            let plugin = row.id.split_once('.').map_or("", |(_, plugin)| plugin);
            let _ = writeln!(
                text,
                "WebAssembly against native (`{plugin}`): {now:.2} times as long, before {before:.2}.\n"
            );
        }
    }
    let (changed, rest): (Vec<&Row>, Vec<&Row>) =
        comparison.rows.iter().partition(|row| !matches!(row.verdict, Verdict::Same | Verdict::Skipped(_)));
    if !changed.is_empty() {
        table(&mut text, &changed);
        text.push('\n');
    }
    for (kind, reason) in &measured.skipped {
        let _ = writeln!(text, "Not measured: {kind} ({reason}).\n");
    }
    if !rest.is_empty() {
        let _ = write!(text, "<details><summary>{} without a change beyond the tolerance</summary>\n\n", rest.len());
        table(&mut text, &rest);
        text.push_str("\n</details>\n");
    }
    text
}

fn table(text: &mut String, rows: &[&Row]) {
    text.push_str("| value | before | now | unit | change | |\n|---|--:|--:|---|--:|---|\n");
    for row in rows {
        let change = row.change().map_or_else(String::new, |percent| format!("{percent:+.1} %"));
        let verdict = match &row.verdict {
            Verdict::Worse => format!("**worse** (tolerance {} %)", row.kind.tolerance),
            Verdict::Better => "better".to_owned(),
            Verdict::Same => String::new(),
            Verdict::New => "not in the baseline".to_owned(),
            Verdict::Gone => "gone".to_owned(),
            Verdict::Skipped(reason) => format!("not compared: {reason}"),
        };
        let (before, now) = (number(row.before), number(row.now));
        let _ = writeln!(text, "| {} | {before} | {now} | {} | {change} | {verdict} |", row.id, row.kind.unit);
    }
}

/// Large numbers are counts, small ones ratios.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 1000.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{
        KINDS,
        baseline::{Baseline, Place},
    };

    #[test]
    fn the_comment_says_what_changed_first() {
        let place = Place::here(true);
        let of = |list: &[(&str, f64)]| list.iter().map(|(id, value)| ((*id).to_owned(), *value)).collect();
        let before = of(&[("artifact.seo", 20_000.0), ("faults.teaser", 0.0), ("native.teaser", 40.0)]);
        let measured = Measured {
            values: of(&[("artifact.seo", 25_000.0), ("faults.teaser", 0.001), ("native.teaser", 41.0)]),
            skipped: [("instructions", "valgrind is not installed".to_owned())].into(),
        };
        let every: Vec<_> = KINDS.iter().collect();
        let comparison = Comparison::new(&Baseline::new(place.clone(), before), &place, &measured, &every);
        expect_test::expect![[r#"
            ## Guard: one value got worse

            WebAssembly against native (`teaser`): 41.00 times as long, before 40.00.

            | value | before | now | unit | change | |
            |---|--:|--:|---|--:|---|
            | artifact.seo | 20000 | 25000 | bytes | +25.0 % | **worse** (tolerance 10 %) |

            Not measured: instructions (valgrind is not installed).

            <details><summary>2 without a change beyond the tolerance</summary>

            | value | before | now | unit | change | |
            |---|--:|--:|---|--:|---|
            | faults.teaser | 0.000 | 0.001 | per tap |  |  |
            | native.teaser | 40.000 | 41.000 | × the same function, native | +2.5 % |  |

            </details>
        "#]]
        .assert_eq(&markdown(&comparison, &measured));
    }
}
