//! A loaded module, and calls of its functions.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tapline_host_core::{Function, Functions, LoadTimes, cut};
use wasmtime::component::{Type, Val};

use crate::{
    call::CallText,
    error::Error,
    metrics::Samples,
    signature::{signature, unsupported},
    value,
};

/// The names that an error suggests.
const SUGGESTIONS: usize = 3;
/// Letters that people get wrong in a name.
const SLIP: usize = 2;
/// The longest name that is compared with others, in bytes, and the most names that are: comparing takes the product of both
/// lengths.
const MAX_COMPARED: usize = 100;
const MAX_NAMES: usize = 1000;

/// A module that is loaded. Cheap to clone; the last clone that is dropped unloads it.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    functions: Functions,
    /// For a core module: the names of its functions, by those in the component around it.
    names: HashMap<String, String>,
    /// Functions of a core module that cannot be called, with the reason.
    left_out: Vec<(String, &'static str)>,
    samples: Arc<Samples>,
    was_called: AtomicBool,
}

/// What a function answered, and what that took.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// What it returned. None: nothing.
    pub value: Option<Val>,
    /// The stage *instantiate fresh*: from the request to an instance that is ready, with the wait for a slot of the pool.
    pub instantiate: Duration,
    /// The function itself.
    pub call: Duration,
    /// The fuel that it used. None: it is not metered.
    pub fuel: Option<u64>,
    /// The most memory that the instance had, in bytes.
    pub peak_memory_bytes: u64,
}

impl Answer {
    /// The value in WAVE; empty where there is none.
    #[must_use]
    pub fn text(&self) -> String {
        self.value.as_ref().map(value::to_text).unwrap_or_default()
    }
}

