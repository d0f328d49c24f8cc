//! From text to the words that are looked for.
//!
//! Word boundaries are those of Unicode (UAX #29), stems those of the Porter2 stemmer for English; what is not plain
//! ASCII stays as it is but for its case. Code has words inside its words: an identifier or a path is found whole
//! and by its parts.

use rust_stemmers::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

/// Longest word that is told apart, in bytes.
const LONGEST: usize = 128;

/// All words of a text, each as often as it occurs.
pub(crate) fn words(text: &str) -> Vec<String> {
    let stemmer = Stemmer::create(Algorithm::English);
    let mut words = Vec::new();
    for chunk in text.split_whitespace() {
        let chunk = chunk.trim_matches(|c: char| !c.is_alphanumeric());
        let mut inner = chunk.unicode_words().peekable();
        let first = inner.next();
        if inner.peek().is_some() && chunk.len() <= LONGEST {
            words.push(chunk.to_lowercase());
        }
        for word in first.into_iter().chain(inner) {
            words.push(stem(&stemmer, word));
            let parts = parts(word);
            if parts.len() > 1 {
                words.extend(parts.into_iter().map(|part| stem(&stemmer, part)));
            }
        }
    }
    words
}

fn stem(stemmer: &Stemmer, word: &str) -> String {
    let word = word[..word.floor_char_boundary(LONGEST)].to_lowercase();
    if word.bytes().all(|byte| byte.is_ascii_lowercase()) { stemmer.stem(&word).into_owned() } else { word }
}

/// `refresh_token`, `refreshToken`, `HTTPServer`, `auth.rs`: what a word is put together from.
fn parts(word: &str) -> Vec<&str> {
    word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).flat_map(humps).collect()
}

/// Splits where a capital begins a word: after a small letter or digit, or before a small letter.
fn humps(word: &str) -> Vec<&str> {
    let letters: Vec<(usize, char)> = word.char_indices().collect();
    let begins = |trio: &[(usize, char)]| {
        let [(_, before), (at, letter), rest @ ..] = trio else { return None };
        let small_follows = rest.first().is_some_and(|(_, after)| after.is_lowercase());
        (letter.is_uppercase() && (!before.is_uppercase() || small_follows)).then_some(*at)
    };
    let mut humps = Vec::new();
    let mut from = 0;
    for at in (1..letters.len()).filter_map(|at| begins(&letters[at - 1..letters.len().min(at + 2)])) {
        humps.push(&word[from..at]);
        from = at;
    }
    humps.push(&word[from..]);
    humps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_lose_their_case_and_their_endings() {
        assert_eq!(words("The Tokens, refreshed; refreshing!"), ["the", "token", "refresh", "refresh"]);
        assert_eq!(words("Größe 東京 — 42 (v2.1)"), ["größe", "東京", "東", "京", "42", "v2.1", "v2", "1"]);
        assert_eq!(words(" -- … \u{1f98a}"), Vec::<String>::new());
    }

    #[test]
    fn an_identifier_is_found_whole_and_by_its_parts() {
        let table: &[(&str, &[&str])] = &[
            ("refresh_tokens", &["refresh_tokens", "refresh", "token"]),
            ("refreshToken", &["refreshtoken", "refresh", "token"]),
            ("HTTPServer2Go", &["httpserver2go", "http", "server2", "go"]),
            ("Session::refresh", &["session::refresh", "session", "refresh"]),
            ("`src/auth/log-in.rs`,", &["src/auth/log-in.rs", "src", "auth", "log", "in.rs", "in", "rs"]),
            ("api:billing/v2", &["api:billing/v2", "api:billing", "api", "bill", "v2"]),
            ("ABC", &["abc"]),
            ("éÉé", &["ééé", "é", "éé"]),
        ];
        for (text, expected) in table {
            assert_eq!(words(text), *expected, "{text}");
        }
    }

    #[test]
    fn a_word_without_end_is_cut() {
        let long = "é".repeat(200);
        assert_eq!(words(&long), ["é".repeat(64)]);
        assert_eq!(words(&format!("{long}/{long}")), ["é".repeat(64), "é".repeat(64)]);
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in any::<String>()) {
            for word in words(&text) {
                prop_assert!(!word.is_empty());
            }
        }
    }
}
