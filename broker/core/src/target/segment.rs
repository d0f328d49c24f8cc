//! One segment of a glob: which names it means.
//!
//! What can be a name: any characters but `/`, a backslash and control characters, and not `.` or `..`. That a name
//! is in Unicode NFC is not looked at: characters that only meet in another spelling count as met.

use super::gaps::{Fit, Gapped};
use super::search;
use crate::limits;

/// Code points in order, apart from each other, ends included.
type Ranges = Vec<(u32, u32)>;

/// What a name may be made of.
const ALLOWED: [(u32, u32); 5] =
    [(0x20, 0x2e), (0x30, 0x5b), (0x5d, 0x7e), (0xa0, 0xd7ff), (0xe000, 0x10_ffff)];
/// The same without the dot.
const NO_DOT: [(u32, u32); 5] =
    [(0x20, 0x2d), (0x30, 0x5b), (0x5d, 0x7e), (0xa0, 0xd7ff), (0xe000, 0x10_ffff)];

/// The names that a segment means. There is always one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Just this one.
    Exact(String),
    /// Any.
    Any,
    /// Those that fit one of the forms.
    Fits(Vec<Gapped<Class>>),
}

/// One character of a name, or several to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// This one.
    Char(char),
    /// Any.
    Any,
    /// One of these; there is one.
    Set(Ranges),
}

impl Segment {
    /// Reads a segment. It is not empty, nor `.` or `..`.
    pub(super) fn parse(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut parts = Vec::new();
        let (mut wild, mut bracketed, mut possible) = (false, false, true);
        let mut at = 0;
        while let Some(&c) = chars.get(at) {
            let (part, length) = match (c, class(&chars[at..])) {
                ('*', _) => (None, 1),
                ('?', _) => (Some(Class::Any), 1),
                ('[', Some((set, length))) => {
                    bracketed = true;
                    possible &= !set.is_empty();
                    (Some(Class::Set(set)), length)
                }
                _ => (Some(Class::Char(c)), 1),
            };
            wild |= matches!(c, '*' | '?');
            parts.push(part);
            at += length;
        }
        if !wild && !bracketed {
            return Self::Exact(text.to_owned());
        }
        if parts.iter().all(Option::is_none) {
            return Self::Any;
        }
        let mut forms = if possible { forms(parts) } else { Vec::new() };
        if bracketed {
            forms.push(Gapped::new(chars.into_iter().map(|c| Some(Class::Char(c)))));
        }
        Self::Fits(forms)
    }

    /// True when it is cheap to compare with a name of any length.
    pub(super) fn is_modest(&self) -> bool {
        let Self::Fits(forms) = self else { return true };
        let sets = |form: &Gapped<Class>| {
            let sets = form.parts().into_iter().flatten().filter_map(|class| match class {
                Class::Set(set) => Some(set.len()),
                Class::Char(_) | Class::Any => None,
            });
            sets.sum::<usize>()
        };
        forms.iter().all(|form| form.longest_run() <= limits::GLOB_RUN && sets(form) <= limits::GLOB_RANGES)
    }

    /// True when it means this name.
    pub(super) fn holds(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => text == name,
            Self::Any => true,
            Self::Fits(forms) => {
                let mut likely = forms.iter().filter(|form| may_hold(form, name)).peekable();
                if likely.peek().is_none() {
                    return false;
                }
                let name: Vec<char> = name.chars().collect();
                likely.any(|form| form.holds(&name))
            }
        }
    }

    /// True when some name is meant by both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Exact(name), segment) | (segment, Self::Exact(name)) => segment.holds(name),
            (Self::Fits(ours), Self::Fits(theirs)) => {
                ours.iter().any(|our| theirs.iter().any(|their| our.meets(their)))
            }
        }
    }

    /// True when it plainly means all names that the other means.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Exact(name)) => self.holds(name),
            (_, Self::Any | Self::Fits(_)) => self == other,
        }
    }
}

