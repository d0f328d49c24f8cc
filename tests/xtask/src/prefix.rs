//! A directory that one task fills with pinned programs.
//!
//! A stamp keeps what was installed: equal wishes in the same place mean there is nothing to do. Nothing outside the
//! directory changes, and a directory that this program did not make is never emptied.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Fills the directory unless it holds what is wanted. Two at a time take turns.
pub(crate) fn fill(dir: &Path, wanted: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = dir.join(".stamp");
    fs::create_dir_all(dir)?;
    let lock = dir.with_extension("lock");
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    lock.lock().context("cannot wait for another install")?;
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        println!("{} is up to date", dir.display());
        return Ok(());
    }
    start_afresh(dir, &stamp)?;
    install()?;
    fs::write(&stamp, wanted).context("cannot write the stamp")
}

/// Everything an installation depends on: the manifests, the code that reads them, and the place, since a virtual
/// environment cannot be moved.
pub(crate) fn describe(dir: &Path, code: &str, manifests: &Path, names: &[&str]) -> Result<String> {
    let mut text = format!("{}\n{code}\n", dir.display());
    for name in names {
        let path = manifests.join(name);
        text += &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(text)
}

/// Puts the manifests where they are installed.
pub(crate) fn copy(dir: &Path, manifests: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        fs::copy(manifests.join(name), dir.join(name))?;
    }
    Ok(())
}

/// Empties the directory, but only if an earlier run of this program filled it.
fn start_afresh(dir: &Path, stamp: &Path) -> Result<()> {
    let empty = fs::read_dir(dir)?.next().is_none();
    ensure!(
        empty || stamp.exists(),
        "{} was not made by cargo xtask; name a new directory with MESH_TOOLS or MESH_AGENTS",
        dir.display()
    );
    fs::remove_dir_all(dir)?;
    fs::create_dir_all(dir)?;
    fs::write(stamp, "incomplete\n").context("cannot write the stamp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_directory_is_not_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        fs::write(&precious, "").unwrap();
        let stamp = dir.path().join(".stamp");

        let error = start_afresh(dir.path(), &stamp).unwrap_err();
        assert!(error.to_string().contains("was not made by cargo xtask"), "{error}");
        assert!(precious.exists());

        fs::write(&stamp, "").unwrap();
        start_afresh(dir.path(), &stamp).unwrap();
        assert!(!precious.exists());
    }

    #[test]
    fn what_is_there_is_not_installed_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("prefix");
        let mut times = 0;
        for wanted in ["one", "one", "two"] {
            fill(&dir, wanted, || {
                times += 1;
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(times, 2);
        fill(&dir, "three", || anyhow::bail!("no network")).unwrap_err();
        fill(&dir, "two", || {
            times += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(times, 3, "a failed installation is not one");
    }
}
