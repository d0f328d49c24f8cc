//! Targets at random, the same for the same seed.

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(super) fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// Some of the choices, joined.
    pub(super) fn joined(&mut self, choices: &[&str], most: usize, separator: &str) -> String {
        let count = 1 + self.below(most);
        (0..count).map(|_| self.of(choices)).collect::<Vec<_>>().join(separator)
    }
}

/// Names and patterns whose common names are among [`super::enumerated::NAMES`].
const NAMES: &[&str] = &["a", "b", "ab"];
const SEGMENTS: &[&str] = &[
    "a", "b", "ab", "*", "?", "a*", "*b", "?b", "[ab]", "[!a]", "[^b]", "[a-b]b", "**", "**", "{a,b}",
    "{a,[ab]}", "{*b,c}", "{a/b,b}", "{**,a}", "{a,b/}", "{a/*,b}", "{a,a/b}",
];
const SYMBOLS: &[&str] = &["A", "B"];
const SUBJECTS: &[&str] = &["x", "y", "*"];

/// The text of a target of any kind; not all of them are taken. No path of it need be deeper than three.
pub(super) fn text(random: &mut Random) -> String {
    loop {
        let text = match random.below(10) {
            0 | 1 => random.joined(NAMES, 3, "/"),
            2 => random.joined(NAMES, 2, "/") + "/",
            3 => random.joined(NAMES, 2, "/") + "#" + &random.joined(SYMBOLS, 2, "::"),
            4 => "ab:".to_owned() + &random.joined(SUBJECTS, 3, "/"),
            5 => random.joined(SEGMENTS, 2, "/") + "/",
            _ => random.joined(SEGMENTS, 3, "/"),
        };
        if text.matches('/').count() <= 2 {
            return text;
        }
    }
}
