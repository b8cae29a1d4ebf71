//! Where guests spend their time.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wasmtime::{AsContext, WasmBacktrace};

use crate::{call::function_name, state::CallState};

/// Text of the stacks that a profile holds, in bytes. Samples of further stacks are counted, and not told apart.
pub const MAX_PROFILE_BYTES: usize = 16 << 20;

/// The stack that stands for those that a profile has no room for.
const LEFT_OUT: &str = "(no room for the stack)";

/// Samples of what guests do: at each tick of the [clock](crate::EPOCH_TICK), one of every guest that is running. Cheap to clone; all
/// clones are the same profile. Give one to [`HostBuilder::profile`](crate::HostBuilder::profile).
///
/// It counts ticks in which a guest's own code ran, host functions excepted, but for this: a guest that comes back from a host
/// function gets a sample if there was a tick meanwhile, however long it was away. A stack has its 20 innermost frames. Memory is bounded by
/// [`MAX_PROFILE_BYTES`], whatever names a guest's file has.
#[derive(Clone, Debug, Default)]
pub struct Profile(Arc<Mutex<Samples>>);

#[derive(Debug, Default)]
struct Samples {
    stacks: BTreeMap<String, u64>,
    bytes: usize,
    left_out: u64,
}

impl Profile {
    /// Adds what the guest of this store is doing.
    pub(crate) fn sample(&self, store: impl AsContext<Data = CallState>) {
        let store = store.as_context();
        let mut stack = format!("{};{}", store.data().plugin(), store.data().tap());
        for frame in WasmBacktrace::capture(&store).frames().iter().rev() {
            // Writing into a string does not fail.
            let _ = match frame.func_name() {
                // A semicolon separates frames.
                Some(name) => write!(stack, ";{}", function_name(name).replace(';', ":")),
                None => write!(stack, ";function {}", frame.func_index()),
            };
        }
        self.samples().add(stack);
    }

    /// The samples as folded stacks, which tools for flame graphs read: one line for each stack, `plugin;tap;outermost;…;innermost`, and
    /// how many samples it has.
    #[must_use]
    pub fn folded(&self) -> String {
        let samples = self.samples();
        let mut text = String::with_capacity(samples.bytes);
        let left_out = (samples.left_out > 0).then_some((LEFT_OUT, samples.left_out));
        let stacks = samples.stacks.iter().map(|(stack, count)| (stack.as_str(), *count));
        for (stack, count) in stacks.chain(left_out) {
            let _ = writeln!(text, "{stack} {count}");
        }
        text
    }

    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Samples {
    fn add(&mut self, stack: String) {
        if let Some(count) = self.stacks.get_mut(&stack) {
            *count += 1;
        } else if self.bytes + stack.len() <= MAX_PROFILE_BYTES {
            self.bytes += stack.len();
            self.stacks.insert(stack, 1);
        } else {
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_counted_and_those_without_room_together() {
        let profile = Profile::default();
        assert_eq!(profile.folded(), "");
        let large = "x".repeat(MAX_PROFILE_BYTES - 4);
        for stack in ["b;t", "a;t", "b;t", &large, "c;t", "d;t", "a;t"] {
            profile.clone().samples().add(stack.to_owned());
        }
        // Six bytes are taken, so that the large one has no room, and the small ones that come after it have.
        assert_eq!(profile.folded(), format!("a;t 2\nb;t 2\nc;t 1\nd;t 1\n{LEFT_OUT} 1\n"));
    }
}
