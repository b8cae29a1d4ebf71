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

use crate::histogram::Histogram;
use crate::instrument::{INSTRUMENTS, Id, Instrument, Kind, Unit};

/// The series of one instrument, by their label values, so that the text comes out in a stable order.
#[derive(Debug)]
pub(crate) enum Family {
    Numbers(BTreeMap<Vec<String>, Arc<AtomicU64>>),
    Histograms(BTreeMap<Vec<String>, Arc<Histogram>>),
}

/// Every family, in the order of [`INSTRUMENTS`].
///
/// The locks are taken when a handle is made and when the text is rendered, never when something is recorded.
#[derive(Debug)]
pub(crate) struct Families(Vec<Mutex<Family>>);

impl Families {
    pub(crate) fn new() -> Self {
        let family = |instrument: &Instrument| match instrument.kind {
            Kind::Histogram => Family::Histograms(BTreeMap::new()),
            Kind::Counter | Kind::Gauge | Kind::Info => Family::Numbers(BTreeMap::new()),
        };
        Self(INSTRUMENTS.iter().map(family).map(Mutex::new).collect())
    }

    pub(crate) fn family(&self, id: Id) -> MutexGuard<'_, Family> {
        self.0[id as usize].lock().unwrap_or_else(PoisonError::into_inner)
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
            Family::Histograms(series) => Arc::clone(series.entry(owned(id, labels)).or_default()),
            Family::Numbers(_) => {
                debug_assert!(false, "{id:?} is not a histogram");
                Arc::default()
            }
        }
    }
}

fn owned(id: Id, labels: &[&str]) -> Vec<String> {
    debug_assert_eq!(labels.len(), INSTRUMENTS[id as usize].labels.len(), "labels of {id:?}");
    labels.iter().map(|label| (*label).to_owned()).collect()
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (instrument, family) in INSTRUMENTS.iter().zip(&self.0) {
            let unit = match instrument.unit {
                Unit::Count => None,
                Unit::Seconds => Some(registry::Unit::Seconds),
                Unit::Bytes => Some(registry::Unit::Bytes),
            };
            let kind = match instrument.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
                Kind::Info => MetricType::Info,
            };
            let encoder = encoder.encode_descriptor(instrument.stem(), instrument.help, unit.as_ref(), kind)?;
            encode_family(encoder, instrument, &family.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
        Ok(())
    }
}

fn encode_family(mut encoder: MetricEncoder<'_>, instrument: &Instrument, family: &Family) -> fmt::Result {
    match family {
        Family::Numbers(series) => {
            for (values, number) in series {
                let labels = Labels { names: instrument.labels, values };
                let number = number.load(Relaxed);
                match instrument.kind {
                    Kind::Counter => {
                        labels.on(&mut encoder, |series| series.encode_counter::<NoLabelSet, _, u64>(&number, None))?;
                    }
                    Kind::Info => encoder.encode_info(&labels)?,
                    Kind::Gauge | Kind::Histogram => {
                        labels.on(&mut encoder, |series| series.encode_gauge(&number))?;
                    }
                }
            }
        }
        Family::Histograms(series) => {
            for (values, histogram) in series {
                let labels = Labels { names: instrument.labels, values };
                let buckets = histogram.buckets();
                // The total is the sum of what is shown, so that the two agree while others record.
                let count = buckets.iter().map(|(_, count)| count).sum();
                let sum = histogram.sum_seconds();
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
