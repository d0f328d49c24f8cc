//! What is sled's own; the rest is in `conformance`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::super::conformance::{Backend, Disk, commit, contents, delete, identity, key, put, value};
use super::super::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use super::*;

fn dir(place: &Disk) -> PathBuf {
    place.0.path().join("store")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// sled's own view of the place, while no store is open there.
fn raw(place: &Disk) -> Result<sled::Db, StoreError> {
    let directory = Directory::take(&dir(place)).unwrap();
    directory.await_release().unwrap();
    open_sled(&directory)
}

/// Changes one stored record behind the store's back.
fn tamper(place: &Disk, physical: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
    let db = raw(place).unwrap();
    let mut record = db.get(physical).unwrap().unwrap().to_vec();
    change(&mut record);
    db.insert(physical, record).unwrap();
    db.flush().unwrap();
}

fn load_error(store: &SledStore) -> String {
    store.load(&mut |_, _| Ok(())).unwrap_err().to_string()
}

#[test]
fn an_unfinished_snapshot_does_not_stop_the_next_start() {
    let place = Disk::new();
    let store = place.open();
    commit(&store, (0..50).map(|i| put(&format!("{i:02}"), value(i, 3000))));
    let before = contents(&store);
    drop(store);
    drop(place.open());
    let snapshot = files(&dir(&place))
        .into_iter()
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snap."))
        .unwrap();
    let whole = fs::read(&snapshot).unwrap();
    let leftover = dir(&place).join("snap.00000000FFFFFFFF.generating");
    fs::write(&leftover, &whole[..whole.len() / 2]).unwrap();
    let unaided = raw(&place);
    assert!(matches!(unaided, Err(StoreError::Corrupt { .. })), "sled copes by itself: the removal may go");

    assert!(contents(&place.open()) == before, "rows differ");
    assert!(!leftover.exists());
}

#[test]
fn only_the_owner_may_read_the_store() {
    let place = Disk::new();
    let store = place.open();
    commit(&store, [put("a", "1")]);
    assert_eq!(mode(&dir(&place)), 0o700);
    for path in files(&dir(&place)) {
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    fs::set_permissions(dir(&place), fs::Permissions::from_mode(0o755)).unwrap();
    drop(store);
    let _store = place.open();
    assert_eq!(mode(&dir(&place)), 0o700);
}

#[test]
fn a_directory_of_other_things_is_refused_and_left_alone() {
    let place = Disk::new();
    fs::create_dir(dir(&place)).unwrap();
    fs::set_permissions(dir(&place), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir(&place).join("thesis.txt"), "years of work").unwrap();
    let refused = place.open_as(identity(1)).unwrap_err().to_string();
    assert!(refused.ends_with("it holds other files; the store needs a directory of its own"), "{refused}");
    assert_eq!(mode(&dir(&place)), 0o755);
    assert_eq!(files(&dir(&place)).len(), 1);
}

#[test]
fn the_holder_is_named_to_the_second_broker() {
    let place = Disk::new();
    let _store = place.open();
    let refused = place.open_as(identity(1)).unwrap_err().to_string();
    assert_eq!(
        refused,
        format!("another broker holds {}; stop it or choose another directory", dir(&place).display())
    );
}

#[test]
fn large_values_stay_out_of_the_files_sled_never_syncs() {
    let place = Disk::new();
    let store = place.open();
    let long = |i: u8| format!("{i:03}{}", "k".repeat(MAX_KEY_BYTES - 3));
    for round in 0..12 {
        for i in 0..24 {
            commit(&store, [put(&long(i), value(round, 4000))]);
        }
        commit(&store, [put("whole", value(round, MAX_VALUE_BYTES))]);
        commit(&store, (0..20).filter(|i| i % 4 != 0).map(|i| delete(&long(i))));
        assert_eq!(files(&dir(&place).join("blobs")), Vec::<PathBuf>::new(), "round {round}");
    }
}

#[test]
fn a_store_of_another_format_is_refused_and_left_alone() {
    let place = Disk::new();
    commit(&place.open(), [put("a", "1")]);
    tamper(&place, &[codec::META_KIND], |record| *record = codec::meta_of_format(7));
    let refused = place.open_as(identity(1)).err();
    assert!(
        matches!(refused, Some(StoreError::Version { found: 7, supported: STORE_FORMAT })),
        "{refused:?}"
    );
    tamper(&place, &[codec::META_KIND], |record| *record = codec::encode_meta(&identity(1)).1);
    assert_eq!(contents(&place.open()).len(), 1);
}

#[test]
fn records_without_a_meta_record_are_not_taken_for_a_new_store() {
    let place = Disk::new();
    commit(&place.open(), [put("a", "1")]);
    let db = raw(&place).unwrap();
    db.remove([codec::META_KIND]).unwrap();
    drop(db);
    let refused = place.open_as(identity(1)).unwrap_err().to_string();
    assert!(refused.contains("no meta record"), "{refused}");
}

#[test]
fn a_damaged_record_is_named() {
    let place = Disk::new();
    commit(&place.open(), [put("a", "1"), put("b", "2")]);
    tamper(&place, b"a", |record| *record.last_mut().unwrap() ^= 1);
    let store = place.open();
    let expected = "the store is damaged: record of kind 0x61, key 61: checksum mismatch";
    assert_eq!(store.get(&key("a")).unwrap_err().to_string(), expected);
    assert_eq!(load_error(&store), expected);
    assert_eq!(store.get(&key("b")).unwrap().unwrap(), "2");
}

#[test]
fn chunks_without_a_first_one_are_found() {
    let place = Disk::new();
    commit(&place.open(), [put("a", value(1, 10_000)), put("b", "2")]);
    let db = raw(&place).unwrap();
    db.remove(b"a").unwrap();
    drop(db);
    let error = load_error(&place.open());
    assert!(error.contains("1 values have further chunks, 0 have a first one"), "{error}");
}

#[test]
fn damaged_files_are_an_error_with_a_next_step() {
    let place = Disk::new();
    commit(&place.open(), [put("a", value(1, 100_000))]);
    drop(place.open());
    fs::write(dir(&place).join("db"), vec![0x77; 1 << 20]).unwrap();
    let error = place.open_as(identity(1)).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    let step = format!(
        "move {} aside and restore a backup (`meshctl restore FILE`), or start anew without it",
        dir(&place).display()
    );
    assert!(error.to_string().ends_with(&step), "{error}");
}

#[test]
fn a_panic_inside_sled_is_an_error() {
    let panicking = || -> sled::Result<()> { panic!("assertion of {}", "sled") };
    let step = "move /d aside and restore a backup (`meshctl restore FILE`), or start anew without it";
    let reads = format!("the store is damaged: sled panicked: assertion of sled; {step}");
    assert_eq!(opening(Path::new("/d"), panicking).unwrap_err().to_string(), reads);
    assert_eq!(reading(Path::new("/d"), panicking).unwrap_err().to_string(), reads);
    let writes = format!(
        "cannot go on with /d: sled panicked: assertion of sled; start again, and if that fails too, {step}"
    );
    assert_eq!(changing("flush", Path::new("/d"), panicking).unwrap_err().to_string(), writes);
}

#[test]
fn what_is_wrong_with_a_copy_names_the_store() {
    let place = Disk::new();
    commit(&place.open(), [put("a", "1")]);
    drop(place.open());
    for damage in [
        |db: &Path| fs::remove_file(db).unwrap(),
        |db: &Path| fs::write(db, vec![0x77; 1 << 20]).unwrap(),
        |db: &Path| fs::write(db, "").unwrap(),
    ] {
        damage(&dir(&place).join("db"));
        let copy = tempfile::tempdir().unwrap();
        let error = SledStore::open_copy(&dir(&place), copy.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("move {} aside", dir(&place).display())), "{error}");
        assert!(!error.contains(copy.path().to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_store_reopens_at_once_however_often() {
    let place = Disk::new();
    for round in 0..30 {
        let store = place.open();
        commit(&store, (0..40).map(|i| put(&format!("{i}"), value(round, 2000))));
    }
    assert_eq!(contents(&place.open()).len(), 40);
}

#[test]
fn process_durability_keeps_what_was_committed() {
    let place = Disk::new();
    let options = || SledOptions { durability: Durability::Process, identity: identity(1) };
    let mut store = SledStore::open(&dir(&place), options()).unwrap();
    store.break_sync();
    commit(&store, [put("a", "1")]);
    drop(store);
    assert_eq!(contents(&SledStore::open(&dir(&place), options()).unwrap()).len(), 1);
}

#[test]
fn debug_output_shows_no_record() {
    let place = Disk::new();
    let store = place.open();
    commit(&store, [put("a", "topsecret")]);
    let shown = format!("{store:?}");
    assert!(shown.starts_with("SledStore { dir:") && !shown.contains("secret"), "{shown}");
}
