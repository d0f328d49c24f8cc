//! What the store holds, damaged beyond its checksums: a record is read or refused, and what is read is written as it was.

use mesh_broker::records;

use crate::choices::Choices;

pub(crate) const TARGET: crate::Target = crate::Target {
    name: "stored",
    run,
    seeds,
    words: &[
        "\0\u{3}",
        "\0\u{2}",
        "fox",
        "src/",
        "github.com/acme/app",
        "\u{7f}",
        "\0\0\0\0",
        "\u{1}\u{1}\u{1}",
    ],
    cases: 20_000,
};

/// Records of a real mesh, as its store holds them: key and value, the key with its length before it.
fn seeds() -> Vec<Vec<u8>> {
    crate::wire::stored()
        .into_iter()
        .map(|(key, value)| [&[u8::try_from(key.len()).unwrap()], &key[..], &value[..]].concat())
        .collect()
}

fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let length = usize::from(choices.byte());
    let (key, value) = (choices.take(length), choices.rest());
    match records::decode(key, value) {
        // It says what it found; nothing is made of it that would not be made of a whole record.
        Ok(loaded) => {
            let size = format!("{loaded:?}").len();
            assert!(size <= 64 * (value.len() + 256), "larger than its bytes");
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.len() < 1_000, "{told}");
        }
    }
}
