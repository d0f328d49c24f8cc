//! The form of a scope's name.
//!
//! Owns the scope grammar: 1 to 256 bytes of `[a-z0-9._~/@+-]`, in `/`-separated segments none of which is
//! empty, `.` or `..`. What comes out of here always satisfies it, whatever goes in, and is the same on every
//! machine and in every version: it is a name under which clones must meet.
//!
//! A byte outside the grammar becomes `+` and two hexadecimal digits. A `+` itself is written that way only
//! where it would read as such an escape, so `c++` stays `c++` and no two texts share an encoding.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// Longest slug, in bytes.
const MAX_BYTES: usize = 256;

/// The slug of segments whose letter case does not matter.
pub(super) fn folded<S: AsRef<[u8]>>(segments: &[S]) -> String {
    let slug = encode(segments);
    if slug.len() <= MAX_BYTES { slug } else { marked(slug, segments) }
}

/// The slug of segments that differ when their letter case differs: folded too, as the grammar has no capitals,
/// but marked with a hash of the original where folding changed something.
pub(super) fn exact<S: AsRef<[u8]>>(segments: &[S]) -> String {
    let slug = encode(segments);
    let unchanged = segments.iter().all(|segment| *fold(segment.as_ref()) == *segment.as_ref());
    if unchanged && slug.len() <= MAX_BYTES { slug } else { marked(slug, segments) }
}

fn encode<S: AsRef<[u8]>>(segments: &[S]) -> String {
    let mut slug = String::new();
    for segment in segments.iter().map(AsRef::as_ref).filter(|segment| !segment.is_empty()) {
        if !slug.is_empty() {
            slug.push('/');
        }
        encode_segment(&fold(segment), &mut slug);
    }
    slug
}

fn encode_segment(segment: &[u8], slug: &mut String) {
    let only_dots = matches!(segment, b"." | b"..");
    for (at, &byte) in segment.iter().enumerate() {
        let plain = match byte {
            b'.' => !only_dots,
            b'+' => !matches!(segment[at + 1..], [first, second, ..] if is_hex(first) && is_hex(second)),
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'~' | b'@' | b'-' => true,
            _ => false,
        };
        if plain {
            slug.push(char::from(byte));
        } else {
            slug.push_str(&format!("+{byte:02x}"));
        }
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Lower case and NFC; bytes that are no UTF-8 only have their ASCII letters lowered.
fn fold(segment: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(segment) {
        _ if segment.iter().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) => {
            Cow::Borrowed(segment)
        }
        Ok(text) => Cow::Owned(text.to_lowercase().nfc().collect::<String>().into_bytes()),
        Err(_) => Cow::Owned(segment.to_ascii_lowercase()),
    }
}

/// The slug, cut to leave room, with a hash of what it was made from.
fn marked<S: AsRef<[u8]>>(mut slug: String, segments: &[S]) -> String {
    let mark = format!("~{:016x}", fnv1a(segments));
    slug.truncate(MAX_BYTES - mark.len());
    slug + &mark
}

/// FNV-1a, 64 bits. Written out because the standard library's hasher may change between releases, and the
/// result is part of a name.
fn fnv1a<S: AsRef<[u8]>>(segments: &[S]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in segments.iter().flat_map(|segment| segment.as_ref().iter().chain(b"/")) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
pub(super) fn is_valid(slug: &str) -> bool {
    let plain =
        |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'~' | b'@' | b'+' | b'-');
    (1..=MAX_BYTES).contains(&slug.len())
        && slug.split('/').all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_goes_in_the_grammar_holds() {
        let long = "x".repeat(300);
        let inputs: &[&[&[u8]]] = &[
            &[b"host", b"a b", b"."],
            &[b"..", b"\xff\xfe", b"\0"],
            &[b"", b"A%B", "\u{e9}t\u{e9}".as_bytes()],
            &[long.as_bytes(), long.as_bytes()],
            &[&[b'y'; 238], b"/"],
        ];
        for input in inputs {
            assert!(is_valid(&folded(input)), "{:?}", folded(input));
            assert!(is_valid(&exact(input)), "{:?}", exact(input));
        }
    }

    #[test]
    fn different_texts_have_different_encodings() {
        let inputs = [
            "c++", "c+2b+", "a b", "a+20b", "a+b0", "a+2b", "a+2b2b", "a\u{e9}", "a+c3+a9", ".", "+2e", "~a",
        ];
        let mut slugs: Vec<String> = inputs.iter().map(|input| folded(&[input])).collect();
        slugs.sort();
        slugs.dedup();
        assert_eq!(slugs.len(), inputs.len(), "{slugs:?}");
        assert_eq!(folded(&["c++"]), "c++");
        assert_eq!(folded(&["a b"]), "a+20b");
    }

    #[test]
    fn letter_case_matters_only_where_it_is_asked_to() {
        assert_eq!(folded(&["Acme"]), folded(&["acme"]));
        assert_ne!(exact(&["Acme"]), exact(&["acme"]));
        assert_eq!(exact(&["acme"]), "acme");
        assert!(exact(&["host", "Acme"]).starts_with("host/acme~"));
    }

    #[test]
    fn composed_and_decomposed_letters_are_one() {
        assert_eq!(folded(&["caf\u{e9}"]), folded(&["cafe\u{301}"]));
    }

    #[test]
    fn long_names_that_begin_alike_stay_apart() {
        let (one, two) = (format!("{}1", "x".repeat(300)), format!("{}2", "x".repeat(300)));
        assert_ne!(folded(&[&one]), folded(&[&two]));
        assert_eq!(folded(&[&one]).len(), MAX_BYTES);
    }
}
