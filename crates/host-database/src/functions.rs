//! The SQL functions that a plugin may call.
//!
//! A list of what is allowed, because some of SQLite's functions reach outside: `load_extension` runs a library,
//! `fts3_tokenizer` takes the address of machine code as a parameter, `sqlite_log` writes to the program's log; and
//! because some work for hours on arguments of a few megabytes. A
//! function that a newer SQLite brings is refused until somebody has read what it does.

/// Sorted, lower case.
const ALLOWED: &[&str] = &[
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "bm25",
    "ceil",
    "ceiling",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "degrees",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "format",
    "glob",
    "group_concat",
    "hex",
    "highlight",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_error_position",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_pretty",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "jsonb",
    "jsonb_array",
    "jsonb_extract",
    "jsonb_group_array",
    "jsonb_group_object",
    "jsonb_insert",
    "jsonb_object",
    "jsonb_remove",
    "jsonb_replace",
    "jsonb_set",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "match",
    "max",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "pi",
    "pow",
    "power",
    "printf",
    "quote",
    "radians",
    "random",
    "randomblob",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "snippet",
    "soundex",
    "sqlite_version",
    "sqrt",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "tan",
    "tanh",
    "time",
    "timediff",
    "total",
    "trim",
    "trunc",
    "typeof",
    "unicode",
    "unistr",
    "unixepoch",
    "unlikely",
    "upper",
    "zeroblob",
];

/// Whether a statement may call the function. SQLite's names are in lower case; a name that is not is refused.
pub(crate) fn is_allowed(name: &str) -> bool {
    ALLOWED.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_list_can_be_searched() {
        assert!(ALLOWED.is_sorted());
    }

    /// What the SQLite of this build has beyond the list, and what others have. A name that is missing here is a function to
    /// read about.
    #[tokio::test]
    async fn what_is_refused_is_known() {
        let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect("sqlite::memory:").await.unwrap();
        let names: Vec<String> =
            sqlx::query_scalar("SELECT name FROM pragma_function_list").fetch_all(&mut connection).await.unwrap();
        let refused: BTreeSet<&str> = names.iter().map(String::as_str).filter(|name| !is_allowed(name)).collect();
        let known = BTreeSet::from([
            // What the connection has written, which is nothing.
            "changes",
            "last_insert_rowid",
            "total_changes",
            // Code and addresses of code.
            "fts3_tokenizer",
            "load_extension",
            // The inside of the search modules; some write, some read what they get as their own binary format.
            "fts5",
            "fts5_get_locale",
            "fts5_insttoken",
            "fts5_locale",
            "fts5_source_id",
            "matchinfo",
            "offsets",
            "optimize",
            "rtreecheck",
            "rtreedepth",
            "rtreenode",
            // Sorts so that some orders of a hundred thousand numbers take a step deeper for every second one, and end the
            // process with its stack.
            "median",
            "percentile",
            "percentile_cont",
            "percentile_disc",
            // Compare each part of one argument with each of another: hours for 4 MiB, in which nothing stops them.
            "json_patch",
            "jsonb_patch",
            "unhex",
            // The program: how it was built, and its log.
            "sqlite_compileoption_get",
            "sqlite_compileoption_used",
            "sqlite_log",
            "sqlite_source_id",
            // Helpers of SQLite's own tools.
            "subtype",
            "unistr_quote",
        ]);
        let unknown: Vec<_> = refused.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