impl Fit<Segment> for Segment {
    fn fits(&self, other: &Segment) -> bool {
        self.meets(other)
    }
}

impl Fit<&str> for Segment {
    fn fits(&self, name: &&str) -> bool {
        self.holds(name)
    }
}

impl Fit<char> for Class {
    fn fits(&self, c: &char) -> bool {
        match self {
            Self::Char(own) => own == c,
            Self::Any => true,
            Self::Set(set) => has(set, *c),
        }
    }

    fn find(run: &[Self], name: &[char]) -> Option<usize> {
        search::first(run, name, |c| Some(*c))
    }
}

impl Fit<Class> for Class {
    fn fits(&self, other: &Class) -> bool {
        self.meets(other)
    }

    fn find(run: &[Self], row: &[Class]) -> Option<usize> {
        search::first(run, row, |class| match class {
            Class::Char(c) => Some(*c),
            Class::Any | Class::Set(_) => None,
        })
    }
}

impl Class {
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::Char(a), Self::Char(b)) => a == b,
            (Self::Char(c), Self::Set(set)) | (Self::Set(set), Self::Char(c)) => has(set, *c),
            (Self::Set(a), Self::Set(b)) => overlaps(a, b).next().is_some(),
        }
    }

    fn has_dot(&self) -> bool {
        self.meets(&Self::Char('.'))
    }

    fn without_dot(&self) -> Option<Self> {
        let set = match self {
            Self::Char('.') => return None,
            Self::Char(c) => return Some(Self::Char(*c)),
            Self::Any => NO_DOT.to_vec(),
            Self::Set(set) => common(set, &NO_DOT),
        };
        (!set.is_empty()).then_some(Self::Set(set))
    }
}

/// False only if a form does not fit a name, as its two ends show: most do not.
fn may_hold(form: &Gapped<Class>, name: &str) -> bool {
    let fits = |(class, c): (&Class, char)| class.fits(&c);
    form.tail().iter().rev().zip(name.chars().rev()).all(fits)
        && form.head().iter().zip(name.chars()).all(fits)
}

/// The forms of a segment: it alone, unless it could be `.` or `..`, which are no names. Where it has a gap there is
/// room for something that makes it a name, so only the others need care.
fn forms(parts: Vec<Option<Class>>) -> Vec<Gapped<Class>> {
    let row: Option<Vec<&Class>> = parts.iter().map(Option::as_ref).collect();
    match row.as_deref() {
        Some([one]) if one.has_dot() => {
            one.without_dot().map(|one| Gapped::new([Some(one)])).into_iter().collect()
        }
        Some([one, two]) if one.has_dot() && two.has_dot() => {
            let first = one.without_dot().map(|one| [Some(one), Some((*two).clone())]);
            let second = two.without_dot().map(|two| [Some((*one).clone()), Some(two)]);
            first.into_iter().chain(second).map(Gapped::new).collect()
        }
        _ => vec![Gapped::new(parts)],
    }
}

/// The class in brackets that the text begins with, and its length; none if no bracket closes it.
fn class(text: &[char]) -> Option<(Ranges, usize)> {
    let ('[', inner) = text.split_first()? else { return None };
    let negated = matches!(inner.first(), Some('!' | '^'));
    let start = 1 + usize::from(negated);
    // A bracket that comes first is meant itself.
    let end = start + 1 + text.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let mut set = Ranges::new();
    let mut rest = &text[start..end];
    while let Some((&first, after)) = rest.split_first() {
        let (last, after) = match after {
            ['-', last, after @ ..] => (*last, after),
            _ => (first, after),
        };
        // A range that runs backwards means nothing.
        if first <= last {
            set.push((u32::from(first), u32::from(last)));
        }
        rest = after;
    }
    set.sort_unstable();
    let set = if negated { others(&set) } else { joined(&set) };
    Some((common(&set, &ALLOWED), end + 1))
}

