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
    fn an_alert_compares_a_recorded_name() {
        let alert = |query: &str| of_rule(&json!({"name": "A", "type": "alerting", "query": query}));
        assert_eq!(alert("tapline:x:ratio5m > 0.05").unwrap().expression, "tapline:x:ratio5m");
        assert!(alert("rate(x[5m]) > 0.05").is_err());
        assert!(alert("tapline:x > tapline:y").is_err());
        let recorded = of_rule(&json!({"name": "a:b", "type": "recording", "query": "sum(x)"})).unwrap();
        assert_eq!(recorded.expression, "sum(x)");
    }
}
