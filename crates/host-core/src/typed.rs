//! One unsafe step: calling a function without comparing its signature again.

#![expect(unsafe_code, reason = "the engine has no other way to skip the comparison; the argument is beside the call")]

use std::{any::TypeId, sync::OnceLock};

use wasmtime::{
    AsContextMut,
    component::{ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc},
};

/// A function of a plugin's code, with the types that it was found to have.
///
/// The engine compares every name and type of a signature each time that a function is looked up in an instance, which
/// decision 18 has measured. All instances of one code have the same types, so that once is enough.
pub(crate) struct CodeFunction {
    pub(crate) index: ComponentExportIndex,
    /// Parameters and results that a call has used and the engine has accepted. Others are compared each time.
    accepted: OnceLock<(TypeId, TypeId)>,
}

impl CodeFunction {
    pub(crate) fn new(index: ComponentExportIndex) -> Self {
        Self { index, accepted: OnceLock::new() }
    }

    /// The function in `instance`, which was made from the code that this is of.
    ///
    /// # Errors
    ///
    /// The function does not take `P` or does not return `R`.
    pub(crate) fn typed<P, R>(&self, instance: Instance, store: impl AsContextMut) -> wasmtime::Result<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        // Types that differ in lifetimes only have one implementation, and so one comparison.
        let types = (typeid::of::<P>(), typeid::of::<R>());
        if self.accepted.get() != Some(&types) {
            let typed = instance.get_typed_func::<P, R>(store, self.index)?;
            // Somebody else may have been first, with these types or with others.
            let _ = self.accepted.set(types);
            return Ok(typed);
        }
        let func = instance
            .get_func(store, self.index)
            .ok_or_else(|| wasmtime::Error::msg("the code has no such function"))?;
        // SAFETY: a call on an instance of this code got here with these very types, and `get_typed_func` compared them
        // with the function's. What it compares is the component's, and the host's resources in its linker, which are the
        // same for every instance of one code.
        Ok(unsafe { TypedFunc::new_unchecked(func) })
    }
}
