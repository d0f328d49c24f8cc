//! What a change looks like.

use similar::{Algorithm, TextDiff};

/// The change from one text to another as a unified diff; empty if there is none.
pub fn unified(path: &str, old: Option<&str>, new: Option<&str>) -> String {
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Patience)
        .diff_lines(old.unwrap_or_default(), new.unwrap_or_default());
    let from = old.map_or("/dev/null".to_owned(), |_| path.to_owned());
    let to = new.map_or("/dev/null".to_owned(), |_| path.to_owned());
    diff.unified_diff().context_radius(3).header(&from, &to).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_comes_from_nothing() {
        assert_eq!(unified("~/x", None, Some("a\n")), "--- /dev/null\n+++ ~/x\n@@ -0,0 +1 @@\n+a\n");
        assert_eq!(unified("~/x", Some("a\n"), Some("a\n")), "");
    }
}
