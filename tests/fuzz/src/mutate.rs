//! Mutations from a seed, for the runs that no coverage guides.

/// Makes inputs from inputs; the same seed makes the same ones.
#[derive(Debug)]
pub struct Mutator(u64);

/// Bytes at which things turn.
const EDGES: [u8; 12] = [0, 1, 2, 7, 8, 0x1b, b'"', b'\\', b'\n', 0x7f, 0x80, 0xff];

impl Mutator {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap_or_default()
    }

    /// A new input of at most `most` bytes from those that there are.
    pub fn mutate(&mut self, pool: &[Vec<u8>], words: &[&str], most: usize) -> Vec<u8> {
        let mut bytes = pool.get(self.below(pool.len())).cloned().unwrap_or_default();
        for _ in 0..1 + self.below(6) {
            self.step(&mut bytes, pool, words);
        }
        bytes.truncate(most);
        bytes
    }

    fn step(&mut self, bytes: &mut Vec<u8>, pool: &[Vec<u8>], words: &[&str]) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(17)).min(bytes.len());
        match self.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = EDGES[self.below(EDGES.len())],
            2 => drop(bytes.drain(at..end)),
            3 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            4 => bytes.truncate(at),
            5 => {
                let other = pool.get(self.below(pool.len())).cloned().unwrap_or_default();
                let from = self.below(other.len() + 1);
                let to = (from + self.below(65)).min(other.len());
                drop(bytes.splice(at..end, other[from..to].iter().copied()));
            }
            6 if !words.is_empty() => {
                let word = words[self.below(words.len())];
                drop(bytes.splice(at..end, word.bytes()));
            }
            _ => {
                let byte = u8::try_from(self.below(256)).unwrap_or_default();
                bytes.insert(at, byte);
            }
        }
    }
}
