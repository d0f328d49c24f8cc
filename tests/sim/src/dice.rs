//! Choices that can be made again: SplitMix64.

/// A source of choices.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// What follows from a seed, for one purpose or person of it.
    #[must_use]
    pub fn of(seed: u64, purpose: &str) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for byte in purpose.bytes() {
            dice = Self(dice.roll() ^ u64::from(byte));
        }
        dice
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % (high - low + 1)
    }

    /// True so many times out of ten thousand.
    pub fn happens(&mut self, per_myriad: u64) -> bool {
        self.roll() % 10_000 < per_myriad
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = usize::try_from(self.roll() % from.len() as u64).unwrap_or_default();
        &from[at]
    }

    /// A duration of so many milliseconds, both bounds included.
    pub fn millis(&mut self, low: u64, high: u64) -> std::time::Duration {
        std::time::Duration::from_millis(self.within(low, high))
    }
}
