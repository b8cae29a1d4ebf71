//! Components in the text format, written around the few instructions that matter.

use std::fmt::Write;

use tapline_host_core::Tap;

use crate::tap::{HostileTap, Neighbour, Number, Strike, strike};

/// What every guest imports, whether it uses it or not, lowered into core functions of the same names.
const IMPORTS: &str = r#"
  (import "hostile:test/host@1.0.0" (instance $host
    (export "wait" (func)) (export "drain" (func)) (export "try-wait" (func (result bool))) (export "step" (func)) (export "count" (func (result u32)))
    (export "take" (func (param "bytes" (list u8)))) (export "fail" (func (param "how" u32)))
    (export "fail-later" (func (param "how" u32))) (export "fail-at-end" (func (param "how" u32))) (export "report" (func (param "pages" u32)))))
  (import "hostile:test/resources@1.0.0" (instance $resources
    (export "thing" (type $thing' (sub resource))) (export "make" (func (result (own $thing'))))))
  (import "tapline:host/diagnostics@0.1.0" (instance $diagnostics
    (export "panicked" (func (param "message" string) (param "file" string) (param "line" u32) (param "column" u32)))
    (export "output" (func (param "descriptor" u32) (param "bytes" (list u8))))))
  (import "tapline:host/log@0.1.0" (instance $log
    (type $level' (enum "trace" "debug" "info" "warn" "error")) (export "level" (type $level (eq $level')))
    (export "write" (func (param "level" $level) (param "message" string)))))
  (alias export $resources "thing" (type $thing))
"#;

/// The core functions that are made of them, with their signatures.
const LOWERED: &str = r#"
  (core func $wait (canon lower (func $host "wait")))
  (core func $drain (canon lower (func $host "drain")))
  (core func $try-wait (canon lower (func $host "try-wait")))
  (core func $step (canon lower (func $host "step")))
  (core func $count (canon lower (func $host "count")))
  (core func $take (canon lower (func $host "take") (memory (core memory $memory "memory"))))
  (core func $fail (canon lower (func $host "fail")))
  (core func $fail-later (canon lower (func $host "fail-later")))
  (core func $fail-at-end (canon lower (func $host "fail-at-end")))
  (core func $report (canon lower (func $host "report")))
  (core func $make (canon lower (func $resources "make")))
  (core func $drop (canon resource.drop $thing))
  (core func $panicked (canon lower (func $diagnostics "panicked") (memory (core memory $memory "memory"))))
  (core func $output (canon lower (func $diagnostics "output") (memory (core memory $memory "memory"))))
  (core func $log (canon lower (func $log "write") (memory (core memory $memory "memory"))))
"#;
const FUNCTIONS: [(&str, &str); 15] = [
    ("wait", ""),
    ("drain", ""),
    ("try-wait", "(result i32)"),
    ("step", ""),
    ("count", "(result i32)"),
    ("take", "(param i32 i32)"),
    ("fail", "(param i32)"),
    ("fail-later", "(param i32)"),
    ("fail-at-end", "(param i32)"),
    ("report", "(param i32)"),
    ("make", "(result i32)"),
    ("drop", "(param i32)"),
    ("panicked", "(param i32 i32 i32 i32 i32 i32)"),
    ("output", "(param i32 i32 i32)"),
    ("log", "(param i32 i32 i32)"),
];

/// A component that implements one tap. Its core module may call `$wait`, `$drain`, `$try-wait`, `$step`, `$count`, `$take`,
/// `$fail`, `$fail-later`, `$fail-at-end`, `$report`, `$make`, `$drop`, `$panicked`, `$output` and `$log`.
#[derive(Clone)]
pub struct Guest {
    tap: &'static str,
    interface: &'static str,
    parameters: &'static str,
    result: &'static str,
    core: &'static str,
    strike: Strike,
    memory: String,
    component: String,
    functions: Vec<(String, String)>,
    module: String,
    options: String,
    body: String,
}

impl Guest {
    /// A guest whose handler of `T` has this body. Numbers come in as `$x`.
    #[must_use]
    pub fn new<T: HostileTap>(body: impl Into<String>) -> Self {
        Self {
            tap: <T as Tap>::NAME,
            interface: T::INTERFACES[0].name,
            parameters: T::PARAMETERS,
            result: T::RESULT,
            core: T::CORE,
            strike: strike::<T>(),
            memory: "1".to_owned(),
            component: String::new(),
            functions: Vec::new(),
            module: String::new(),
            options: String::new(),
            body: body.into(),
        }
    }

