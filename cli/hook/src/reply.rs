//! What a hook answers.

use std::borrow::Cow;

/// The longest text for a model or a user, in UTF-16 code units: what Claude Code takes before it moves the text into
/// a file. Longer ones are cut, for every host.
pub const CONTEXT_LIMIT: usize = 10_000;

/// What a hook has to say. Parts that the host cannot express at this event are dropped, except where its module
/// names a nearest thing; [`crate::Host::takes_context`] and [`crate::Host::takes_ask`] tell beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Whether the tool may be used. Of meaning at [`crate::Event::BeforeTool`] only.
    pub verdict: Verdict,
    /// For the model. It goes along with a denial, or a reason to go on, where the host has no other way.
    pub context: Option<String>,
    /// Do not stop, for this reason. Of meaning at [`crate::Event::Stop`] only.
    pub go_on: Option<String>,
    /// For the user.
    pub notice: Option<String>,
    /// Name of the session. Of meaning at [`crate::Event::SessionStart`] only.
    pub title: Option<String>,
}

/// Whether a tool may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// The hook says nothing: the host decides as if there were no hook.
    #[default]
    Pass,
    /// No, for this reason, which the model reads.
    Deny(String),
    /// The user decides, and reads this reason. A host without that denies, and tells the model to ask the user.
    Ask(String),
}

/// What the process of a hook leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, without a newline at its end.
    pub stderr: String,
    /// Exit code.
    pub code: u8,
}

/// `text` without blanks at its ends and within the limit, or `None` if nothing is left.
pub(crate) fn said(text: Option<&str>) -> Option<Cow<'_, str>> {
    let text = text?.trim();
    (!text.is_empty()).then(|| cut(text))
}

/// Several texts as one, a blank line between them.
pub(crate) fn joined<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Option<String> {
    let texts: Vec<&str> = texts.into_iter().flatten().map(str::trim).filter(|t| !t.is_empty()).collect();
    (!texts.is_empty()).then(|| cut(&texts.join("\n\n")).into_owned())
}

fn cut(text: &str) -> Cow<'_, str> {
    const NOTE: &str = "\n[cut here: the text was too long]";
    let units = |s: &str| s.encode_utf16().count();
    // A byte is never less than a unit: most texts need no counting.
    if text.len() <= CONTEXT_LIMIT || units(text) <= CONTEXT_LIMIT {
        return Cow::Borrowed(text);
    }
    let mut left = CONTEXT_LIMIT - units(NOTE);
    let kept = text.char_indices().find_map(|(at, c)| match left.checked_sub(c.len_utf16()) {
        Some(rest) => {
            left = rest;
            None
        }
        None => Some(at),
    });
    Cow::Owned(format!("{}{NOTE}", &text[..kept.unwrap_or(text.len())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        for filler in ["a", "é", "😀"] {
            let text = filler.repeat(CONTEXT_LIMIT);
            let cut = said(Some(&text)).unwrap();
            let longer = said(Some(&format!("{text}{text}"))).unwrap().into_owned();
            assert!(longer.encode_utf16().count() <= CONTEXT_LIMIT, "{filler}");
            assert!(longer.encode_utf16().count() > CONTEXT_LIMIT - 2, "{filler}");
            assert!(longer.ends_with("too long]") && longer.starts_with(filler), "{filler}");
            assert_eq!(cut.ends_with("too long]"), filler == "😀", "{filler}");
        }
    }

    #[test]
    fn blank_texts_are_nothing() {
        assert_eq!(said(None), None);
        assert_eq!(said(Some(" \n")), None);
        assert_eq!(joined([Some(" "), None]), None);
        assert_eq!(joined([Some("a "), None, Some("b")]).as_deref(), Some("a\n\nb"));
    }
}
