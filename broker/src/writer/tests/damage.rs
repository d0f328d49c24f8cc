//! Whatever happens to a store's files while no broker runs: the next one refuses them and says what to do, or serves
//! exactly what was acknowledged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use mesh_core::id::SessionId;
use uuid::Uuid;

use super::formats::{start, stop};
use super::{by, joining, lock, put};
use crate::store::{Identity, Secret, SledOptions, SledStore, Store};
use crate::writer::recovery::recover;

/// Damages tried on each file.
const TRIES: u64 = 40;

/// How long a broker may take to find out, before it hangs.
const STUCK: Duration = Duration::from_secs(60);

type Contents = Vec<(Vec<u8>, Bytes)>;

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound.max(1)
    }
}

fn open(dir: &Path) -> Result<Contents, String> {
    let identity = Identity { incarnation: Uuid::from_u128(9), secret: Secret::new([9; 32]), created_ms: 0 };
    let store = SledStore::open(dir, SledOptions { durability: Default::default(), identity });
    let store = store.map_err(|error| error.to_string())?;
    recover(&store, 100).map_err(|error| error.to_string())?;
    let mut contents = Vec::new();
    let mut visit = |key: &[u8], value| {
        contents.push((key.to_vec(), value));
        Ok(())
    };
    store.load(&mut visit).map_err(|error| error.to_string())?;
    Ok(contents)
}

/// As [`open`], in a thread of its own: sled may hang or panic.
fn open_within(dir: &Path) -> Result<Contents, String> {
    let (sender, receiver) = mpsc::channel();
    let dir = dir.to_owned();
    let opening = std::thread::spawn(move || sender.send(open(&dir)));
    match receiver.recv_timeout(STUCK) {
        Ok(opened) => opened,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("a damaged store keeps its broker waiting"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let panic = opening.join().unwrap_err();
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            panic!("a damaged store ends its broker with a panic: {text}")
        }
    }
}

/// A store that a broker has worked on and was killed, and what it had acknowledged.
fn worked_on() -> (tempfile::TempDir, Contents) {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let session = SessionId(Uuid::from_u128(1));
    for round in 0..3 {
        let (started, _) = start(&dir);
        let submit = |request| {
            let handle = started.handle.clone();
            super::now_or_never(async move { handle.submit(request).await }).unwrap()
        };
        if round == 0 {
            submit(joining(session, "amber-fox"));
        }
        for number in 0..60 {
            let value = "v".repeat(1 + number * 97 % 9_000);
            submit(by(session, put(&format!("k/{}", number % 20), format!("{round} {number} {value}"))));
        }
        submit(by(session, lock(&format!("src/{round}.rs"))));
        stop(started);
    }
    let contents = open(&dir).unwrap();
    (place, contents)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

/// Damages a copy of the store and opens it. What came of it, in a word.
fn outcome(of: &Path, expected: &Contents, what: &str, damage: impl FnOnce(&Path)) -> &'static str {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    copy(of, &dir);
    damage(&dir);
    match open_within(&dir) {
        Ok(contents) if contents == *expected => "served",
        Ok(contents) => panic!("{what}: serves {} records in place of {}", contents.len(), expected.len()),
        Err(refused) => {
            let names = refused.contains(dir.to_str().unwrap())
                || refused.contains("record of")
                || refused.contains("was committed");
            let steps = refused.contains("meshctl restore") || refused.starts_with("cannot ");
            assert!(names && steps, "{what}: {refused}");
            "refused"
        }
    }
}

/// A place in a file, in what is written of it as often as in the rest.
fn place_in(bytes: &[u8], dice: &mut Dice) -> usize {
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if dice.below(4) > 0 { dice.below(written) } else { dice.below(bytes.len()) }
}

#[test]
fn flipped_and_missing_bytes_are_refused_or_harmless() {
    let (place, contents) = worked_on();
    let dir = place.path().join("store");
    let mut seen: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for file in files(&dir) {
        let file_name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let kind = file_name.split('.').next().unwrap().to_owned();
        let whole = fs::read(&file).unwrap();
        for seed in 0..TRIES {
            let mut dice = Dice(seed);
            let at = place_in(&whole, &mut dice);
            let mut bytes = whole.clone();
            let how = if bytes.is_empty() || dice.below(3) == 0 { "cut" } else { "flip" };
            match bytes.get_mut(at).filter(|_| how == "flip") {
                Some(byte) => *byte ^= 1 << dice.below(8),
                None => bytes.truncate(at),
            }
            let what = format!("seed {seed}: {how} {file_name} at {at} of {}", whole.len());
            let came =
                outcome(&dir, &contents, &what, |dir| fs::write(dir.join(&file_name), &bytes).unwrap());
            *seen.entry((format!("{how} {kind}"), came)).or_default() += 1;
        }
    }
    eprintln!("{seen:#?}");
    assert!(seen.iter().any(|((_, came), count)| *came == "refused" && *count > 0));
}

#[test]
fn missing_files_are_refused_or_harmless() {
    let (place, contents) = worked_on();
    let dir = place.path().join("store");
    for file in files(&dir) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let came = outcome(&dir, &contents, &name, |dir| fs::remove_file(dir.join(&name)).unwrap());
        let expected = match name.as_str() {
            "db" | "LOCK" => "refused",
            _ => "served",
        };
        assert_eq!(came, expected, "{name}");
    }
    let without_blobs =
        outcome(&dir, &contents, "blobs", |dir| fs::remove_dir_all(dir.join("blobs")).unwrap());
    assert_eq!(without_blobs, "served");
    let emptied = outcome(&dir, &contents, "all but LOCK", |dir| {
        for file in files(dir).iter().filter(|file| !file.ends_with("LOCK")) {
            fs::remove_file(file).unwrap();
        }
    });
    assert_eq!(emptied, "refused");
}

#[test]
fn an_older_data_file_in_the_place_of_the_newest_is_refused() {
    let (place, contents) = worked_on();
    let dir = place.path().join("store");
    let older = fs::read(dir.join("db")).unwrap();
    let (started, _) = start(&dir);
    let later = by(SessionId(Uuid::from_u128(1)), put("k/later", "v"));
    super::now_or_never(async { started.handle.submit(later).await }).unwrap();
    stop(started);
    let came = outcome(&dir, &contents, "older db", |dir| fs::write(dir.join("db"), &older).unwrap());
    assert_eq!(came, "refused");
}

#[test]
fn who_accepts_the_loss_empties_the_lock_file() {
    let (place, contents) = worked_on();
    let dir = place.path().join("store");
    let store = open_mark(&dir, 1_000_000);
    drop(store);
    let refused = open(&dir).unwrap_err();
    assert!(
        refused.contains("1000000 was committed") && refused.contains("empty its file LOCK"),
        "{refused}"
    );
    fs::write(dir.join("LOCK"), "").unwrap();
    assert!(open(&dir).unwrap() == contents);
}

fn open_mark(dir: &Path, position: u64) -> Arc<SledStore> {
    let identity = Identity { incarnation: Uuid::from_u128(9), secret: Secret::new([9; 32]), created_ms: 0 };
    let options = SledOptions { durability: Default::default(), identity };
    let store = Arc::new(SledStore::open(dir, options).unwrap());
    store.mark(position).unwrap();
    store
}
