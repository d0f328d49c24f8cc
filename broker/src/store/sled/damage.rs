//! What is said of a damaged store, and of sled's panics: each error, and each panic, names the next step.

use std::any::Any;
use std::cell::Cell;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use super::super::StoreError;

/// What sled is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// Looks at files that may be damaged.
    Reads,
    /// Changes the store.
    Writes,
}

thread_local! {
    /// Set while this thread is in sled.
    static TASK: Cell<Option<Task>> = const { Cell::new(None) };
}

/// The store that was opened last, for panics of threads that know of none: a process serves or checks one.
static OPENED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// How sled calls its own threads.
const THREADS: [&str; 2] = ["log flusher", "sled-io-"];

struct InSled {
    before: Option<Task>,
}

impl InSled {
    fn enter(task: Task) -> Self {
        Self { before: TASK.replace(Some(task)) }
    }
}

impl Drop for InSled {
    fn drop(&mut self) {
        TASK.set(self.before);
    }
}

/// The code of a process that ends over damage: that of any failure.
const FAILURE: i32 = 1;

/// From now on a panic of sled is told like the error that it is, and where panics abort the process ends here, as after
/// any other error: nobody else could tell it.
pub(super) fn tell_panics(dir: &Path) {
    static ONCE: Once = Once::new();
    *OPENED.lock().unwrap_or_else(PoisonError::into_inner) = Some(dir.to_owned());
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match panicking(info) {
            Some(task) if cfg!(panic = "abort") => {
                let dir = OPENED.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
                let error = told(task, &dir, info.payload());
                // If it cannot be written there is nobody to tell.
                let _ = writeln!(io::stderr(), "error: {error}");
                std::process::exit(FAILURE);
            }
            // It is caught, and told by whoever called.
            Some(_) if TASK.get().is_some() => {}
            Some(_) | None => usual(info),
        }));
    });
}

/// What sled was at, if it is sled that panics: in a call of ours, in a thread of its own, or else in its code.
fn panicking(info: &PanicHookInfo<'_>) -> Option<Task> {
    let thread = std::thread::current();
    let is_own = thread.name().is_some_and(|name| THREADS.iter().any(|own| name.starts_with(own)));
    let is_inside = info.location().is_some_and(|at| at.file().contains("/sled-"));
    TASK.get().or_else(|| (is_own || is_inside).then_some(Task::Writes))
}

/// sled asserts over some damage instead of returning an error. Where panics unwind, that becomes an
/// error; where they abort, as in release builds, the process ends with that error on stderr and the kernel
/// frees the lock. Either way nothing of ours has been written, and the next start meets the
/// same files.
pub(super) fn opening<T>(dir: &Path, open: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    guarded(Task::Reads, "open", dir, open)
}

/// As [`opening`], for what reads the store.
pub(super) fn reading<T>(dir: &Path, read: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    guarded(Task::Reads, "read", dir, read)
}

/// As [`opening`], for what changes the store: it may be damaged, or only have failed.
pub(super) fn changing<T>(
    action: &'static str,
    dir: &Path,
    change: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    guarded(Task::Writes, action, dir, change)
}

fn guarded<T>(
    task: Task,
    action: &'static str,
    dir: &Path,
    work: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    let _in_sled = InSled::enter(task);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|e| sled_error(action, dir, e)),
        Err(panic) => Err(told(task, dir, &*panic)),
    }
}

fn told(task: Task, dir: &Path, panic: &(dyn Any + Send)) -> StoreError {
    let (why, step) = (panic_message(panic), next_step(dir));
    match task {
        Task::Reads => StoreError::Corrupt { what: format!("sled panicked: {why}; {step}") },
        Task::Writes => {
            let why = format!("sled panicked: {why}; start again, and if that fails too, {step}");
            StoreError::Io { action: "go on with", path: dir.to_owned(), source: io::Error::other(why) }
        }
    }
}

fn sled_error(action: &'static str, dir: &Path, error: sled::Error) -> StoreError {
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
