//! Files that claim to be plugins.

use std::sync::{LazyLock, Mutex};

use tapline_content::{Cron, CronRun, ItemView};
use tapline_host_core::{LoadError, Manifest, PluginSpec, TAPS_SECTION, TapRecord};
use wasm_encoder::{Component, CustomSection};

use crate::{
    guest::component,
    host::{Fixture, assert_guests_fault, assert_readable, limits, lock, name},
};

static HOST: LazyLock<Mutex<Fixture>> = LazyLock::new(Fixture::new);

/// Loads a plugin from `bytes` and, when the host takes it, calls what it implements of `item_view` and `cron`.
///
/// Returns what the handlers came to, one for each: the markup for the page (nothing for `cron`), or `None` for a fault.
///
/// # Errors
///
/// The host refuses the plugin, as it should most inputs.
pub fn load(bytes: &[u8]) -> Result<Vec<Option<String>>, LoadError> {
    let fixture = lock(&HOST);
    let host = &fixture.host;
    let outcome: Result<_, LoadError> = fixture.block_on(async {
        let plugin = host.load(PluginSpec::bytes(name(), bytes)).await?;
        assert_eq!(*plugin.limits(), limits(), "a plugin that asks for nothing has the host's limits");
        let view = host.dispatch(ItemView, &fixture.item).await.expect("a failing handler is skipped");
        let mut answers: Vec<_> = view.answers.iter().map(|(_, contribution)| Some(contribution.body())).collect();
        answers.iter().flatten().for_each(|body| crate::assert_clean(body));
        let cron =
            host.dispatch(Cron, &CronRun { now: 1, previous: None }).await.expect("a failing handler is skipped");
        view.failures.iter().chain(&cron).for_each(assert_guests_fault);
        assert!(host.unload(&name()).await.expect("nothing depends on the plugin"));
        let exports = |tap: &str| plugin.manifest().exports.iter().any(|export| export.contains(tap));
        answers.resize(answers.len() + view.failures.len(), None);
        if exports("/cron@") {
            answers.push(cron.is_empty().then(String::new));
        }
        Ok(answers)
    });
    fixture.assert_settled();
    assert!(host.plugins().is_empty(), "a plugin that was refused or unloaded is gone");
    if let Err(error) = &outcome {
        assert_readable(error);
        drop(error.hint());
    }
    outcome
}

/// Loads a core module as a plugin that implements `cron`, and runs it. `None`: it makes no component.
///
/// # Errors
///
/// The host refuses the plugin: it needs more than its limits, or fails when it starts.
pub fn run(module: &[u8]) -> Option<Result<Vec<Option<String>>, LoadError>> {
    let component = component(module, "cron").ok()?;
    Some(load(&component))
}

/// Reads `section` as the section `tapline:taps` of a component.
///
/// # Errors
///
/// The section is refused, with the line.
pub fn metadata(section: &[u8]) -> Result<Vec<TapRecord>, LoadError> {
    let records = read(section).inspect_err(|error| {
        assert_readable(error);
        if let LoadError::Metadata { line, .. } = error {
            let lines = section.split(|byte| *byte == b'\n').count();
            assert!((1..=lines).contains(line), "line {line} of {lines}");
        }
    })?;
    let written: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
    let again = read(written.join("\n").as_bytes()).expect("what was read can be read again");
    assert_eq!(again.iter().map(|record| serde_json::to_string(record).unwrap()).collect::<Vec<_>>(), written);
    for text in records.iter().flat_map(texts) {
        assert!(text.len() <= 200 && !text.contains(|one: char| one.is_control() && one != '\t'), "{text:?}");
    }
    for pair in records.windows(2) {
        assert!((&pair[0].tap, &pair[0].mode) <= (&pair[1].tap, &pair[1].mode), "sorted by tap");
    }
    Ok(records)
}

fn texts(record: &TapRecord) -> impl Iterator<Item = &String> {
    let placement = &record.placement;
    let lists = [Some(&placement.before), Some(&placement.after), record.fields.as_ref()];
    let own = [&record.tap, &record.mode, &record.plugin, &record.version, &record.sdk, &record.function];
    lists.into_iter().flatten().flatten().chain(own)
}

fn read(section: &[u8]) -> Result<Vec<TapRecord>, LoadError> {
    let mut component = Component::new();
    component.section(&CustomSection { name: TAPS_SECTION.into(), data: section.into() });
    Manifest::read(&name(), &component.finish()).map(|manifest| manifest.taps)
}
