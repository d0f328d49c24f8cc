//! The log of `strace -f -y -xx`, parsed strictly: a line that is not understood is an error.
//!
//! Owns the joining of calls that were written in two parts, since other threads called between. A call has the lines
//! at which it began and ended; what it did happened somewhere between.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// One system call that has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments as text.
    pub args: String,
    /// What it returned as text, the annotation of a descriptor included.
    pub returned: String,
    /// Line at which it began.
    pub start: usize,
    /// Line at which it had returned.
    pub end: usize,
}

/// Parses a whole log. Calls that never returned, as the process was killed, are left out; they come back in `cut_off`.
pub fn parse(text: &str) -> Result<Trace> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: BTreeMap<&str, (String, String, usize)> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        parse_line(number, line, &mut calls, &mut open).with_context(|| {
            let shown: String = line.chars().take(200).collect();
            format!("line {} of the trace: {shown}", number + 1)
        })?;
    }
    let end = text.lines().count();
    // A thread that is killed in a call is said to return `?`, or nothing at all.
    let (mut cut_off, mut calls): (Vec<Call>, Vec<Call>) =
        calls.into_iter().partition(|call| call.returned.starts_with('?'));
    let silent = open.into_values();
    cut_off.extend(silent.map(|(name, args, start)| Call { name, args, returned: "?".into(), start, end }));
    calls.sort_by_key(|call| call.end);
    Ok(Trace { calls, cut_off, lines: end })
}

/// A log of one process and its threads.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Every call that returned, by its end.
    pub calls: Vec<Call>,
    /// Calls that were under way when the process ended.
    pub cut_off: Vec<Call>,
    /// How many lines there are.
    pub lines: usize,
}

fn parse_line<'a>(
    number: usize,
    line: &'a str,
    calls: &mut Vec<Call>,
    open: &mut BTreeMap<&'a str, (String, String, usize)>,
) -> Result<()> {
    let (pid, rest) = line.split_once(' ').context("no process id")?;
    ensure!(pid.bytes().all(|byte| byte.is_ascii_digit()), "no process id");
    let rest = rest.trim_start();
    if rest.starts_with("+++") || rest.starts_with("---") {
        return Ok(());
    }
    if let Some(resumed) = rest.strip_prefix("<... ") {
        let (name, rest) = resumed.split_once(" resumed>").context("what is resumed?")?;
        let (begun, args, start) = open.remove(pid).context("it never began")?;
        ensure!(begun == name, "{begun} was under way");
        let (more, returned) = split_result(rest)?;
        calls.push(Call { name: begun, args: args + more, returned, start, end: number });
        return Ok(());
    }
    let (name, rest) = rest.split_once('(').context("no call")?;
    if let Some(args) = rest.strip_suffix("<unfinished ...>") {
        let before = open.insert(pid, (name.into(), args.into(), number));
        ensure!(before.is_none(), "{before:?} is under way in the same thread");
        return Ok(());
    }
    let (args, returned) = split_result(rest)?;
    calls.push(Call { name: name.into(), args: args.into(), returned, start: number, end: number });
    Ok(())
}

/// Splits `arguments) = result`.
fn split_result(rest: &str) -> Result<(&str, String)> {
    let (args, returned) = rest
        .rsplit_once(") = ")
        .or_else(|| {
            // The log aligns results: `)      = 0`.
            let (args, returned) = rest.rsplit_once(" = ")?;
            Some((args.trim_end().strip_suffix(')')?, returned))
        })
        .context("no result")?;
    Ok((args, returned.to_owned()))
}

impl Call {
    /// The result as a number; an error is none.
    #[must_use]
    pub fn result(&self) -> Option<u64> {
        let digits = self.returned.split(['<', ' ']).next().unwrap_or_default();
        digits.parse().ok()
    }

    /// The descriptor that is the first argument, and what it is of.
    pub fn descriptor(&self) -> Result<(u64, Vec<u8>)> {
        descriptor(&self.args)
    }

    /// The descriptor that it returned, and what it is of.
    pub fn returned_descriptor(&self) -> Result<(u64, Vec<u8>)> {
        descriptor(&self.returned)
    }

    /// All strings among the arguments, in order.
    pub fn strings(&self) -> Result<Vec<Vec<u8>>> {
        let mut strings = Vec::new();
        let mut rest = self.args.as_str();
        while let Some((_, after)) = rest.split_once('"') {
            let (text, after) = after.split_once('"').context("a string does not end")?;
            ensure!(!after.starts_with("..."), "a string is cut: raise strace's -s");
            strings.push(unhex(text)?);
            rest = after;
        }
        Ok(strings)
    }

    /// The bytes that it wrote or read, as many as it says it did.
    pub fn data(&self) -> Result<Vec<u8>> {
        let length = usize::try_from(self.result().context("it failed")?)?;
        let mut data = self.strings()?.concat();
        ensure!(data.len() >= length, "{} says {length} and shows {}", self.name, data.len());
        data.truncate(length);
        Ok(data)
    }

    /// The argument of this number, from 0, when no argument before it is a list or holds a comma.
    pub fn argument(&self, number: usize) -> Result<&str> {
        self.args.split(", ").nth(number).with_context(|| format!("{} has no argument {number}", self.name))
    }
}

/// `12<\x2f\x74>`
fn descriptor(text: &str) -> Result<(u64, Vec<u8>)> {
    let (number, rest) = text.split_once('<').context("no descriptor")?;
    let (name, _) = rest.split_once('>').context("a descriptor of nothing")?;
    Ok((number.parse().context("no number of a descriptor")?, unhex(name)?))
}

/// What `-xx` writes: every byte as `\x2f`.
fn unhex(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    while let [b'\\', b'x', high, low, after @ ..] = rest {
        let digit = |byte: &u8| char::from(*byte).to_digit(16).context("no hexadecimal digit");
        bytes.push(u8::try_from(digit(high)? << 4 | digit(low)?)?);
        rest = after;
    }
    if !rest.is_empty() {
        bail!("not hexadecimal: {}", String::from_utf8_lossy(rest));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_two_parts_are_joined_and_strings_are_read() {
        let text = "7  pwrite64(12<\\x2f\\x61>, \"\\x01\\x02\", 2, 96 <unfinished ...>\n\
                    8  fdatasync(13<\\x2f\\x61>) = 0\n\
                    7  <... pwrite64 resumed>)           = 2\n\
                    8  openat(AT_FDCWD<\\x2f>, \"\\x61\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
                    9  +++ killed by SIGKILL +++\n";
        let trace = parse(text).unwrap();
        let [sync, write, open] = trace.calls.as_slice() else { panic!("{trace:?}") };
        assert_eq!((write.start, write.end, write.result()), (0, 2, Some(2)));
        assert_eq!(write.descriptor().unwrap(), (12, b"/a".to_vec()));
        assert_eq!(write.data().unwrap(), [1, 2]);
        assert_eq!(write.argument(3).unwrap().trim(), "96");
        assert_eq!((sync.start, sync.name.as_str()), (1, "fdatasync"));
        assert_eq!(open.result(), None);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(parse("7  write(1<\\x61>, \"\\x01\"").is_err());
        let cut = parse("7  write(1<\\x61>, \"\\x01\"..., 900) = 900\n").unwrap();
        assert!(cut.calls[0].data().is_err(), "a cut string is no data");
    }
}
