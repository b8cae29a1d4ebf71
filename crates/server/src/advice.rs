//! What to change, from what was measured.

use tapline_host_core::{Host, cache::DiskState, metrics::QueueMetrics};

/// How much larger than the concurrency a pool should be.
const HEADROOM: f64 = 1.2;
/// The part of the calls that may wait for a slot before the pool is too small.
const MISSES: f64 = 0.1;
/// The part of the instances whose code should be there.
const HIT_RATE: f64 = 0.8;

/// One sentence for each setting that should be different. `concurrency`: the most calls that ran at the same time.
pub(crate) fn advice(host: &Host, concurrency: Option<f64>) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(queue) = host.metrics().queue_metrics() {
        advice.extend(pool_size(host.slots().1 as u64, &queue, concurrency));
    }
    let evictions: u64 = host.caches().iter().map(|cache| cache.evictions).sum();
    if evictions > 0 {
        let now = host.config().cache_size;
        advice.push(format!("cache.size: {evictions} compiled plugins had to leave a cache of {now}; give it more."));
    }
    if let Some(runtime) = host.runtime_metrics()
        && runtime.cold_starts + runtime.warm_starts > 0
        && runtime.cache_hit_rate < HIT_RATE
    {
        let rate = runtime.cache_hit_rate * 100.0;
        let todo = match host.disk_state() {
            DiskState::Ready { .. } => "the others waited for the compiler, which a warm directory prevents",
            DiskState::Unusable { .. } => "it cannot be used, and /_tapline says why",
            _ => "set it, so that the next start finds what this one compiled",
        };
        advice.push(format!("cache.directory: the code was there for {rate:.0} % of the instances; {todo}."));
    }
    advice
}

/// The pool should have room for the concurrency and a fifth; more than it has where too many calls wait.
fn pool_size(now: u64, queue: &QueueMetrics, concurrency: Option<f64>) -> Option<String> {
    let wanted = (concurrency? * HEADROOM).ceil().max(1.0) as u64;
    let misses = queue.waits as f64 / (queue.calls as f64).max(1.0);
    if misses > MISSES {
        let more = wanted.max(now + now.div_ceil(5));
        return Some(format!(
            "host.pool_size: {:.0} % of the calls waited for an instance; {more} instead of {now}.",
            misses * 100.0
        ));
    }
    (wanted > now).then(|| format!("host.pool_size: {wanted} instead of {now}, a fifth more than what runs at once."))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tapline_host_core::metrics::{Metrics, Outcome};

    use super::*;

    fn queue(calls: u64, waits: u64) -> QueueMetrics {
        let metrics = Metrics::new();
        let tap = metrics.tap("seo", "item_view");
        (0..calls).for_each(|_| tap.record(Outcome::Ok, Duration::ZERO));
        (0..waits).for_each(|_| metrics.queue_waited(Duration::from_millis(1)));
        metrics.queue_metrics().unwrap()
    }

    #[test]
    fn the_pool_follows_the_concurrency() {
        assert_eq!(pool_size(10, &queue(100, 0), Some(8.0)), None);
        assert_eq!(
            pool_size(10, &queue(100, 10), Some(10.0)).unwrap(),
            "host.pool_size: 12 instead of 10, a fifth more than what runs at once."
        );
        assert_eq!(
            pool_size(10, &queue(100, 11), Some(3.0)).unwrap(),
            "host.pool_size: 11 % of the calls waited for an instance; 12 instead of 10."
        );
        assert_eq!(pool_size(10, &queue(0, 0), None), None);
    }
}
