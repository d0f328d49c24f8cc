//! Where a run of characters and classes first fits, in time that does not grow with the length of both.
//!
//! A short search tries place after place. A long one keeps, for each character of the row, one bit for every part up
//! to which the run fits there ("shift-and", Baeza-Yates and Gonnet 1992).

use super::gaps::{Fit, all};

/// As many parts as a word has bits.
const MOST: usize = u64::BITS as usize;

/// Up to this many comparisons there is nothing to be won.
const SHORT: usize = 2_048;

/// Characters whose parts are worked out once.
const ASCII: usize = 128;

/// The first place of the row from which on the run fits. `char_of` tells a place that is just one character.
pub(super) fn first<T: Fit<U>, U>(
    run: &[T],
    row: &[U],
    char_of: impl Fn(&U) -> Option<char>,
) -> Option<usize> {
    if run.len() > MOST || run.len().saturating_mul(row.len()) <= SHORT {
        return row.windows(run.len()).position(|row| all(run, row));
    }
    let parts_for = |place: &U| {
        let bits = run.iter().enumerate().filter(|(_, part)| part.fits(place));
        bits.fold(0_u64, |bits, (at, _)| bits | 1 << at)
    };
    let mut known = [None; ASCII];
    let last = 1_u64 << (run.len() - 1);
    let mut fitting = 0_u64;
    for (at, place) in row.iter().enumerate() {
        let slot = char_of(place).and_then(|c| known.get_mut(c as usize));
        let parts = match slot {
            Some(slot) => *slot.get_or_insert_with(|| parts_for(place)),
            None => parts_for(place),
        };
        fitting = ((fitting << 1) | 1) & parts;
        if fitting & last != 0 {
            return Some(at + 1 - run.len());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A part that counts what it is asked.
    struct Counted<'a>(Option<char>, &'a Cell<usize>);

    impl Fit<char> for Counted<'_> {
        fn fits(&self, c: &char) -> bool {
            self.1.set(self.1.get() + 1);
            self.0.is_none_or(|own| own == *c)
        }
    }

    /// A run, `?` for anything, in a row: where, and after how many comparisons.
    fn find(run: &str, row: &str) -> (Option<usize>, usize) {
        let steps = Cell::new(0);
        let run: Vec<Counted<'_>> = run.chars().map(|c| Counted((c != '?').then_some(c), &steps)).collect();
        let row: Vec<char> = row.chars().collect();
        (first(&run, &row, |c| Some(*c)), steps.get())
    }

    #[test]
    fn a_long_search_finds_what_a_short_one_does() {
        let words = ["ab", "aab", "a?b", "??", "ba?a", "aé", "é?a", "b"];
        let row: String = "aabaaéabbaéba".chars().cycle().take(40).collect();
        for word in words {
            let by_hand = row.chars().collect::<Vec<_>>();
            let run: Vec<char> = word.chars().collect();
            let fits = |at: &[char]| run.iter().zip(at).all(|(part, c)| *part == '?' || part == c);
            let expected = by_hand.windows(run.len()).position(fits);
            assert_eq!(find(word, &row).0, expected, "{word}, short");
            let (before, more) = ("x".repeat(40), "x".repeat(2_100));
            let far = find(word, &format!("{more}{row}{before}")).0;
            if !word.starts_with('?') {
                assert_eq!(far, expected.map(|at| at + 2_100), "{word}, long");
            } else {
                assert_eq!(far, Some(0), "{word}, long");
            }
        }
    }

    #[test]
    fn what_is_made_to_be_slow_is_not() {
        let run = format!("{}b", "a".repeat(MOST - 1));
        let (found, steps) = find(&run, &"a".repeat(1_024));
        assert_eq!(found, None);
        assert_eq!(steps, MOST, "each character once");
        let (found, steps) = find(&run, &format!("{}b", "a".repeat(1_023)));
        assert_eq!(found, Some(1_024 - MOST));
        assert_eq!(steps, 2 * MOST);
    }
}
