//! Where the figures are: one family per row of the table, one series per set of label values.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry;

use crate::derive::derive;
use crate::histogram::{Counts, Histogram, Scale};
use crate::instrument::{INSTRUMENTS, Id, Instrument, Kind, Unit};
use crate::label::{Deployment, Outcome};

/// What the label `impl` says: plugins are WebAssembly. Others measure the same work as `js` or `native`.
const IMPLEMENTATION: &str = "wasm";

/// The labels that say which plugin, and what of it.
const LABELS_OF_PLUGINS: [&str; 3] = ["plugin", "module", "tap"];

/// Stands for the plugins that are gone: what they counted is in sums over all plugins, which must not fall, and in no text. No
/// plugin has this name.
pub(crate) const GONE: &str = "";

/// The series of one instrument, by their label values, so that the text comes out in a stable order.
#[derive(Debug)]
pub(crate) enum Family {
    Numbers(BTreeMap<Vec<String>, Arc<AtomicU64>>),
    Histograms(BTreeMap<Vec<String>, Arc<Histogram>>),
}

/// What an instrument shows at one moment, with label values.
#[derive(Debug)]
pub(crate) enum Samples {
    Numbers(Vec<(Vec<String>, f64)>),
    Histograms(Vec<(Vec<String>, Counts)>),
}

/// Every family, in the order of [`INSTRUMENTS`].
///
/// The locks are taken when a handle is made and when the text is rendered, never when something is recorded.
#[derive(Debug)]
pub(crate) struct Families {
    families: Vec<Mutex<Family>>,
    deployment: Deployment,
    /// How many leases each plugin has.
    leases: Mutex<BTreeMap<String, usize>>,
}

/// Keeps the series of a plugin. They are taken out with the last lease that it has: of several versions of a plugin each has its
/// own, so that no counter goes back where one version follows another. Series of a plugin that never had a lease stay.
pub struct SeriesLease {
    /// None: nothing is recorded.
    families: Option<Arc<Families>>,
    plugin: String,
}

impl SeriesLease {
    pub(crate) fn new(families: Option<Arc<Families>>, plugin: &str) -> Self {
        if let Some(families) = &families {
            *families.leases().entry(plugin.to_owned()).or_default() += 1;
        }
        Self { families, plugin: plugin.to_owned() }
    }
}

/// Without the figures of all plugins.
impl fmt::Debug for SeriesLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SeriesLease").field(&self.plugin).finish()
    }
}

impl Drop for SeriesLease {
    fn drop(&mut self) {
        let Some(families) = &self.families else { return };
        // Held until the series are out: a version that comes now makes its own after that.
        let mut leases = families.leases();
        let others = leases.remove(&self.plugin).unwrap_or_default().saturating_sub(1);
        if others > 0 {
            leases.insert(std::mem::take(&mut self.plugin), others);
        } else {
            families.forget(&self.plugin);
        }
    }
}

impl Families {
    pub(crate) fn new(deployment: Deployment) -> Self {
        let family = |instrument: &Instrument| match instrument.kind {
            Kind::Histogram => Family::Histograms(BTreeMap::new()),
            Kind::Counter | Kind::Gauge | Kind::Info => Family::Numbers(BTreeMap::new()),
        };
        Self {
            families: INSTRUMENTS.iter().map(family).map(Mutex::new).collect(),
            deployment,
            leases: Mutex::default(),
        }
    }

    /// `surface`, `impl`, `module` and `service`.
    pub(crate) fn module_labels(&self, module: &str) -> Vec<String> {
        let Deployment { surface, service } = &self.deployment;
        [surface.as_str(), IMPLEMENTATION, module, service].map(str::to_owned).to_vec()
    }

    /// A number of a module.
    pub(crate) fn module_number(&self, id: Id, module: &str) -> Arc<AtomicU64> {
        let Deployment { surface, service } = &self.deployment;
        self.number(id, &[surface.as_str(), IMPLEMENTATION, module, service])
    }

    /// The value of a number of a module, 0 where there is none.
    pub(crate) fn module_value(&self, id: Id, module: &str) -> u64 {
        let Deployment { surface, service } = &self.deployment;
        self.value(id, &[surface.as_str(), IMPLEMENTATION, module, service])
    }

    /// A histogram of a module.
    pub(crate) fn module_histogram(&self, id: Id, module: &str) -> Arc<Histogram> {
        let Deployment { surface, service } = &self.deployment;
        self.histogram(id, &[surface.as_str(), IMPLEMENTATION, module, service])
    }

