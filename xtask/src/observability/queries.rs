//! The queries of the dashboards.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::workspace::{list, text};

/// A query, and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) place: String,
    pub(super) expression: String,
}

impl fmt::Display for Query {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "  {}: {}", self.place, self.expression)
    }
}

/// All queries of all dashboards in a directory.
pub(super) fn of_dashboards(directory: &Path) -> Result<Vec<Query>> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let mut queries = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dashboard = fs::read_to_string(&file)?;
        let dashboard: Value = serde_json::from_str(&dashboard).with_context(|| format!("{name} is no JSON"))?;
        queries.extend(of_dashboard(&name, &dashboard)?);
    }
    Ok(queries)
}

fn of_dashboard(name: &str, dashboard: &Value) -> Result<Vec<Query>> {
    let mut queries = Vec::new();
    for panel in list(&dashboard["panels"]) {
        let place = format!("{name}, {}", text(&panel["title"]));
        let targets = list(&panel["targets"]);
        ensure!(!targets.is_empty(), "{place} shows nothing");
        for target in targets {
            queries.push(Query { place: place.clone(), expression: text(&target["expr"]) });
        }
    }
    ensure!(!queries.is_empty(), "{name} has no panels");
    Ok(queries)
}

/// The queries of the table of metrics, which stand in its last column.
pub(super) fn of_table(file: &Path) -> Result<Vec<Query>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let query = |row: &str| {
        let expression = row.strip_suffix("` |")?.rsplit_once('`')?.1.to_owned();
        Some(Query { place: format!("the table, {}", row.split('`').next()?), expression })
    };
    let queries: Vec<Query> = text.lines().filter_map(|line| query(line.strip_prefix("| `")?)).collect();
    ensure!(!queries.is_empty(), "{} has no queries", file.display());
    Ok(queries)
}

/// The queries of a document: what stands in a block of its own that is marked `promql`.
pub(super) fn of_document(name: &str, text: &str) -> Vec<Query> {
    let blocks = text.split("```promql\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(query, _)| Query { place: name.to_owned(), expression: query.trim().to_owned() }).collect()
}

/// What a rule needs data of: a recorded rule of its own expression, an alert of the name that it compares with a number.
pub(super) fn of_rule(rule: &Value) -> Result<Query> {
    let (name, expression) = (text(&rule["name"]), text(&rule["query"]));
    let place = format!("rule {name}");
    if text(&rule["type"]) != "alerting" {
        return Ok(Query { place, expression });
    }
    let words: Vec<&str> = expression.split(' ').collect();
    let compares = |word: &str| ["<", "<=", ">", ">=", "==", "!="].contains(&word);
    match words.as_slice() {
        [recorded, comparison, number]
            if recorded.contains(':') && compares(comparison) && number.parse::<f64>().is_ok() =>
        {
            Ok(Query { place, expression: (*recorded).to_owned() })
        }
        _ => anyhow::bail!("{place}: `{expression}` does not compare a recorded name with a number"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_target_is_a_query() {
        let dashboard = json!({"panels": [
            {"title": "A", "targets": [{"expr": "a"}, {"expr": "b"}]}, {"title": "B", "targets": [{"expr": "c"}]}]});
        let queries = of_dashboard("x.json", &dashboard).unwrap();
        let shown: Vec<String> = queries.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["  x.json, A: a", "  x.json, A: b", "  x.json, B: c"]);
        assert!(of_dashboard("x.json", &json!({"panels": []})).is_err());
        assert!(of_dashboard("x.json", &json!({"panels": [{"title": "A", "targets": []}]})).is_err());
    }

    #[test]
    fn each_row_of_the_table_has_a_query() {
        let file = std::env::temp_dir().join(format!("metrics-{}.md", std::process::id()));
        let row = "| `a_total` | counter | count | `x`, `y` | Things. | `sum by (x, y) (rate(a_total[5m]))` |";
        fs::write(&file, format!("| name | query |\n|---|---|\n{row}\n\ntext `b`\n")).unwrap();
        let queries = of_table(&file);
        fs::remove_file(&file).unwrap();
        let shown: Vec<String> = queries.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["  the table, a_total: sum by (x, y) (rate(a_total[5m]))"]);
    }

    #[test]
    fn each_marked_block_of_a_document_is_a_query() {
        let queries = of_document("x.md", "a\n```promql\nrate(a[5m])\n```\n```text\nb\n```\n```promql\nc\n```\n");
        assert_eq!(queries.iter().map(|query| query.expression.as_str()).collect::<Vec<_>>(), ["rate(a[5m])", "c"]);
        assert!(of_document("x.md", "").is_empty());
    }

    #[test]
    fn an_alert_compares_a_recorded_name() {
        let alert = |query: &str| of_rule(&json!({"name": "A", "type": "alerting", "query": query}));
        assert_eq!(alert("tapline:x:ratio5m > 0.05").unwrap().expression, "tapline:x:ratio5m");
        assert!(alert("rate(x[5m]) > 0.05").is_err());
        assert!(alert("tapline:x > tapline:y").is_err());
        let recorded = of_rule(&json!({"name": "a:b", "type": "recording", "query": "sum(x)"})).unwrap();
        assert_eq!(recorded.expression, "sum(x)");
    }
}
