//! What is said of a damaged store: each error, and each panic of sled's, names the next step.

use std::any::Any;
use std::cell::Cell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

use super::super::StoreError;

thread_local! {
    /// What to do about it if this thread panics: set while sled looks at files that may be damaged.
    static STEP_AFTER_PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

struct InSled;

impl InSled {
    fn enter(dir: &Path) -> Self {
        STEP_AFTER_PANIC.set(Some(next_step(dir)));
        Self
    }
}

impl Drop for InSled {
    fn drop(&mut self) {
        STEP_AFTER_PANIC.set(None);
    }
}

/// The code of a process that ends over damage: that of any failure.
const FAILURE: i32 = 1;

/// A panic of sled over damage is told like the error that it is, and where panics abort the process ends here, as
/// after any other error: nobody else could tell it.
fn tell_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match STEP_AFTER_PANIC.take() {
            None => usual(info),
            Some(step) if cfg!(panic = "abort") => {
                let why = panic_message(info.payload());
                // If it cannot be written there is nobody to tell.
                let _ =
                    writeln!(std::io::stderr(), "error: the store is damaged: sled panicked: {why}; {step}");
                std::process::exit(FAILURE);
            }
            Some(_) => {}
        }));
    });
}

/// sled asserts over some damage instead of returning an error. Where panics unwind, that becomes an
/// error; where they abort, as in release builds, the process ends with that error on stderr and the kernel
/// frees the lock. Either way nothing of ours has been written, and the next start meets the
/// same files.
pub(super) fn guarded<T>(dir: &Path, open: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    tell_panics();
    let _in_sled = InSled::enter(dir);
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(opened) => opened.map_err(|e| sled_error("open", dir, e)),
        Err(panic) => {
            let what = format!("sled panicked: {}; {}", panic_message(&*panic), next_step(dir));
            Err(StoreError::Corrupt { what })
        }
    }
}

pub(super) fn sled_error(action: &'static str, dir: &Path, error: sled::Error) -> StoreError {
    let what = match error {
        sled::Error::Io(source) => return StoreError::Io { action, path: dir.to_owned(), source },
        sled::Error::Corruption { at: Some(at), .. } => format!("sled finds damage at {at:?}"),
        sled::Error::Corruption { at: None, .. } => "sled finds damage".to_owned(),
        other @ (sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::CollectionNotFound(_)) => other.to_string(),
    };
    StoreError::Corrupt { what: format!("{what}; {}", next_step(dir)) }
}

/// The files are there, and what was in them is not.
pub(super) fn lost(dir: &Path, what: &str) -> StoreError {
    let dir_shown = dir.display();
    let what = format!("in {dir_shown} {what}; {}", next_step(dir));
    StoreError::Corrupt { what }
}

pub(crate) fn next_step(dir: &Path) -> String {
    format!(
        "move {} aside and restore a backup (`meshctl restore FILE`), or start anew without it",
        dir.display()
    )
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
