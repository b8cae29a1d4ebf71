//! Taps of the benches' own host, and the host functions that its guests wait in.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tapline_content::Item;
use tapline_host_core::{Call, CallError, CallState, Capability, Collect, Interface, Signature, Tap};
use tokio::sync::{Notify, Semaphore};
use wasmtime::{StoreContextMut, component::Linker};

use crate::measure::nanoseconds;

/// A tap with a clock around its own time: arguments, guest, answer, and the checks of it. Not the queue, the instance and
/// the folding, which are the same for every way in which an item can cross.
pub struct Clocked<T>(PhantomData<fn() -> T>);

impl<T> Clocked<T> {
    /// The tap.
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Clocked<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Tap> Tap for Clocked<T> {
    const NAME: &'static str = T::NAME;
    const INTERFACES: &'static [Interface] = T::INTERFACES;
    type Policy = Collect;
    type Input = T::Input;
    /// The answer, and how long it took in nanoseconds.
    type Answer = (T::Answer, f64);

    fn check(interface: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        T::check(interface, signature)
    }

    async fn call(call: &mut Call, input: &T::Input) -> Result<Self::Answer, CallError> {
        let start = Instant::now();
        let answer = T::call(call, input).await?;
        Ok((answer, nanoseconds(start)))
    }
}

/// `item_presave` for a host without typed values: the whole item as JSON, both ways.
pub struct Json;

/// How long its stages took, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct JsonStages {
    /// The item to JSON.
    pub encode: f64,
    /// The text in, the guest, the text out.
    pub call: f64,
    /// The text to an item, and its rules.
    pub decode: f64,
}

/// The interface of [`Json`].
pub const JSON: &str = "tapline:bench/json@0.1.0";

impl Tap for Json {
    const NAME: &'static str = "item_presave_json";
    const INTERFACES: &'static [Interface] = &[Interface { name: JSON, function: "run", mode: "full" }];
    type Policy = Collect;
    type Input = Arc<Item>;
    type Answer = (Item, JsonStages);

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(&str,), (Result<String, String>,)>()
    }

    async fn call(call: &mut Call, item: &Arc<Item>) -> Result<Self::Answer, CallError> {
        let start = Instant::now();
        let text = serde_json::to_string(&**item).map_err(|error| call.bad_answer(error.to_string()))?;
        let encode = nanoseconds(start);

        let start = Instant::now();
        let (answer,) = call.invoke::<(&str,), (Result<String, String>,)>((&text,)).await?;
        let invoked = nanoseconds(start);

        let start = Instant::now();
        let answer = answer.map_err(|message| call.returned(&message))?;
        let parsed: Item = serde_json::from_str(&answer).map_err(|error| call.bad_answer(error.to_string()))?;
        // Whatever the guest may have written: an item keeps its rules however it comes.
        let item = Item::new(parsed.header().clone(), parsed.fields().iter().cloned())
            .map_err(|error| call.bad_answer(error.to_string()))?;
        Ok((item, JsonStages { encode, call: invoked, decode: nanoseconds(start) }))
    }
}

/// The interface of [`Waiting`] and [`Idle`].
pub const WAITING: &str = "tapline:bench/waiting@0.1.0";

/// A tap that is one function from a number to a number: `number_tap!(Type, "name", "interface", "function")`.
macro_rules! number_tap {
    ($(#[$doc:meta])* $vis:vis $tap:ident, $name:literal, $interface:expr, $function:literal) => {
        $(#[$doc])*
        $vis struct $tap;

        impl tapline_host_core::Tap for $tap {
            const NAME: &'static str = $name;
            const INTERFACES: &'static [tapline_host_core::Interface] =
                &[tapline_host_core::Interface { name: $interface, function: $function, mode: "full" }];
            type Policy = tapline_host_core::Collect;
            type Input = u32;
            type Answer = u32;

            fn check(_: usize, signature: &mut tapline_host_core::Signature<'_>) -> wasmtime::Result<()> {
                signature.is::<(u32,), (u32,)>()
            }

            async fn call(
                call: &mut tapline_host_core::Call,
                input: &u32,
            ) -> Result<u32, tapline_host_core::CallError> {
                Ok(call.invoke::<(u32,), (u32,)>((*input,)).await?.0)
            }
        }
    };
}
pub(crate) use number_tap;

number_tap!(
    /// Waits so many milliseconds inside the guest; with 0, until [`Clock`] lets it go. Returns its argument.
    pub Waiting,
    "waiting",
    WAITING,
    "run"
);

number_tap!(
    /// Returns its argument.
    pub Idle,
    "idle",
    WAITING,
    "idle"
);

/// [`Idle`] that says when its instance was there, and the guest could be entered.
pub struct Entered;

impl Tap for Entered {
    const NAME: &'static str = "entered";
    const INTERFACES: &'static [Interface] = Idle::INTERFACES;
    type Policy = Collect;
    type Input = u32;
    type Answer = Instant;

    fn check(interface: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        Idle::check(interface, signature)
    }

    async fn call(call: &mut Call, input: &u32) -> Result<Instant, CallError> {
        let entered = Instant::now();
        Idle::call(call, input).await?;
        Ok(entered)
    }
}

/// The host function that guests wait in. All clones are the same.
#[derive(Clone, Default)]
pub struct Clock(Arc<Gate>);

#[derive(Default)]
struct Gate {
    arrived: AtomicUsize,
    changed: Notify,
    free: Free,
}

struct Free(Semaphore);

impl Default for Free {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Clock {
    /// How many guests wait at the gate.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.0.arrived.load(Ordering::SeqCst)
    }

    /// Returns when `count` guests wait at the gate.
    pub async fn all_arrived(&self, count: usize) {
        loop {
            let changed = self.0.changed.notified();
            if self.arrived() >= count {
                return;
            }
            changed.await;
        }
    }

    /// Lets `count` guests go.
    pub fn let_go(&self, count: usize) {
        self.0.free.0.add_permits(count);
    }
}

impl Capability for Clock {
    fn grant_name(&self) -> Option<&'static str> {
        None
    }

    fn interfaces(&self) -> &'static [&'static str] {
        &["tapline:bench/clock@0.1.0"]
    }

    fn link(&self, linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
        let gate = Arc::clone(&self.0);
        linker.instance("tapline:bench/clock@0.1.0")?.func_wrap_async(
            "wait",
            move |_: StoreContextMut<'_, CallState>, (milliseconds,): (u32,)| {
                let gate = Arc::clone(&gate);
                Box::new(async move {
                    if milliseconds > 0 {
                        tokio::time::sleep(Duration::from_millis(u64::from(milliseconds))).await;
                        return Ok(());
                    }
                    gate.arrived.fetch_add(1, Ordering::SeqCst);
                    // One waits for this, and the permit stays for it if it does not wait yet.
                    gate.changed.notify_one();
                    let permit = gate.free.0.acquire().await?;
                    permit.forget();
                    gate.arrived.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                })
            },
        )
    }
}
