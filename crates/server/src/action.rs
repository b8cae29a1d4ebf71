//! What an operator does with a plugin while it serves: switches it off and on, and has it loaded again.

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use tapline_host_core::{LoadError, PluginName, PluginSpec, causes};
use tokio::task::spawn_blocking;

use crate::server::Server;

/// Outcomes that are remembered until somebody has looked: more than operators have hands.
const REMEMBERED: usize = 32;

type Find = dyn Fn(&PluginName) -> Result<Option<PluginSpec>, String> + Send + Sync;

/// Where a plugin comes from when an operator has it loaded again: usually the configuration, as it stands then.
#[derive(Clone)]
pub struct SpecSource(Arc<Find>);

impl SpecSource {
    /// `find` gives what a plugin should be. It may read files: no request waits for it but the one that asks. `None`: there
    /// is to be no such plugin, or it is to be off. The error is a text that is shown to the operator.
    pub fn new(find: impl Fn(&PluginName) -> Result<Option<PluginSpec>, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }
}

impl fmt::Debug for SpecSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpecSource(..)")
    }
}

/// What can be done with a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Enable,
    Disable,
    Reload,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Reload => "reload",
        }
    }
}

impl FromStr for Action {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Enable, Self::Disable, Self::Reload].into_iter().find(|action| action.as_str() == text).ok_or(())
    }
}

/// What became of an action, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    /// Nothing was changed.
    pub(crate) is_bad: bool,
}

/// The last outcomes, by number: a page that is asked for after a form was sent shows its own, and nothing that an address
/// says.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(Mutex<(u64, VecDeque<Outcome>)>);

impl Outcomes {
    pub(crate) fn note(&self, outcome: Outcome) -> u64 {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.1.len() == REMEMBERED {
            noted.1.pop_front();
        }
        noted.1.push_back(outcome);
        noted.0 += 1;
        noted.0
    }

    pub(crate) fn get(&self, number: u64) -> Option<Outcome> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from_last = usize::try_from(noted.0.checked_sub(number)?).ok()?;
        let index = noted.1.len().checked_sub(from_last.checked_add(1)?)?;
        noted.1.get(index).cloned()
    }
}

/// Does it, and logs it. `None`: no plugin of this name is loaded.
pub(crate) async fn act(server: &Server, plugin: &PluginName, action: Action) -> Option<Outcome> {
    let host = server.host();
    let before = host.plugins().into_iter().find(|loaded| loaded.name() == plugin)?;
    let done = match action {
        Action::Enable => to_words(host.enable(plugin).await, plugin, format!("{plugin} is called.")),
        Action::Disable => {
            to_words(host.disable(plugin).await, plugin, format!("{plugin} stays loaded and is not called any more."))
        }
        Action::Reload => match find(server, plugin).await {
            Ok(spec) => host.replace(spec).await.map_err(|error| words_of(&error)).map(|after| {
                let file = if after.key() == before.key() { "the same file as" } else { "another file than" };
                let called = if host.is_enabled(plugin) { "" } else { " It is still disabled." };
                format!("{plugin} was loaded again, from {file} before.{called}")
            }),
            Err(why) => Err(why),
        },
    };
    let action = action.as_str();
    Some(match done {
        Ok(text) => {
            tracing::info!(%plugin, action, "done for an operator");
            Outcome { text, is_bad: false }
        }
        Err(why) => {
            tracing::warn!(%plugin, action, why, "an operator asked for what cannot be done");
            let is_there = host.plugins().iter().any(|it| it.name() == plugin);
            let becomes = if is_there { "is as it was" } else { "was removed" };
            Outcome { text: format!("{plugin} {becomes}, because {action} failed. {why}"), is_bad: true }
        }
    })
}

fn to_words(done: Result<bool, LoadError>, plugin: &PluginName, text: String) -> Result<String, String> {
    match done {
        Ok(true) => Ok(text),
        Ok(false) => Err(format!("No plugin `{plugin}` is loaded any more.")),
        Err(error) => Err(words_of(&error)),
    }
}

/// What the plugin should be now.
async fn find(server: &Server, plugin: &PluginName) -> Result<PluginSpec, String> {
    let Some(SpecSource(source)) = server.config().specs.clone() else {
        return Err("This server does not know where its plugins come from.".to_owned());
    };
    let name = plugin.clone();
    match spawn_blocking(move || source(&name)).await {
        Ok(Ok(Some(spec))) => Ok(spec),
        Ok(Ok(None)) => Err("The configuration has no such plugin any more, or has it switched off.".to_owned()),
        Ok(Err(why)) => Err(why),
        Err(error) => Err(format!("The configuration could not be read: {error}.")),
    }
}

/// An error, its causes, and what to do.
pub(crate) fn words_of(error: &LoadError) -> String {
    let text = causes(error).join(": ");
    match error.hint() {
        Some(hint) => format!("{text}. To mend it: {hint}."),
        None => format!("{text}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_outcomes_are_remembered() {
        let outcomes = Outcomes::default();
        assert_eq!(outcomes.get(0), None);
        let outcome = |number: u64| Outcome { text: number.to_string(), is_bad: false };
        for number in 1..=100 {
            assert_eq!(outcomes.note(outcome(number)), number);
            assert_eq!(outcomes.get(number), Some(outcome(number)));
        }
        let oldest = 101 - REMEMBERED as u64;
        assert_eq!(outcomes.get(oldest), Some(outcome(oldest)));
        for none in [0, oldest - 1, 101, u64::MAX] {
            assert_eq!(outcomes.get(none), None, "{none}");
        }
    }
}
