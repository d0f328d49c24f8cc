//! Choices that can be made again: SplitMix64.

/// A source of choices.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Of this source, one for somebody whom the numbers name.
    pub(super) fn of(seed: u64, numbers: [u64; 2]) -> Self {
        let mut rng = Self::new(seed);
        for number in numbers {
            rng = Self::new(rng.next() ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        rng
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below a number, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(super) fn is_heads(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