fn has(set: &[(u32, u32)], c: char) -> bool {
    let code = u32::from(c);
    set.iter().any(|&(from, to)| from <= code && code <= to)
}

/// Sorted ranges, those that touch made one.
fn joined(sorted: &[(u32, u32)]) -> Ranges {
    let mut out = Ranges::new();
    for &(from, to) in sorted {
        match out.last_mut() {
            Some(last) if from <= last.1 + 1 => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out
}

/// All code points that are not in the sorted ranges.
fn others(sorted: &[(u32, u32)]) -> Ranges {
    let mut out = Ranges::new();
    let mut next = 0;
    for (from, to) in joined(sorted) {
        if next < from {
            out.push((next, from - 1));
        }
        next = to + 1;
    }
    if next <= 0x10_ffff {
        out.push((next, 0x10_ffff));
    }
    out
}

/// What is in both.
fn common(a: &[(u32, u32)], b: &[(u32, u32)]) -> Ranges {
    overlaps(a, b).collect()
}

/// The ranges that are in both.
fn overlaps(a: &[(u32, u32)], b: &[(u32, u32)]) -> impl Iterator<Item = (u32, u32)> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    std::iter::from_fn(move || {
        while let (Some(&&(a_from, a_to)), Some(&&(b_from, b_to))) = (a.peek(), b.peek()) {
            if a_to < b_to {
                a.next();
            } else {
                b.next();
            }
            let (from, to) = (a_from.max(b_from), a_to.min(b_to));
            if from <= to {
                return Some((from, to));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meet(a: &str, b: &str) -> bool {
        let (a, b) = (Segment::parse(a), Segment::parse(b));
        assert_eq!(a.meets(&b), b.meets(&a), "{a:?} {b:?}");
        a.meets(&b)
    }

    #[test]
    fn names_fit() {
        for (pattern, name, expected) in [
            ("*", ".x", true),
            ("*.rs", "a.rs", true),
            ("*.rs", ".rs", true),
            ("a?c", "abc", true),
            ("a?c", "a\u{1d160}c", true),
            ("a?c", "ac", false),
            ("a**c", "ac", true),
            ("[a-c]", "b", true),
            ("[a-c]", "d", false),
            ("[!a-c]", "d", true),
            ("[^a-c]", "a", false),
            ("[]a]", "]", true),
            ("[!]a]", "b", true),
            ("[a-]", "-", true),
            ("[-a]", "-", true),
            ("[a]]", "a]", true),
            ("[z-a]", "m", false),
            ("[z-a]", "[z-a]", true),
            ("[slug].tsx", "[slug].tsx", true),
            ("[slug].tsx", "s.tsx", true),
            ("[[...slug]].tsx", "[[...slug]].tsx", true),
            ("[ab]*", "[ab]*", true),
            ("[ab]*", "[ab]x", false),
            ("[!ä]", "ä", false),
        ] {
            assert_eq!(Segment::parse(pattern).holds(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_closes_nothing_is_plain_text() {
        for text in ["[", "a[b", "[]", "[!]", "[^]", "a]b", "[!", "x[]y", "{a}", "-"] {
            assert_eq!(Segment::parse(text), Segment::Exact(text.to_owned()));
        }
        assert_eq!(Segment::parse("***"), Segment::Any);
    }

    #[test]
    fn what_is_no_name_is_nothing_in_common() {
        assert!(!meet("?", "[.]"), "only `.` fits both");
        assert!(!meet("??", "[.][.]"), "only `..` fits both");
        assert!(meet("??", "[.][.a]"));
        assert!(meet("*", "?"));
        assert!(!meet("*[.]", "[.]"));
        assert!(!meet("[Z-^]", "[!]Z[^]"), "only a backslash fits both");
        assert!(!meet("[.-0]", "[!.0]"), "only `/` fits both");
        assert!(!meet("[!\0-\u{d7ff}]", "[!\u{e000}-\u{10ffff}]"), "only half a character fits both");
    }
}
