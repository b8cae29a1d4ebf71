//! `tapline config`

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Result;
use serde_json::{Value, json};

use crate::{
    arguments::Global,
    config::{Config, PluginReport, Setting, text},
    report::PluginsRefused,
    table,
};

pub(crate) fn run(global: &Global, as_json: bool) -> Result<ExitCode> {
    let config = Config::read(global, std::env::vars_os())?;
    let mut plugins = Vec::new();
    let mut errors = Vec::new();
    for plugin in &config.reports {
        if !plugin.enabled {
            plugins.push((plugin, plugin.settings_of_file().to_vec()));
            continue;
        }
        match plugin.settings(&config) {
            Ok(settings) => plugins.push((plugin, settings)),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(PluginsRefused::new(&config, errors).into());
    }
    let text = if as_json { format!("{:#}\n", document(&config, &plugins)) } else { page(&config, &plugins) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn page(config: &Config, plugins: &[(&PluginReport, Vec<Setting>)]) -> String {
    let mut text = match &config.file {
        Some(file) => format!("{}\n\n", file.display()),
        None => "no file\n\n".to_owned(),
    };
    text.push_str(&rows(&config.settings));
    for (_, settings) in plugins {
        text.push('\n');
        text.push_str(&rows(settings));
    }
    text
}

fn rows(settings: &[Setting]) -> String {
    let rows: Vec<[String; 3]> = settings
        .iter()
        .map(|setting| {
            let from = match &setting.lowered_from {
                Some(wished) => {
                    format!("{}; lowered from {} ({})", setting.origin, text(&wished.value), wished.origin)
                }
                None => setting.origin.to_string(),
            };
            [setting.key.clone(), text(&setting.value), from]
        })
        .collect();
    table::render(["setting", "value", "from"], &rows)
}

fn document(config: &Config, plugins: &[(&PluginReport, Vec<Setting>)]) -> Value {
    let plugins = plugins.iter().map(|(plugin, settings)| (plugin.spec.name.to_string(), json!(settings)));
    json!({
        "file": config.file,
        "settings": config.settings,
        "plugins": plugins.collect::<serde_json::Map<_, _>>(),
    })
}
