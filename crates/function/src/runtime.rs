//! A host that runs functions.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};
use tapline_componentize::CoreModule;
use tapline_host_core::{
    Host, HostBuilder, HostError, LoadError, Manifest, PartialBreaker, PerformanceValidation, PluginName, PluginSpec,
    cut, read_component,
};

use crate::{error::Error, metrics::Samples, module::Module, sandbox::Sandbox};

/// Loads modules and measures what they do. Cheap to clone; all clones are the same runtime.
#[derive(Clone)]
pub struct Runtime {
    host: Host,
    sandbox: Arc<Sandbox>,
    samples: Arc<Samples>,
}

impl Runtime {
    /// Sets it up: the builder has the settings, limits included, and the capabilities that a module can be granted. Whatever
    /// the sandbox names has to be among them: `tapline-host-wasi` has files, clocks and the rest of WASI.
    ///
    /// # Errors
    ///
    /// As [`HostBuilder::build`].
    pub fn new(builder: HostBuilder, sandbox: Sandbox) -> Result<Self, HostError> {
        Ok(Self { host: builder.build()?, sandbox: Arc::new(sandbox), samples: Arc::default() })
    }

    /// The host, for its metrics, its pool and its memory.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Loads a module from a file, under the file's name.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is too large; the rest as [`Runtime::load`].
    pub async fn load_file(&self, path: impl AsRef<Path>, sha256: Option<&str>) -> Result<Module, Error> {
        let path = path.as_ref().to_owned();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let limit = self.host.config().compilation.max_component_bytes;
        let bytes = tokio::task::spawn_blocking(move || read(&path, limit)).await.map_err(Error::Host)??;
        self.load(&name, bytes, sha256).await
    }

    /// Loads a module from bytes: a component, or a core module of which the functions with numbers can be called. Checks it
    /// as a plugin is checked, and compiles it or finds it compiled. Nothing of it runs.
    ///
    /// `name` is for errors and metrics: letters and digits of it are kept. With `sha256`, bytes that hash to something else
    /// are refused before anybody looks at them. The hash is never a key: what is compiled is found by its own bytes.
    ///
    /// # Errors
    ///
    /// The hash is another; the bytes are no module that this host can run, or want what its sandbox does not give.
    pub async fn load(&self, name: &str, bytes: impl Into<Arc<[u8]>>, sha256: Option<&str>) -> Result<Module, Error> {
        let bytes: Arc<[u8]> = bytes.into();
        let name = plugin_name(name);
        if let Some(expected) = sha256 {
            let expected = hash(expected)?;
            let (module, hashed) = (name.to_string(), Arc::clone(&bytes));
            let found = tokio::task::spawn_blocking(move || Sha256::digest(&hashed)).await.map_err(Error::Host)?;
            let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
            if found != expected {
                return Err(Error::OtherHash { module, expected, found });
            }
        }
        let (needs, limit) = (bytes.len() as u64, self.host.config().compilation.max_component_bytes);
        if needs > limit {
            return Err(LoadError::TooLarge { plugin: name, what: "bytes", needs, limit }.into());
        }
        let (component, names, left_out) = match is_core_module(&bytes) {
            false => (bytes, HashMap::new(), Vec::new()),
            true => {
                let (sandbox, module) = (Arc::clone(&self.sandbox), name.to_string());
                let made = tokio::task::spawn_blocking(move || component_of(&sandbox, &module, &bytes)).await;
                made.map_err(Error::Host)??
            }
        };
        let imports = imports(&name, &component).await?;
        let mut spec = self.sandbox.grant(PluginSpec::bytes(name.clone(), component), &imports)?;
        // Whether a call fails depends on its arguments, which are the caller's.
        spec.breaker = PartialBreaker { enabled: Some(false), ..PartialBreaker::default() };
        // The whole pool: there are no others who would starve.
        spec.max_concurrent_calls = Some(self.host.config().pool_size);
        let functions = self.host.load_functions(spec).await?;
        self.samples.loaded(functions.times());
        Ok(Module::new(name.to_string(), functions, names, left_out, Arc::clone(&self.samples)))
    }

    /// Compares what has been measured so far with the targets.
    #[must_use]
    pub fn validate_performance(&self) -> PerformanceValidation {
        self.samples.validate()
    }

    /// Refuses new calls and waits for those that run, for at most `bound`. `false`: some were still running, and were cut
    /// off.
    pub async fn close(&self, bound: Duration) -> bool {
        self.host.shut_down(bound).await
    }
}

/// A component, the names of its functions by those in the component, and what was left out.
type Wrapped = (Arc<[u8]>, HashMap<String, String>, Vec<(String, &'static str)>);

fn component_of(sandbox: &Sandbox, name: &str, bytes: &[u8]) -> Result<Wrapped, Error> {
    let refused = |source| Error::CoreModule { module: name.to_owned(), source };
    let module = CoreModule::read(bytes).map_err(refused)?;
    let adapter = sandbox.admit(name, module.wasi_functions())?;
    let names = module.functions().map(|function| (function.export.clone(), function.name.clone())).collect();
    let left_out = module.left_out().to_vec();
    let component = module.into_component(adapter).map_err(refused)?;
    Ok((component.into(), names, left_out))
}

/// What a component imports. A large one may have millions of parts: it is looked at where nobody waits for the thread.
async fn imports(name: &PluginName, component: &Arc<[u8]>) -> Result<Vec<String>, Error> {
    let (name, component) = (name.clone(), Arc::clone(component));
    let manifest = tokio::task::spawn_blocking(move || Manifest::read(&name, &component));
    Ok(manifest.await.map_err(Error::Host)??.imports)
}

/// Version and layer of 16 bits each; layer 0 is a core module.
fn is_core_module(bytes: &[u8]) -> bool {
    matches!(bytes, [0, b'a', b's', b'm', _, _, 0, 0, ..])
}

fn read(path: &Path, limit: u64) -> Result<Arc<[u8]>, Error> {
    let path = path.to_owned();
    read_component(&path, limit).map_err(|refused| match refused {
        Ok(_size) => Error::FileTooLarge { path, limit },
        Err(source) => Error::Read { path, source },
    })
}

fn hash(given: &str) -> Result<String, Error> {
    if given.len() == 64 && given.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(given.to_ascii_lowercase());
    }
    Err(Error::BadHash { given: cut(given, 100).to_owned() })
}

/// A name for errors and metrics: the given one, as far as it can be the name of a plugin.
fn plugin_name(name: &str) -> PluginName {
    let letters = name.chars().flat_map(char::to_lowercase).map(|letter| if letter == '_' { '-' } else { letter });
    let name: String = letters.filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').take(64).collect();
    #[expect(clippy::expect_used, reason = "the name that is fallen back to is one")]
    PluginName::new(&name).or_else(|_| PluginName::new("module")).expect("`module` is a name")
}