impl Module {
    pub(crate) fn new(
        name: String,
        functions: Functions,
        names: HashMap<String, String>,
        left_out: Vec<(String, &'static str)>,
        samples: Arc<Samples>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner { name, functions, names, left_out, samples, was_called: AtomicBool::new(false) }),
        }
    }

    /// The name that it was loaded under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What it can do: the name of each function with its signature, sorted.
    #[must_use]
    pub fn signatures(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.inner.functions.list().iter().map(|function| self.signature(function)).collect();
        all.sort();
        all
    }

    /// Functions of a core module that cannot be called, with the reason.
    #[must_use]
    pub fn left_out(&self) -> &[(String, &'static str)] {
        &self.inner.left_out
    }

    /// How long the stages *compile* and *load artifact* took: one of them happened.
    #[must_use]
    pub fn times(&self) -> LoadTimes {
        self.inner.functions.times()
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.inner.functions
    }

    /// Calls a function as people write it: `fibonacci(10)`, or `acme:math/numbers@1.0.0#fibonacci(10)` where several
    /// interfaces have one of that name. Arguments are in WAVE; integers of a core module are signed.
    ///
    /// # Errors
    ///
    /// The text is no call, there is no such function, its arguments are others, or it has no answer.
    pub async fn call(&self, call: &str) -> Result<Answer, Error> {
        let (function, arguments) = self.prepare(call)?;
        self.measured(self.run(function, &arguments).await)
    }

    /// Calls a function by its name, with values.
    ///
    /// # Errors
    ///
    /// As [`Module::call`].
    pub async fn execute(&self, function: &str, arguments: &[Val]) -> Result<Answer, Error> {
        let function = self.find(function)?;
        self.supported(function)?;
        value::check(arguments, &types(function))
            .map_err(|message| Error::Arguments { signature: self.signature(function), message })?;
        self.measured(self.run(function, arguments).await)
    }

    /// The function and the arguments of a call, checked.
    pub(crate) fn prepare(&self, call: &str) -> Result<(&Function, Vec<Val>), Error> {
        let call = CallText::parse(call)?;
        let function = self.find(&call.function)?;
        self.supported(function)?;
        let arguments = value::arguments(&call, &types(function))
            .map_err(|message| Error::Arguments { signature: self.signature(function), message })?;
        Ok((function, arguments))
    }

    pub(crate) async fn run(&self, function: &Function, arguments: &[Val]) -> Result<Answer, Error> {
        self.run_in(&self.inner.functions, function, arguments).await
    }

    /// [`Module::run`] in what was loaded again.
    pub(crate) async fn run_in(
        &self,
        all: &Functions,
        function: &Function,
        arguments: &[Val],
    ) -> Result<Answer, Error> {
        let ended = all.call(function, arguments).await;
        let answered = ended.map_err(|error| Error::Call {
            module: self.inner.name.clone(),
            function: self.display(function).to_owned(),
            fault: error.fault,
        })?;
        Ok(Answer {
            value: answered.results.into_iter().next(),
            instantiate: answered.start,
            call: answered.call,
            fuel: answered.fuel,
            peak_memory_bytes: answered.peak_memory_bytes,
        })
    }

    /// Takes a call into account, for the targets: the first one of a module counts as cold, with compile or load artifact.
    fn measured(&self, answer: Result<Answer, Error>) -> Result<Answer, Error> {
        if let Ok(answer) = &answer {
            let is_first = !self.inner.was_called.swap(true, Relaxed);
            self.inner.samples.called(is_first.then(|| self.times()), answer.instantiate);
        }
        answer
    }

    pub(crate) fn samples(&self) -> &Samples {
        &self.inner.samples
    }

    fn display<'a>(&'a self, function: &'a Function) -> &'a str {
        self.inner.names.get(function.name()).map_or(function.name(), String::as_str)
    }

    fn signature(&self, function: &Function) -> String {
        signature(self.display(function), function.ty(), self.inner.names.is_empty())
    }

    fn supported(&self, function: &Function) -> Result<(), Error> {
        match unsupported(function) {
            Some(what) => Err(self.unsupported(self.display(function), format!("it takes or returns {what}"))),
            None => Ok(()),
        }
    }

    fn unsupported(&self, function: &str, reason: String) -> Error {
        Error::Unsupported { module: self.inner.name.clone(), function: function.to_owned(), reason }
    }

    /// By the full name, or by what follows the interface where only one has it.
    fn find(&self, name: &str) -> Result<&Function, Error> {
        let list = self.inner.functions.list();
        if let Some(function) = list.iter().find(|function| self.display(function) == name) {
            return Ok(function);
        }
        let is_short = |function: &&Function| short(function.name()).is_some_and(|short| short == name);
        let found: Vec<&Function> = list.iter().filter(is_short).collect();
        match found[..] {
            [function] => Ok(function),
            [] => Err(self.unknown(name)),
            _ => Err(Error::AmbiguousFunction {
                module: self.inner.name.clone(),
                name: cut(name, MAX_COMPARED).to_owned(),
                functions: found.iter().take(SUGGESTIONS).map(|function| function.name().to_owned()).collect(),
            }),
        }
    }

    fn unknown(&self, name: &str) -> Error {
        if let Some((name, reason)) = self.inner.left_out.iter().find(|(known, _)| known == name) {
            return self.unsupported(name, (*reason).to_owned());
        }
        let name = cut(name, MAX_COMPARED);
        let list = self.inner.functions.list();
        let distance = |function: &Function| {
            let known = self.display(function);
            let of = |known: &str| strsim::damerau_levenshtein(cut(known, MAX_COMPARED), name);
            of(known).min(short(known).map_or(usize::MAX, of))
        };
        let mut near: Vec<(usize, &Function)> =
            list.iter().take(MAX_NAMES).map(|function| (distance(function), function)).collect();
        near.sort_by_key(|(distance, _)| *distance);
        // Where one is a slip of the keyboard away, the others are noise.
        if near.iter().any(|(distance, _)| *distance <= SLIP) {
            near.retain(|(distance, _)| *distance <= SLIP);
        }
        Error::UnknownFunction {
            module: self.inner.name.clone(),
            name: name.to_owned(),
            nearest: near.iter().take(SUGGESTIONS).map(|(_, function)| self.signature(function)).collect(),
            functions: list.len(),
        }
    }
}

/// The name of a function without its interface.
fn short(name: &str) -> Option<&str> {
    name.split_once('#').map(|(_, short)| short)
}

fn types(function: &Function) -> Vec<Type> {
    function.ty().params().map(|(_, ty)| ty).collect()
}
