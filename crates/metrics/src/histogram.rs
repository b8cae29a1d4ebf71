//! A histogram of durations that is recorded with two atomic additions.
//!
//! prometheus-client's own histogram keeps floating-point bounds and a sum behind a mutex. This one counts
//! nanoseconds: nothing to lock, so that threads which record at the same time never wait for one another. The bench
//! `record` measures both.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets, in nanoseconds: 1 µs to 30 s, three per factor of ten. The lower end is below the
/// cheapest call on a fresh instance (3.4 µs on the prototype), the upper end is the default deadline of a call.
pub const BUCKET_BOUNDS_NANOS: [u64; 23] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// Which bounds the buckets of a histogram have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scale {
    /// [`BUCKET_BOUNDS_NANOS`].
    #[default]
    Usual,
    /// A tenth of them: 100 ns to 3 s, for what takes less than a microsecond when all is well.
    Fine,
}

impl Scale {
    /// How many of its units of time a nanosecond has, as the bounds count them.
    const fn divisor(self) -> u64 {
        match self {
            Self::Usual => 1,
            Self::Fine => 10,
        }
    }
}

/// Counts per bucket, the last one for what is above every bound, and the sum.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKET_BOUNDS_NANOS.len() + 1],
    sum_nanos: AtomicU64,
    scale: Scale,
}

impl Histogram {
    pub(crate) fn new(scale: Scale) -> Self {
        Self { scale, ..Self::default() }
    }

    pub(crate) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let scaled = nanos.saturating_mul(self.scale.divisor());
        let bucket = BUCKET_BOUNDS_NANOS.partition_point(|bound| *bound < scaled);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(nanos, Relaxed);
    }

    /// Counts what another one has counted.
    pub(crate) fn add(&self, counts: &Counts) {
        for (bucket, count) in self.buckets.iter().zip(counts.buckets) {
            bucket.fetch_add(count, Relaxed);
        }
        self.sum_nanos.fetch_add(counts.sum_nanos, Relaxed);
    }

    /// What was counted until now.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed)),
            sum_nanos: self.sum_nanos.load(Relaxed),
            scale: self.scale,
        }
    }
}

/// What a histogram has counted, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    buckets: [u64; BUCKET_BOUNDS_NANOS.len() + 1],
    sum_nanos: u64,
    scale: Scale,
}

impl Counts {
    /// Adds the counts of a histogram of the same row, which has the same bounds.
    pub(crate) fn add(&mut self, other: &Self) {
        self.scale = other.scale;
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, count)| *sum += count);
        self.sum_nanos = self.sum_nanos.wrapping_add(other.sum_nanos);
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all durations, in a unit of so many nanoseconds.
    pub(crate) fn sum(&self, unit_nanos: f64) -> f64 {
        self.sum_nanos as f64 / unit_nanos
    }

    /// The mean in a unit of so many nanoseconds. 0 without a duration.
    pub(crate) fn mean(&self, unit_nanos: f64) -> f64 {
        match self.count() {
            0 => 0.0,
            count => self.sum(unit_nanos) / count as f64,
        }
    }

    /// Upper bound, in a unit of so many nanoseconds, and count of each bucket, not accumulated.
    pub(crate) fn buckets(&self, unit_nanos: f64) -> Vec<(f64, u64)> {
        let divisor = self.scale.divisor() as f64;
        let bounds = BUCKET_BOUNDS_NANOS.iter().map(|nanos| *nanos as f64 / divisor / unit_nanos);
        bounds.chain([f64::INFINITY]).zip(self.buckets).collect()
    }

    /// The duration below which a part of all lie, in seconds, as Prometheus's `histogram_quantile` finds it: exact to the
    /// bucket, and linear within it. What lies above every bound counts as the highest. 0 without a duration.
    pub(crate) fn quantile_seconds(&self, part: f64) -> f64 {
        let rank = part * self.count() as f64;
        let seconds = 1e9 * self.scale.divisor() as f64;
        let (mut below, mut lower) = (0_u64, 0_u64);
        for (count, upper) in self.buckets.iter().zip(BUCKET_BOUNDS_NANOS) {
            if *count > 0 && (below + count) as f64 >= rank {
                let within = (rank - below as f64) / *count as f64;
                return (lower as f64 + (upper - lower) as f64 * within) / seconds;
            }
            below += count;
            lower = upper;
        }
        if self.count() == 0 { 0.0 } else { lower as f64 / seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(nanos: u64, bound: f64) {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_nanos(nanos));
        let hit: Vec<f64> =
            histogram.counts().buckets(1e9).into_iter().filter(|(_, n)| *n == 1).map(|(bound, _)| bound).collect();
        assert_eq!(hit, [bound]);
    }

    #[test]
    fn a_duration_is_counted_under_the_smallest_bound_that_is_not_below_it() {
        check(0, 0.000_001);
        check(1_000, 0.000_001);
        check(1_001, 0.000_002_5);
        check(30_000_000_000, 30.0);
        check(30_000_000_001, f64::INFINITY);
        check(u64::MAX, f64::INFINITY);
    }

    #[test]
    fn the_sum_is_in_seconds() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(1_250));
        histogram.observe(Duration::from_millis(250));
        assert_eq!(histogram.counts().sum(1e9), 1.5);
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let histogram = Histogram::default();
        assert_eq!(histogram.counts().quantile_seconds(0.5), 0.0);
        // Ten between 5 and 10 µs, ten between 10 and 25 µs.
        (0..10).for_each(|_| histogram.observe(Duration::from_micros(7)));
        (0..10).for_each(|_| histogram.observe(Duration::from_micros(20)));
        let quantile = |part| (histogram.counts().quantile_seconds(part) * 1e9).round();
        assert_eq!(
            [quantile(0.25), quantile(0.5), quantile(0.75), quantile(1.0)],
            [7_500.0, 10_000.0, 17_500.0, 25_000.0]
        );
        let slow = Histogram::default();
        slow.observe(Duration::from_secs(100));
        assert_eq!(slow.counts().quantile_seconds(0.5), 30.0);
    }

    #[test]
    fn a_fine_one_tells_50_ns_from_900() {
        let quantile = |nanos| {
            let histogram = Histogram::new(Scale::Fine);
            histogram.observe(Duration::from_nanos(nanos));
            let counts = histogram.counts();
            let hit: Vec<f64> =
                counts.buckets(1.0).into_iter().filter(|(_, n)| *n == 1).map(|(bound, _)| bound).collect();
            (hit[0], (counts.quantile_seconds(1.0) * 1e9).round(), counts.sum(1.0))
        };
        assert_eq!(quantile(50), (100.0, 100.0, 50.0));
        assert_eq!(quantile(900), (1000.0, 1000.0, 900.0));
        assert_eq!(quantile(10_000_000_000), (f64::INFINITY, 3e9, 1e10));
    }

    #[test]
    fn sums_and_means() {
        let histogram = Histogram::default();
        for ms in [1, 3] {
            histogram.observe(Duration::from_millis(ms));
        }
        let mut counts = histogram.counts();
        counts.add(&histogram.counts());
        assert_eq!((counts.count(), counts.sum(1e6), counts.mean(1e6)), (4, 8.0, 2.0));
        assert_eq!(Counts::default().mean(1e6), 0.0);
    }

    #[test]
    fn the_bounds_rise() {
        assert!(BUCKET_BOUNDS_NANOS.is_sorted_by(|a, b| a < b));
    }
}