    /// A number of the process, or with a route of what answers it.
    pub(crate) fn service_number(&self, id: Id, route: Option<&str>) -> Arc<AtomicU64> {
        let Deployment { surface, service } = &self.deployment;
        let labels = [surface.as_str(), IMPLEMENTATION, service];
        self.number(id, &labels.into_iter().chain(route).collect::<Vec<_>>())
    }

    /// What a row shows now.
    pub(crate) fn samples(&self, id: Id) -> Samples {
        if let Some(derived) = derive(self, id) {
            return derived;
        }
        let instrument = &INSTRUMENTS[id as usize];
        let is_shown = |labels: &[String]| instrument.plugin_label().is_none_or(|label| labels[label] != GONE);
        match &*self.family(id) {
            Family::Numbers(series) => {
                let value = |number: &AtomicU64| number.load(Relaxed) as f64 / instrument.unit.nanos().unwrap_or(1.0);
                let shown = series.iter().filter(|(labels, _)| is_shown(labels));
                Samples::Numbers(shown.map(|(labels, number)| (labels.clone(), value(number))).collect())
            }
            Family::Histograms(series) => {
                let shown = series.iter().filter(|(labels, _)| is_shown(labels));
                Samples::Histograms(shown.map(|(labels, histogram)| (labels.clone(), histogram.counts())).collect())
            }
        }
    }

    fn leases(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the series of a plugin out, and keeps what its counters and histograms have counted under [`GONE`].
    fn forget(&self, plugin: &str) {
        for (instrument, id) in INSTRUMENTS.iter().zip(Id::ALL) {
            let Some(label) = instrument.plugin_label() else { continue };
            match &mut *self.family(*id) {
                Family::Numbers(series) => {
                    for (labels, number) in take(series, label, plugin) {
                        if instrument.kind == Kind::Counter {
                            let gone = series.entry(of_gone(instrument, labels)).or_default();
                            gone.fetch_add(number.load(Relaxed), Relaxed);
                        }
                    }
                }
                Family::Histograms(series) => {
                    for (labels, histogram) in take(series, label, plugin) {
                        let gone = series.entry(of_gone(instrument, labels));
                        gone.or_insert_with(|| Arc::new(Histogram::new(scale(*id)))).add(&histogram.counts());
                    }
                }
            }
        }
    }

    pub(crate) fn family(&self, id: Id) -> MutexGuard<'_, Family> {
        self.families[id as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls of all handlers that ended so.
    pub(crate) fn ended_with(&self, outcome: Outcome) -> u64 {
        match &*self.family(Id::TapInvocations) {
            Family::Numbers(series) => {
                let ended = series.iter().filter(|(labels, _)| labels.last().is_some_and(|it| it == outcome.as_str()));
                ended.map(|(_, number)| number.load(Relaxed)).sum()
            }
            Family::Histograms(_) => 0,
        }
    }

    /// Makes `number` the series of a counter or a gauge without labels.
    pub(crate) fn share(&self, id: Id, number: Arc<AtomicU64>) {
        if let Family::Numbers(series) = &mut *self.family(id) {
            series.insert(owned(id, &[]), number);
        }
    }

    /// The value of a counter or a gauge, 0 where there is none: whoever looks makes no series.
    pub(crate) fn value(&self, id: Id, labels: &[&str]) -> u64 {
        match &*self.family(id) {
            Family::Numbers(series) => series.get(&owned(id, labels)).map_or(0, |number| number.load(Relaxed)),
            Family::Histograms(_) => 0,
        }
    }

    /// What a histogram has counted, nothing where there is none: whoever looks makes no series.
    pub(crate) fn counts(&self, id: Id, labels: &[&str]) -> Counts {
        match &*self.family(id) {
            Family::Histograms(series) => series.get(&owned(id, labels)).map(|it| it.counts()).unwrap_or_default(),
            Family::Numbers(_) => Counts::default(),
        }
    }

    /// The series of a counter or a gauge. For a histogram it is one that is never shown: the table's kind decides.
    pub(crate) fn number(&self, id: Id, labels: &[&str]) -> Arc<AtomicU64> {
        match &mut *self.family(id) {
            Family::Numbers(series) => Arc::clone(series.entry(owned(id, labels)).or_default()),
            Family::Histograms(_) => {
                debug_assert!(false, "{id:?} is a histogram");
                Arc::default()
            }
        }
    }

    /// The series of a histogram.
    pub(crate) fn histogram(&self, id: Id, labels: &[&str]) -> Arc<Histogram> {
        match &mut *self.family(id) {
            Family::Histograms(series) => {
                let made = || Arc::new(Histogram::new(scale(id)));
                Arc::clone(series.entry(owned(id, labels)).or_insert_with(made))
            }
            Family::Numbers(_) => {
                debug_assert!(false, "{id:?} is not a histogram");
                Arc::default()
            }
        }
    }
}

/// Taking an instance that is there takes half a microsecond; everything else more than one.
fn scale(id: Id) -> Scale {
    if id == Id::StockTakeDuration { Scale::Fine } else { Scale::Usual }
}

fn owned(id: Id, labels: &[&str]) -> Vec<String> {
    debug_assert_eq!(labels.len(), INSTRUMENTS[id as usize].labels.len(), "labels of {id:?}");
    labels.iter().map(|label| (*label).to_owned()).collect()
}

/// Takes the series out whose label at this place is `value`.
fn take<T>(series: &mut BTreeMap<Vec<String>, Arc<T>>, label: usize, value: &str) -> Vec<(Vec<String>, Arc<T>)> {
    series.extract_if(.., |labels, _| labels[label] == value).collect()
}

/// The labels under which the series of plugins that are gone are added up.
fn of_gone(instrument: &Instrument, mut labels: Vec<String>) -> Vec<String> {
    for (name, value) in instrument.labels.iter().zip(&mut labels) {
        if LABELS_OF_PLUGINS.contains(name) {
            GONE.clone_into(value);
        }
    }
    labels
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (instrument, id) in INSTRUMENTS.iter().zip(Id::ALL) {
            let unit = instrument.unit.as_str().map(|unit| registry::Unit::Other(unit.to_owned()));
            let kind = match instrument.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
                Kind::Info => MetricType::Info,
            };
            let encoder = encoder.encode_descriptor(instrument.stem(), instrument.help, unit.as_ref(), kind)?;
            encode_samples(encoder, instrument, &self.samples(*id))?;
        }
        Ok(())
    }
}