    /// A guest that implements [`Number`].
    #[must_use]
    pub fn number(body: impl Into<String>) -> Self {
        Self::new::<Number>(body)
    }

    /// More in the core module.
    #[must_use]
    pub fn with(mut self, module: &str) -> Self {
        self.module.push_str(module);
        self
    }

    /// More in the component, ahead of the core module, whose memory is there as `$memory`.
    #[must_use]
    pub fn component(mut self, text: &str) -> Self {
        self.component.push_str(text);
        self
    }

    /// One more function that the core module imports; the component has it as the core function `$name`.
    #[must_use]
    pub fn function(mut self, name: &str, signature: &str) -> Self {
        self.functions.push((name.to_owned(), signature.to_owned()));
        self
    }

    /// The size of the memory in pages, and its maximum if there is one.
    #[must_use]
    pub fn memory(mut self, pages: &str) -> Self {
        pages.clone_into(&mut self.memory);
        self
    }

    /// Bytes that the memory holds from the start.
    #[must_use]
    pub fn data(mut self, at: u32, bytes: &[u8]) -> Self {
        let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let _ = write!(self.module, "(data (i32.const {at}) \"{text}\")");
        self
    }

    /// What happens after the host has read the answer.
    #[must_use]
    pub fn after(mut self, body: &str) -> Self {
        let _ = write!(self.module, "(func (export \"after\") (param i32) {body})");
        self.options.push_str(r#" (post-return (core func $i "after"))"#);
        self
    }

    /// How the guest makes room for what it is given: `$size` bytes, aligned to `$align`.
    #[must_use]
    pub fn realloc(mut self, body: &str) -> Self {
        let _ = write!(
            self.module,
            "(func (export \"realloc\") (param i32 i32) (param $align i32) (param $size i32) (result i32) {body})"
        );
        self.options.push_str(r#" (realloc (core func $i "realloc"))"#);
        self
    }

    /// The tap that it implements.
    #[must_use]
    pub fn tap(&self) -> &'static str {
        self.tap
    }

    /// How that tap is dispatched.
    #[must_use]
    pub fn strike(&self) -> Strike {
        Strike::clone(&self.strike)
    }

    /// The component.
    ///
    /// # Panics
    ///
    /// The text is not WebAssembly.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let Self { interface, parameters, result, core, memory, component, module, options, body, .. } = self;
        let mut imports = String::new();
        let mut exports = String::new();
        let added = self.functions.iter().map(|(name, signature)| (name.as_str(), signature.as_str()));
        for (name, signature) in FUNCTIONS.into_iter().chain(added) {
            let _ = write!(imports, "(import \"\" \"{name}\" (func ${name} {signature}))");
            let _ = write!(exports, "(export \"{name}\" (func ${name}))");
        }
        let text = format!(
            r#"(component
                 {IMPORTS}
                 (core module $memory (memory (export "memory") {memory}))
                 (core instance $memory (instantiate $memory))
                 {LOWERED}
                 {component}
                 (core module $m
                   (import "" "memory" (memory 0))
                   {imports}
                   {module}
                   (func $run (export "run") {core} {body}))
                 (core instance $i (instantiate $m (with "" (instance
                   (export "memory" (memory $memory "memory")) {exports}))))
                 (func $run {parameters} (result {result})
                   (canon lift (core func $i "run") (memory (core memory $memory "memory")) {options}))
                 (instance $e (export "run" (func $run)))
                 (export "{interface}" (instance $e)))"#
        );
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// A component that implements [`Number`] and [`Neighbour`] as they should be: it adds one.
pub(crate) fn well_behaved() -> Vec<u8> {
    let [number, neighbour] = [Number::INTERFACES[0].name, Neighbour::INTERFACES[0].name];
    let text = format!(
        r#"(component
             (core module $m
               (func (export "run") (param $x i32) (result i32) (i32.add (local.get $x) (i32.const 1))))
             (core instance $i (instantiate $m))
             (func $run (param "x" u32) (result u32) (canon lift (core func $i "run")))
             (instance $e (export "run" (func $run)))
             (export "{number}" (instance $e))
             (export "{neighbour}" (instance $e)))"#
    );
    wat::parse_str(&text).unwrap()
}
