//! Medians, intervals and ratios of rounds.
//!
//! A run is divided into rounds, and in each round every arm has its turn. What one round says about one arm is one
//! number, the median of its calls in that turn. Calls of one turn are not independent of each other, rounds nearly are: so
//! intervals come from rounds.

/// How often the bootstrap draws.
const DRAWS: usize = 2000;

/// A median with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median of the rounds.
    pub value: f64,
    /// Where 2.5 % of the drawn medians lie below.
    pub low: f64,
    /// Where 2.5 % of the drawn medians lie above.
    pub high: f64,
}

impl Estimate {
    /// A number that was counted, and has no interval.
    #[must_use]
    pub fn exact(value: f64) -> Self {
        Self { value, low: value, high: value }
    }

    /// The same in another unit.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self { value: self.value * factor, low: self.low * factor, high: self.high * factor }
    }
}

/// The value below which `share` of the values lie, between neighbours in proportion. Of nothing it is 0.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// The middle value.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The median of rounds, with a percentile bootstrap. The same rounds always give the same interval.
#[must_use]
pub fn estimate(rounds: &[f64]) -> Estimate {
    let value = median(rounds);
    if rounds.len() < 2 {
        return Estimate::exact(value);
    }
    let mut random = Random::new(rounds.len() as u64);
    let mut draw = vec![0.0; rounds.len()];
    let mut medians = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        for value in &mut draw {
            *value = rounds[random.below(rounds.len())];
        }
        medians.push(median(&draw));
    }
    Estimate { value, low: quantile(&medians, 0.025), high: quantile(&medians, 0.975) }
}

/// How many times as large the first arm is as the second, round by round: what the machine did else in a round meets
/// both.
#[must_use]
pub fn ratio(first: &[f64], second: &[f64]) -> Estimate {
    estimate(&paired(first, second, |first, second| first / second))
}

/// What two arms come to, round by round.
#[must_use]
pub fn paired(first: &[f64], second: &[f64], combine: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    first.iter().zip(second).map(|(first, second)| combine(*first, *second)).collect()
}

/// Numbers that look random and are the same in each run: SplitMix64.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is small beside 2^64. 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % (limit.max(1) as u64)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_known_values() {
        let values = [4.0, 1.0, 3.0, 2.0, 5.0];
        assert_eq!(median(&values), 3.0);
        assert_eq!(median(&[1.0, 2.0, 3.0, 4.0]), 2.5);
        assert_eq!((quantile(&values, 0.0), quantile(&values, 1.0)), (1.0, 5.0));
        assert_eq!(quantile(&values, 0.25), 2.0);
        assert!((quantile(&values, 0.95) - 4.8).abs() < 1e-12);
        assert_eq!((median(&[]), median(&[7.0])), (0.0, 7.0));
    }

    #[test]
    fn an_interval_holds_its_median_and_narrows_with_more_rounds() {
        let mut random = Random::new(1);
        let mut draw = |count: usize| -> Vec<f64> { (0..count).map(|_| 100.0 + random.below(100) as f64).collect() };
        let (few, many) = (estimate(&draw(7)), estimate(&draw(700)));
        for estimate in [few, many] {
            assert!(estimate.low <= estimate.value && estimate.value <= estimate.high, "{estimate:?}");
            assert!((100.0..200.0).contains(&estimate.low) && estimate.high < 200.0, "{estimate:?}");
        }
        assert!(many.high - many.low < few.high - few.low, "{few:?} {many:?}");
        // The true median lies within the interval of 700 draws.
        assert!(many.low < 149.5 && 149.5 < many.high, "{many:?}");
    }

    #[test]
    fn rounds_without_spread_have_no_interval() {
        assert_eq!(estimate(&[3.0; 9]), Estimate::exact(3.0));
        assert_eq!(estimate(&[3.0]), Estimate::exact(3.0));
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The machine was ten times slower in the second round, for both.
        assert_eq!(ratio(&[10.0, 100.0, 12.0], &[2.0, 20.0, 2.4]), Estimate::exact(5.0));
    }

    #[test]
    fn the_same_rounds_give_the_same_interval() {
        let rounds = [5.0, 9.0, 7.0, 6.0, 8.0];
        assert_eq!(estimate(&rounds), estimate(&rounds));
    }
}