fn encode_samples(mut encoder: MetricEncoder<'_>, instrument: &Instrument, samples: &Samples) -> fmt::Result {
    match samples {
        Samples::Numbers(series) => {
            // Whole numbers are written as such.
            let is_whole = matches!(instrument.unit, Unit::Count | Unit::Bytes);
            for (values, number) in series {
                let labels = Labels { names: instrument.labels, values };
                match (instrument.kind, is_whole) {
                    (Kind::Counter, true) => labels.on(&mut encoder, |series| {
                        series.encode_counter::<NoLabelSet, _, u64>(&(*number as u64), None)
                    })?,
                    (Kind::Counter, false) => {
                        labels.on(&mut encoder, |series| series.encode_counter::<NoLabelSet, _, u64>(number, None))?;
                    }
                    (Kind::Info, _) => encoder.encode_info(&labels)?,
                    (Kind::Gauge | Kind::Histogram, true) => {
                        labels.on(&mut encoder, |series| series.encode_gauge(&(*number as u64)))?;
                    }
                    (Kind::Gauge | Kind::Histogram, false) => {
                        labels.on(&mut encoder, |series| series.encode_gauge(number))?;
                    }
                }
            }
        }
        Samples::Histograms(series) => {
            let unit = instrument.unit.nanos().unwrap_or(1.0);
            for (values, counts) in series {
                let labels = Labels { names: instrument.labels, values };
                // The total is the sum of what is shown, so that the two agree while others record.
                let (sum, count, buckets) = (counts.sum(unit), counts.count(), counts.buckets(unit));
                labels.on(&mut encoder, |series| series.encode_histogram::<NoLabelSet>(sum, count, &buckets, None))?;
            }
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Labels<'a> {
    names: &'a [&'a str],
    values: &'a [String],
}

impl Labels<'_> {
    /// Encodes one series with these labels; with none of them there are no braces either.
    fn on(
        &self,
        encoder: &mut MetricEncoder<'_>,
        encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        if self.values.is_empty() { encode(encoder) } else { encode(&mut encoder.encode_family(self)?) }
    }
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for (name, value) in self.names.iter().copied().zip(self.values) {
            (name, value).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}
