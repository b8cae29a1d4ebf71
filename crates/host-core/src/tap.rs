//! What a tap is to the host: a name, the interfaces through which plugins implement it, and how answers fold.

use std::{any::TypeId, future::Future};

use tapline_tap_dispatch::{Contract, OnFailure, Policy, TapName};
use wasmtime::{
    AsContextMut, Store,
    component::{ComponentNamedList, Func, Lift, Lower},
};

use crate::{
    call::Call,
    dispatch::Fold,
    error::{CallError, HostError},
    state::CallState,
};

/// One way in which a plugin may implement a tap: a WIT interface with one function.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// The full WIT name, for example `acme:shop/discount@1.0.0`.
    pub name: &'static str,
    /// The function in it, for example `discount`.
    pub function: &'static str,
    /// What tap records call this way: `full` or `lazy`.
    pub mode: &'static str,
}

/// An extension point. A host integrator implements it for a marker type; nothing in this project is privileged.
///
/// ```
/// use tapline_host_core::{Call, CallError, Collect, Interface, Signature, Tap};
///
/// /// Every plugin may say hello in its own way.
/// struct Greet;
///
/// impl Tap for Greet {
///     const NAME: &'static str = "greet";
///     const INTERFACES: &'static [Interface] =
///         &[Interface { name: "acme:hello/greet@1.0.0", function: "greet", mode: "full" }];
///     type Policy = Collect;
///     type Input = str;
///     type Answer = String;
///
///     fn check(_: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()> {
///         signature.is::<(&str,), (String,)>()
///     }
///
///     async fn call(call: &mut Call, name: &str) -> Result<String, CallError> {
///         let (greeting,) = call.invoke::<(&str,), (String,)>((name,)).await?;
///         Ok(greeting)
///     }
/// }
/// ```
pub trait Tap: Sized + Send + Sync + 'static {
    /// The name, for example `item_view`: what authors, operators and metrics call the tap.
    const NAME: &'static str;
    /// The ways in which a plugin may implement it. A plugin that exports two of them is refused.
    const INTERFACES: &'static [Interface];
    /// What a handler that fails does to the dispatch. `None`: the default of the policy, which is to skip it, and
    /// for votes to count it as a deny.
    const ON_FAILURE: Option<OnFailure> = None;
    /// How the answers fold into one: [`Collect`](crate::Collect), [`Alter`](crate::Alter),
    /// [`Notify`](crate::Notify), [`Vote`](crate::Vote) or [`First`](crate::First).
    type Policy: Fold<Self>;
    /// What a handler gets. Lowered straight from the host's own data.
    type Input: ?Sized + Send + Sync;
    /// What a handler answers, checked.
    type Answer: Send;

    /// What stands in for the answer of a handler that failed, where [`Tap::ON_FAILURE`] is
    /// [`OnFailure::Default`]. `None` skips the handler. It is also what a handler answers that is not called because its
    /// circuit breaker is open.
    #[must_use]
    fn default_answer(input: &Self::Input) -> Option<Self::Answer> {
        let _ = input;
        None
    }

    /// Compares the signature of a plugin's function with the one that [`Tap::call`] will use. Runs once, when a
    /// plugin is loaded; `interface` is an index into [`Tap::INTERFACES`].
    ///
    /// # Errors
    ///
    /// The signatures differ.
    fn check(interface: usize, signature: &mut Signature<'_>) -> wasmtime::Result<()>;

    /// Calls one handler and checks its answer. Runs for each call, under its deadline and limits. Nothing that the
    /// guest returned may be trusted: what breaks the contract is [`Call::bad_answer`].
    ///
    /// # Errors
    ///
    /// What [`Call::invoke`] returned, or what is wrong with the answer.
    fn call<'a>(
        call: &'a mut Call,
        input: &'a Self::Input,
    ) -> impl Future<Output = Result<Self::Answer, CallError>> + Send + 'a;
}

/// The function of a plugin whose signature is to be checked.
pub struct Signature<'a> {
    pub(crate) store: &'a mut Store<CallState>,
    pub(crate) func: Func,
}

impl Signature<'_> {
    /// Whether the function takes `P` and returns `R`.
    ///
    /// # Errors
    ///
    /// It does not; the error says where they differ.
    pub fn is<P, R>(&mut self) -> wasmtime::Result<()>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.func.typed::<P, R>(self.store.as_context_mut()).map(drop)
    }
}

/// A tap without its types, as the host keeps it.
#[derive(Clone, Copy)]
pub(crate) struct TapKind {
    /// The type that implements [`Tap`]: what a dispatch names.
    pub(crate) of: TypeId,
    pub(crate) name: &'static str,
    pub(crate) interfaces: &'static [Interface],
    policy: Policy,
    on_failure: OnFailure,
    pub(crate) check: fn(usize, &mut Signature<'_>) -> wasmtime::Result<()>,
}

impl TapKind {
    pub(crate) fn of<T: Tap>() -> Self {
        Self {
            of: TypeId::of::<T>(),
            name: T::NAME,
            interfaces: T::INTERFACES,
            policy: <T::Policy as Fold<T>>::POLICY,
            on_failure: on_failure::<T>(),
            check: T::check,
        }
    }

    /// The checked name, and what the host promises about the tap.
    pub(crate) fn contract(&self) -> Result<Contract, HostError> {
        Ok(Contract::new(TapName::new(self.name)?, self.policy, self.on_failure)?)
    }
}

/// What a failing handler of `T` does.
pub(crate) fn on_failure<T: Tap>() -> OnFailure {
    match T::ON_FAILURE {
        Some(on_failure) => on_failure,
        None if <T::Policy as Fold<T>>::POLICY == Policy::Vote => OnFailure::Deny,
        None => OnFailure::Skip,
    }
}
