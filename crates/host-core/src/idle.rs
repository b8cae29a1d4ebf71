//! Plugins whose code is brought later, and plugins that nobody calls.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tapline_tap_dispatch::PluginName;
use tokio::time::{MissedTickBehavior, interval};

use crate::{bringing, call::Handler, error::LoadError, host::Host};

/// How often [`Host::rest_when_idle`] looks within the time after which a plugin rests. It is late by at most one look.
const LOOKS: u32 = 4;

impl Host {
    /// Brings the code of all plugins that [`Host::load_lazily`] took in, from the cache or the compiler, and tries each.
    /// `told` hears of every one when it is done.
    ///
    /// Meanwhile plugins are called as ever: the first call of one that has no code yet waits for this one plugin. Of the
    /// [places for compilations](crate::Compilation::max_concurrent) one is left to such calls, if there are two.
    pub async fn bring_all(&self, told: impl Fn(&PluginName, Result<(), Arc<LoadError>>)) {
        let places = self.config().compilation.max_concurrent;
        let registry = self.registry();
        // Any handler of a plugin will do.
        let handlers = registry.plugins.values().filter_map(|loaded| loaded.handlers().next().cloned());
        let without: Vec<Arc<Handler>> = handlers.filter(|handler| !handler.plugin.has_code()).collect();
        let told = &told;
        let bring = |handler: Arc<Handler>| async move {
            let brought = bringing::bring(&handler).await;
            told(handler.plugin.name(), brought.map(drop));
        };
        stream::iter(without).for_each_concurrent(places.saturating_sub(1).max(1), bring).await;
    }

    /// Lets plugins rest that nobody has called for `after`, for as long as it is polled, which is best done in a task of
    /// its own. Such a plugin gives up the instances that wait for their next use, and its code, if that lies in the
    /// directory for compiled plugins; the next call maps the code again, and waits for that.
    pub async fn rest_when_idle(&self, after: Duration) -> Infallible {
        let mut ticks = interval((after / LOOKS).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // The time before the first look is not known: it is not counted.
            self.rest(LOOKS + 1);
        }
    }

    /// Looks at all plugins once. One that was not called since `looks` looks rests.
    fn rest(&self, looks: u32) {
        for plugin in self.plugins() {
            // A call that takes long is a call all the same.
            if !plugin.code.look(looks) || plugin.lane.is_busy() {
                continue;
            }
            // First, so that its stock is not made anew.
            plugin.code.rest();
            self.slots_of_host().give_up(&plugin);
            if plugin.code.give_up() {
                tracing::info!(plugin = %plugin.name(), "nobody calls the plugin: its code is given up until somebody does");
            }
        }
    }
}
