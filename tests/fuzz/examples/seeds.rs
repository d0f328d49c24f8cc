//! Writes the seeds of a target, and its words as a dictionary, for a guided run: `seeds TARGET DIRECTORY`.

use std::fmt::Write;
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let target = mesh_fuzz::target(&arguments.next().unwrap_or_default());
    let directory = PathBuf::from(arguments.next().unwrap_or_default());
    std::fs::create_dir_all(&directory)?;
    for (number, seed) in (target.seeds)().into_iter().enumerate() {
        std::fs::write(directory.join(format!("seed-{number}")), seed)?;
    }
    std::fs::write(directory.with_extension("dict"), dictionary(target.words))
}

/// In libFuzzer's form, every byte escaped.
fn dictionary(words: &[&str]) -> String {
    let mut out = String::new();
    for word in words {
        let bytes = word.bytes().fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
            text
        });
        out.push_str(&format!("\"{bytes}\"\n"));
    }
    out
}
