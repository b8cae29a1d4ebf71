//! Taps of this package: one for each kind of answer that a guest can get wrong.

use std::{fmt::Debug, future::Future, pin::Pin, sync::Arc};

use tapline_host_core::{Call, CallError, Collect, Host, Interface, PluginName, Signature, Tap};
use wasmtime::component::Resource;

use crate::world::Thing;

/// What every tap of this package is called with.
pub const INPUT: u32 = 41;

/// A tap whose handlers [`Guest`](crate::Guest) can write.
pub trait HostileTap: Tap<Policy = Collect, Input = u32, Answer: Debug> + Default {
    /// Its parameters in the text format of components.
    const PARAMETERS: &'static str = r#"(param "x" u32)"#;
    /// Its result in the text format of components.
    const RESULT: &'static str;
    /// Its function in the core module.
    const CORE: &'static str = "(param $x i32) (result i32)";
}

macro_rules! taps {
    ($($(#[$doc:meta])* $tap:ident: $name:literal, $wit:literal, $answer:ty;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $tap;

        impl Tap for $tap {
            const NAME: &'static str = $name;
            const INTERFACES: &'static [Interface] =
                &[Interface { name: concat!("hostile:test/", $name, "@1.0.0"), function: "run", mode: "full" }];
            type Policy = Collect;
            type Input = u32;
            type Answer = $answer;

            fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
                signature.is::<(u32,), ($answer,)>()
            }

            async fn call(call: &mut Call, input: &u32) -> Result<$answer, CallError> {
                Ok(call.invoke::<(u32,), ($answer,)>((*input,)).await?.0)
            }
        }

        impl HostileTap for $tap {
            const RESULT: &'static str = $wit;
        }
    )* };
}

taps! {
    /// From number to number: what most attacks answer, if they answer.
    Number: "number", "u32", u32;
    /// The same again, for the well-behaved plugin alone.
    Neighbour: "neighbour", "u32", u32;
    /// Answers with a string.
    Text: "text", "string", String;
    /// Answers with a list of strings.
    List: "list", "(list string)", Vec<String>;
    /// Answers with one of several things, each of which has a tag.
    Choices: "choices", "(list (result (option u8) (error bool)))", Vec<Result<Option<u8>, bool>>;
    /// Answers with one character.
    Letter: "letter", "char", char;
    /// Answers with a handle.
    Things: "things", "(own $thing)", Resource<Thing>;
}

/// Gets a list, for which the guest has to make room.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listen;

impl Tap for Listen {
    const NAME: &'static str = "listen";
    const INTERFACES: &'static [Interface] =
        &[Interface { name: "hostile:test/listen@1.0.0", function: "run", mode: "full" }];
    type Policy = Collect;
    type Input = u32;
    type Answer = u32;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(&[u64],), (u32,)>()
    }

    async fn call(call: &mut Call, input: &u32) -> Result<u32, CallError> {
        let list = vec![u64::from(*input); 100];
        Ok(call.invoke::<(&[u64],), (u32,)>((&list,)).await?.0)
    }
}

impl HostileTap for Listen {
    const PARAMETERS: &'static str = r#"(param "list" (list u64))"#;
    const RESULT: &'static str = "u32";
    const CORE: &'static str = "(param $at i32) (param $length i32) (result i32)";
}

/// What became of one dispatch.
#[derive(Debug)]
pub struct Struck {
    /// Who answered, and what, as `Debug` writes it.
    pub answers: Vec<(PluginName, String)>,
    /// Who did not.
    pub failures: Vec<CallError>,
}

/// Dispatches one tap.
pub type Strike = Arc<dyn Fn(&Host) -> Pin<Box<dyn Future<Output = Struck> + Send>> + Send + Sync>;

/// Dispatches `T` with [`INPUT`].
#[must_use]
pub fn strike<T: HostileTap>() -> Strike {
    Arc::new(|host| {
        let dispatch = host.dispatch(T::default(), &INPUT);
        Box::pin(async move {
            let outcome = dispatch.await.unwrap();
            let answers = outcome.answers.into_iter().map(|(plugin, answer)| (plugin, format!("{answer:?}"))).collect();
            Struck { answers, failures: outcome.failures }
        })
    })
}
