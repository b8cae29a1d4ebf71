//! What taps do that can be counted.

use std::{collections::BTreeMap, fs, hint::black_box, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tapline_content::ItemView;
use tapline_host_core::{Compilation, Host, HostConfig, PluginName, PluginSpec, limits::Limits};

use crate::{
    article,
    machine::{minor_faults, resident_bytes},
};

/// Taps that do not count: after them, tables have grown and pages are there.
const WARM_UP: u32 = 200;

/// Something bad that is done once for each tap, to see that the guard notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// Pages that were not there.
    Faults,
    /// A call of the kernel.
    SystemCalls,
    /// Memory asked for and given back.
    Allocations,
    /// Work.
    Instructions,
    /// Memory kept.
    Resident,
    /// Time: more of it than a tap takes on any machine.
    Time,
}

impl Worse {
    /// By its name.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "faults" => Self::Faults,
            "system-calls" => Self::SystemCalls,
            "allocations" => Self::Allocations,
            "instructions" => Self::Instructions,
            "resident" => Self::Resident,
            "time" => Self::Time,
            other => bail!(
                "--worse takes faults, system-calls, allocations, instructions, resident or time, and not `{other}`"
            ),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Faults => "faults",
            Self::SystemCalls => "system-calls",
            Self::Allocations => "allocations",
            Self::Instructions => "instructions",
            Self::Resident => "resident",
            Self::Time => "time",
        }
    }

    /// Does it once. What has to stay, stays in `kept`.
    pub fn act(self, kept: &mut Vec<Vec<u8>>) {
        match self {
            // More than a page each: at least one of its pages is new.
            Self::Faults => kept.push(black_box(vec![1; 2 * 4096])),
            Self::SystemCalls => std::thread::yield_now(),
            Self::Allocations => (0..1000).for_each(|_| drop(black_box(Box::new(1_u8)))),
            Self::Instructions => {
                for number in 0..20_000 {
                    let _ = black_box(number);
                }
            }
            Self::Resident => kept.push(black_box(vec![1; 64 << 10])),
            Self::Time => {
                let start = std::time::Instant::now();
                while start.elapsed() < Duration::from_millis(1) {
                    std::hint::spin_loop();
                }
            }
        }
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Load {
    /// The plugin: its file lies in `plugins` under this name.
    pub plugin: String,
    /// How many taps count.
    pub calls: u32,
    /// A pool of two slots, as valgrind has no room for the reservations of a hundred.
    pub small: bool,
    /// What to do beside each tap.
    pub worse: Option<Worse>,
}

/// What was counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Page faults of one tap.
    pub faults: f64,
    /// Allocations of one tap, moved ones included.
    pub allocations: f64,
    /// Bytes in memory at the end.
    pub resident: f64,
}

impl Counted {
    /// As values of this plugin.
    #[must_use]
    pub fn values(&self, plugin: &str) -> BTreeMap<String, f64> {
        [("faults", self.faults), ("allocations", self.allocations)]
            .map(|(kind, value)| (format!("{kind}.{plugin}"), value))
            .into()
    }
}

/// Runs taps on fresh instances, one after the other on the calling thread. `allocations` says how many there were so far
/// in this process.
///
/// # Errors
///
/// The plugin is not there, or a tap fails.
pub fn run(plugins: &Path, load: &Load, allocations: fn() -> u64) -> Result<Counted> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let host = host(plugins, load).await?;
        let item = article();
        let mut kept = Vec::with_capacity((WARM_UP + load.calls) as usize);
        let (mut faults, mut allocated) = (0, 0);
        for call in 0..WARM_UP + load.calls {
            if call == WARM_UP {
                guard_boundary();
                (faults, allocated) = (minor_faults()?, allocations());
            }
            let outcome = host.dispatch(ItemView, &item).await?;
            ensure!(outcome.answers.len() == 1, "a tap failed: {:?}", outcome.failures);
            if let Some(worse) = load.worse {
                worse.act(&mut kept);
            }
        }
        guard_boundary();
        let allocated = allocations() - allocated;
        let faults = minor_faults()? - faults;
        let calls = f64::from(load.calls);
        Ok(Counted {
            faults: faults as f64 / calls,
            allocations: allocated as f64 / calls,
            resident: resident_bytes()? as f64,
        })
    })
}

/// Callgrind begins another part of its profile here: by this name, which stays a function of its own.
#[inline(never)]
fn guard_boundary() {
    black_box(());
}

async fn host(plugins: &Path, load: &Load) -> Result<Host> {
    // Nobody waits here, and under valgrind a tap and a compilation take fifty times as long.
    let limits = Limits::builder().max_execution_time(Duration::from_secs(60)).build()?;
    let pool_size = if load.small { 2 } else { HostConfig::default().pool_size };
    let compilation = Compilation { timeout: Duration::from_secs(600), ..Compilation::default() };
    let config = HostConfig { limits, pool_size, compilation, ..HostConfig::default() };
    let host = tapline_content::register(Host::builder().config(config)).build()?;
    let path = plugins.join(&load.plugin).with_extension("wasm");
    let missing = || format!("{} is missing: run `cargo xtask build-plugins`", path.display());
    let component = fs::read(&path).with_context(missing)?;
    host.load(PluginSpec::bytes(PluginName::new(&load.plugin)?, component)).await?;
    Ok(host)
}
