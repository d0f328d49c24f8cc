//! Braces multiplied out, as bash does it: before anything else is read, nested, and across `/`.
//!
//! A brace that is not closed, or that holds no comma of its own, is ordinary text.

use std::collections::BTreeMap;

use crate::limits;

/// What a character does to the braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Open,
    Comma,
    Close,
}

/// A text, and which of its characters are braces that stand for several texts.
#[derive(Clone, Debug)]
pub(super) struct Braced<'a> {
    text: &'a str,
    marks: BTreeMap<usize, Mark>,
}

impl<'a> Braced<'a> {
    /// Finds the braces.
    pub(super) fn of(text: &'a str) -> Self {
        let mut marks = BTreeMap::new();
        let mut open: Vec<(usize, Vec<usize>)> = Vec::new();
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                b'{' => open.push((at, Vec::new())),
                b',' => open.last_mut().into_iter().for_each(|(_, commas)| commas.push(at)),
                b'}' => {
                    let Some((from, commas)) = open.pop() else { continue };
                    if !commas.is_empty() {
                        marks.extend([(from, Mark::Open), (at, Mark::Close)]);
                        marks.extend(commas.into_iter().map(|comma| (comma, Mark::Comma)));
                    }
                }
                _ => {}
            }
        }
        Self { text, marks }
    }

    /// True when it stands for itself alone.
    pub(super) fn is_plain(&self) -> bool {
        self.marks.is_empty()
    }

    /// The segments, those `/` left out that are inside braces.
    pub(super) fn segments(&self) -> Vec<&'a str> {
        let mut segments = Vec::new();
        let (mut depth, mut from) = (0_usize, 0);
        for (at, byte) in self.text.bytes().enumerate() {
            match self.marks.get(&at) {
                Some(Mark::Open) => depth += 1,
                Some(Mark::Close) => depth -= 1,
                Some(Mark::Comma) => {}
                None if byte == b'/' && depth == 0 => {
                    segments.push(&self.text[from..at]);
                    from = at + 1;
                }
                None => {}
            }
        }
        segments.push(&self.text[from..]);
        segments
    }

    /// All texts it stands for; none when they are more than a glob may have.
    pub(super) fn multiplied_out(&self) -> Option<Vec<String>> {
        let mut outer: Vec<Branches> = Vec::new();
        let mut inner = Branches::new();
        let mut from = 0;
        for (&at, mark) in &self.marks {
            inner.append(&self.text[from..at]);
            from = at + 1;
            match mark {
                Mark::Open => outer.push(std::mem::replace(&mut inner, Branches::new())),
                Mark::Comma => inner.next_branch()?,
                Mark::Close => {
                    inner.next_branch()?;
                    let around = outer.pop().expect("a brace that closes was opened");
                    inner = around.times(&inner.done)?;
                }
            }
        }
        inner.append(&self.text[from..]);
        Some(inner.current)
    }
}

/// The texts so far of the innermost open brace.
struct Branches {
    /// Those of the branches before.
    done: Vec<String>,
    /// Those of the branch being read, never none.
    current: Vec<String>,
}

impl Branches {
    fn new() -> Self {
        Self { done: Vec::new(), current: vec![String::new()] }
    }

    fn append(&mut self, text: &str) {
        self.current.iter_mut().for_each(|branch| branch.push_str(text));
    }

    fn next_branch(&mut self) -> Option<()> {
        self.done.append(&mut self.current);
        self.current.push(String::new());
        (self.done.len() <= limits::GLOB_ALTERNATIVES).then_some(())
    }

    fn times(self, endings: &[String]) -> Option<Self> {
        // Nothing makes them fewer later, so too many here are too many in the end.
        if self.current.len() * endings.len() > limits::GLOB_ALTERNATIVES {
            return None;
        }
        let both = |start: &String| endings.iter().map(|end| format!("{start}{end}")).collect::<Vec<_>>();
        Some(Self { current: self.current.iter().flat_map(both).collect(), done: self.done })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &str) -> Vec<String> {
        Braced::of(text).multiplied_out().expect(text)
    }

    #[test]
    fn braces_multiply_out_as_in_bash() {
        for (text, expected) in [
            ("a{b,c}d", vec!["abd", "acd"]),
            ("{a,b}{c,d}", vec!["ac", "ad", "bc", "bd"]),
            ("a{b,c{d,e}}f", vec!["abf", "acdf", "acef"]),
            ("x{,y}", vec!["x", "xy"]),
            ("{a/b,c}/d", vec!["a/b/d", "c/d"]),
            ("{a}", vec!["{a}"]),
            ("{}", vec!["{}"]),
            ("{{a,b}}", vec!["{a}", "{b}"]),
            ("{a,{b}}", vec!["a", "{b}"]),
            ("{a,b", vec!["{a,b"]),
            ("{a,{b,c}", vec!["{a,b", "{a,c"]),
            ("a,b}", vec!["a,b}"]),
            ("{a,b}}", vec!["a}", "b}"]),
        ] {
            assert_eq!(out(text), expected, "{text}");
        }
    }

    #[test]
    fn segments_end_outside_of_braces() {
        assert_eq!(Braced::of("a/{b/c,d}/e/").segments(), ["a", "{b/c,d}", "e", ""]);
        assert_eq!(Braced::of("{a/b}").segments(), ["{a", "b}"]);
    }

    #[test]
    fn too_many_texts_are_refused_before_they_are_made() {
        let pairs = |count: usize| "{a,b}".repeat(count);
        assert_eq!(out(&pairs(6)).len(), 64);
        for hostile in
            [pairs(7), pairs(200), format!("{{{}}}", "a,".repeat(64)), "{a,".repeat(340) + &"}".repeat(340)]
        {
            assert!(Braced::of(&hostile).multiplied_out().is_none(), "{hostile}");
        }
    }

    #[test]
    fn deep_nesting_is_read() {
        assert_eq!(out(&("{".repeat(512) + &"}".repeat(512))).len(), 1);
        assert_eq!(out(&("{a,".repeat(63) + "b" + &"}".repeat(63))).len(), 64);
    }
}
