//! A function is called with the types that it has, whatever it was called with before.

use tapline_host_core::{Call, CallError, Collect, Fault, Host, Interface, Signature, Tap};

use crate::guests::{NUMBER, config, number, spec};

/// Calls the function with types that the input chooses, right ones and others.
struct Fickle;

impl Tap for Fickle {
    const NAME: &'static str = "fickle";
    const INTERFACES: &'static [Interface] = &[Interface { name: NUMBER, function: "run", mode: "full" }];
    type Policy = Collect;
    type Input = Types;
    type Answer = u64;

    fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
        signature.is::<(u32,), (u32,)>()
    }

    async fn call(call: &mut Call, types: &Types) -> Result<u64, CallError> {
        Ok(match types {
            Types::Right(number) => call.invoke::<(u32,), (u32,)>((*number,)).await?.0.into(),
            // Others than those above, and as right: what borrows is told apart by what it borrows, not for how long.
            Types::Borrowed(number) => call.invoke::<(&u32,), (u32,)>((number,)).await?.0.into(),
            Types::Answer => call.invoke::<(u32,), (u64,)>((1,)).await?.0,
            Types::Parameter => call.invoke::<(&str,), (u32,)>(("1",)).await?.0.into(),
            Types::Count => call.invoke::<(u32, u32), (u32,)>((1, 1)).await?.0.into(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Types {
    Right(u32),
    Borrowed(u32),
    Answer,
    Parameter,
    Count,
}

#[tokio::test]
async fn other_types_than_those_of_the_call_before_are_compared_again() {
    let host = Host::builder().config(config()).tap::<Fickle>().build().unwrap();
    host.load(spec("plugin", number("(local.get $x)"))).await.unwrap();
    // Whatever comes first, and once more when the right types are known.
    for round in 0..2 {
        for types in [Types::Answer, Types::Parameter, Types::Count, Types::Right(7), Types::Borrowed(8)] {
            let outcome = host.dispatch(Fickle, &types).await.unwrap();
            match types {
                Types::Right(number) | Types::Borrowed(number) => {
                    assert_eq!(outcome.answers[0].1, u64::from(number), "round {round}, {types:?}");
                }
                _ => {
                    let fault = &outcome.failures[0].fault;
                    assert!(matches!(fault, Fault::BadAnswer { .. }), "round {round}, {types:?}: {fault:?}");
                }
            }
        }
    }
}
