//! Configuration files, and the variables over them.

use tapline_host_core::{HostConfig, PluginSpec};

/// How a comment begins that sets a variable: `#$TAPLINE_WASM_TIMEOUT_SECS=30`.
const VARIABLE: &str = "#$";

/// Reads `bytes` as `tapline.toml`.
///
/// # Errors
///
/// The text of the error that an operator sees.
pub fn config(bytes: &[u8]) -> Result<(HostConfig, Vec<PluginSpec>), String> {
    let text = String::from_utf8_lossy(bytes);
    let variable = |name: &str| {
        let mut variables = text.lines().filter_map(|line| line.strip_prefix(VARIABLE)?.split_once('='));
        variables.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    };
    match tapline_cli::parse_config(&text, variable) {
        Ok((host, plugins)) => {
            for plugin in &plugins {
                let limits = plugin.limits.apply_to(host.limits);
                let effective = limits.expect("limits that cannot be applied are refused").smallest(host.limits);
                assert_eq!(effective.smallest(host.limits), effective, "no plugin has more than its host");
            }
            Ok((host, plugins))
        }
        Err(error) => {
            let message = error.to_string();
            if let Some(line) = line_of(&message) {
                let lines = text.split('\n').count();
                assert!((1..=lines).contains(&line), "there are {lines} lines: {message}");
            }
            Err(message)
        }
    }
}

fn line_of(message: &str) -> Option<usize> {
    message.strip_prefix("tapline.toml:")?.split(':').next()?.parse().ok()
}
