//! Runs of parts with gaps between them, and whether two such patterns have something in common.
//!
//! A segment is runs of characters with `*` between them, a path is runs of segments with `**` between them, and both
//! ask the same question. It needs no search. When both have gaps, only what they begin and end with can clash: what
//! either wants in between fits into the other's gap. When one has none, its length is given and each place is free of
//! the others, so every run may take the first place where it fits.

/// A part of a pattern, by what it fits.
pub(super) trait Fit<Place> {
    /// True when it fits a place; of a place that is a part itself, when something fits both.
    fn fits(&self, place: &Place) -> bool;

    /// The first place from which on a run of parts fits. The run is not empty.
    fn find(run: &[Self], row: &[Place]) -> Option<usize>
    where
        Self: Sized,
    {
        row.windows(run.len()).position(|row| all(run, row))
    }
}

/// True when each part fits the place opposite.
pub(super) fn all<T: Fit<U>, U>(run: &[T], row: &[U]) -> bool {
    run.iter().zip(row).all(|(part, place)| part.fits(place))
}

/// Runs of parts; between two runs there may be anything. `a*bc*d` is the runs `a`, `bc` and `d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gapped<T> {
    /// What it begins with; all of it, if it has no gap.
    head: Vec<T>,
    /// The runs between two gaps, none of them empty.
    middle: Vec<Vec<T>>,
    /// What it ends with; none if it has no gap.
    tail: Option<Vec<T>>,
}

impl<T> Gapped<T> {
    /// Takes parts and gaps (`None`) as they follow each other.
    pub(super) fn new(parts: impl IntoIterator<Item = Option<T>>) -> Self {
        let mut head = Vec::new();
        let mut runs: Vec<Vec<T>> = Vec::new();
        for part in parts {
            match part {
                Some(part) => runs.last_mut().unwrap_or(&mut head).push(part),
                None => runs.push(Vec::new()),
            }
        }
        let tail = runs.pop();
        runs.retain(|run| !run.is_empty());
        Self { head, middle: runs, tail }
    }

    /// What it begins with, up to the first gap.
    pub(super) fn head(&self) -> &[T] {
        &self.head
    }

    /// What it ends with, from the last gap on; all of it, if it has none.
    pub(super) fn tail(&self) -> &[T] {
        self.tail.as_ref().unwrap_or(&self.head)
    }

    /// All parts, if it has no gap.
    pub(super) fn whole(&self) -> Option<&[T]> {
        self.tail.is_none().then_some(&self.head)
    }

    /// Parts and gaps as they follow each other.
    pub(super) fn parts(&self) -> Vec<Option<&T>> {
        let mut parts: Vec<Option<&T>> = self.head.iter().map(Some).collect();
        for run in self.middle.iter().chain(&self.tail) {
            parts.push(None);
            parts.extend(run.iter().map(Some));
        }
        parts
    }

    /// How many parts its longest run between two gaps has.
    pub(super) fn longest_run(&self) -> usize {
        self.middle.iter().map(Vec::len).max().unwrap_or_default()
    }

    /// True when something fits both. For each part there must be something that fits it.
    pub(super) fn meets(&self, other: &Self) -> bool
    where
        T: Fit<T>,
    {
        match (&self.tail, &other.tail) {
            (_, None) => self.holds(&other.head),
            (None, Some(_)) => other.holds(&self.head),
            (Some(ours), Some(theirs)) => {
                all(&self.head, &other.head)
                    && ours.iter().rev().zip(theirs.iter().rev()).all(|(a, b)| a.fits(b))
            }
        }
    }

    /// True when this row of parts fits.
    pub(super) fn holds<U>(&self, row: &[U]) -> bool
    where
        T: Fit<U>,
    {
        let Some(tail) = &self.tail else {
            return self.head.len() == row.len() && all(&self.head, row);
        };
        let Some(room) = row.len().checked_sub(self.head.len() + tail.len()) else { return false };
        let (front, rest) = row.split_at(self.head.len());
        let (mut rest, back) = rest.split_at(room);
        if !all(&self.head, front) || !all(tail, back) {
            return false;
        }
        for run in &self.middle {
            let Some(at) = T::find(run, rest) else { return false };
            rest = &rest[at + run.len()..];
        }
        true
    }

    /// True when something longer than this row fits that begins with it.
    pub(super) fn goes_on_after<U>(&self, row: &[U]) -> bool
    where
        T: Fit<U>,
    {
        (self.tail.is_some() || self.head.len() > row.len()) && all(&self.head, row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Fit<char> for char {
        fn fits(&self, place: &char) -> bool {
            self == place
        }
    }

    fn pattern(text: &str) -> Gapped<char> {
        Gapped::new(text.chars().map(|c| (c != '*').then_some(c)))
    }

    fn fits(pattern: &[u8], word: &[u8]) -> bool {
        match pattern {
            [] => word.is_empty(),
            [b'*', rest @ ..] => (0..=word.len()).any(|skip| fits(rest, &word[skip..])),
            [c, rest @ ..] => word.first() == Some(c) && fits(rest, &word[1..]),
        }
    }

    fn words_of(letters: &str, longest: usize) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut from = 0;
        for _ in 0..longest {
            let end = words.len();
            let longer = |word: &String| letters.chars().map(|c| format!("{word}{c}")).collect::<Vec<_>>();
            words.extend(words[from..].iter().flat_map(longer).collect::<Vec<_>>());
            from = end;
        }
        words
    }

    #[test]
    fn all_short_patterns_meet_where_a_word_fits_both() {
        // Two patterns of five parts have a common word of eight, if any.
        let words = words_of("ab", 8);
        let patterns: Vec<(String, Gapped<char>, Vec<bool>)> = words_of("ab*", 5)
            .into_iter()
            .map(|text| {
                let fitting = words.iter().map(|word| fits(text.as_bytes(), word.as_bytes())).collect();
                let pattern = pattern(&text);
                (text, pattern, fitting)
            })
            .collect();
        for (a, ours, of_a) in &patterns {
            for (b, theirs, of_b) in &patterns {
                let common = of_a.iter().zip(of_b).any(|(a, b)| *a && *b);
                assert_eq!(ours.meets(theirs), common, "{a} {b}");
            }
        }
    }
}
