//! The files: one record per agent session, and links that lead to it from what its processes know.
//!
//! ```text
//! agents/a-0190…          the record          agents/a-0190….lock     its lock
//! agents/a-0190….seen     what it knows of files
//! agents/s-9c1f…  ──▶ a-0190…  by session id  agents/p-codex-4242-991 ──▶ a-0190…  by process
//! ```
//!
//! Links are symbolic and are replaced by renaming, so a reader needs no lock. Who binds anew holds the registry's.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Identity, Process, Record};
use crate::Home;
use crate::home::create_private;

/// How long the lock of a record or of the registry is waited for; nobody holds one for longer than a call.
const LOCK_WITHIN: Duration = Duration::from_secs(5);
const LOCK_STEP: Duration = Duration::from_millis(1);
/// Longest id of a session that is taken for one.
const LONGEST_ID: usize = 100;
/// Records that nothing has changed for so long are forgotten, unless their process lives.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// All agent sessions of this user on this machine.
#[derive(Clone, Debug)]
pub struct Registry {
    directory: PathBuf,
}

/// One agent session of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    path: PathBuf,
}

/// What a session whose id is new has to do with the one that ran in the same process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continues {
    /// It is another one.
    Nothing,
    /// It goes on, under another id, as after `/clear`.
    Process,
}

/// A record under its lock. Changes are kept by [`Guard::save`] only.
#[derive(Debug)]
pub struct Guard {
    /// The record.
    pub record: Record,
    path: PathBuf,
    _lock: File,
}

impl Registry {
    /// The registry of a home; nothing is created yet.
    pub fn of(home: &Home) -> Self {
        Self { directory: home.agents_path() }
    }

    /// The agent session that a process belongs to, if it is known: that of its agent's process, if it has the id, since
    /// the same session may be resumed twice; else that with the id; else that of the agent's process.
    pub fn find(&self, who: &Identity) -> Option<Agent> {
        let who = &who.bounded();
        let by_process = who.process.and_then(|process| self.of_process(&who.kind, process));
        let by_session = who.session.as_deref().and_then(|id| self.follow(&session_link(&who.kind, id)));
        by_process.clone().filter(|agent| agent.is_of(who, Continues::Nothing)).or(by_session).or(by_process)
    }

    /// As [`Registry::find`], for one that runs in this very process of the agent: what [`Registry::bind`] would answer
    /// without making anything.
    pub fn find_running(&self, who: &Identity) -> Option<Agent> {
        let who = &who.bounded();
        let by_process = || self.of_process(&who.kind, who.process?);
        self.by_session(who).or_else(|| by_process().filter(|agent| agent.is_of(who, Continues::Nothing)))
    }

    /// The agent session in whose shell this process runs, somewhere below the agent.
    pub fn find_above(&self, who: &Identity) -> Option<Agent> {
        let process = who.process.or_else(|| {
            Process::ancestors().into_iter().find(|above| self.of_process(&who.kind, *above).is_some())
        });
        self.find(&Identity { process, ..who.clone() })
    }

    /// The agent session that a process of an agent runs at present.
    pub fn of_process(&self, kind: &str, process: Process) -> Option<Agent> {
        self.follow(&process_link(kind, process))
    }

    /// The agent session that a process belongs to; from now on, all that it knows of it leads there.
    ///
    /// A session id that is in use by another living process (the same session resumed twice) makes a session of its
    /// own. A process's session whose id was not known until now is the one with that id.
    pub fn bind(&self, who: &Identity, continues: Continues) -> io::Result<Agent> {
        let who = &who.bounded();
        if let Some(agent) = self.bound(who) {
            return Ok(agent);
        }
        create_private(&self.directory)?;
        let _lock = locked(&self.directory.join(".lock"))?;
        let by_process = who.process.and_then(|process| self.of_process(&who.kind, process));
        let agent = match (self.by_session(who), by_process) {
            (Some(agent), _) => agent,
            (None, Some(agent)) if agent.is_of(who, continues) => agent,
            (None, _) => self.create(who)?,
        };
        self.link(&agent, who)?;
        Ok(agent)
    }

    /// Removes records that nobody has used for a month, and links that lead nowhere.
    pub fn tidy(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let Ok(_lock) = locked(&self.directory.join(".lock")) else { return };
        for path in paths.iter().filter(|path| is_record(path)) {
            let agent = Agent { path: path.clone() };
            let runs = agent.read().is_some_and(|record| record.process.is_some_and(Process::is_alive));
            if is_older(path, KEPT) && !runs {
                // What is gone already, or cannot be removed, is no matter.
                let beside = |other: &&PathBuf| other.with_extension("") == *path;
                paths.iter().filter(beside).for_each(|file| _ = fs::remove_file(file));
            }
        }
        let dead = |path: &&PathBuf| path.is_symlink() && !path.exists();
        paths.iter().filter(dead).for_each(|path| _ = fs::remove_file(path));
    }

    /// All agent sessions that there are.
    pub(super) fn agents(&self) -> Vec<Agent> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| is_record(path)).map(|path| Agent { path }).collect()
    }

    /// The answer when nothing has to be changed, which is nearly always.
    fn bound(&self, who: &Identity) -> Option<Agent> {
        let agent = self.follow(&session_link(&who.kind, who.session.as_deref()?))?;
        let process = who.process?;
        let is_bound = self.of_process(&who.kind, process).as_ref() == Some(&agent) && !agent.is_damaged();
        is_bound.then_some(agent)
    }

    /// The agent session with the id of a process, unless it runs in another one.
    fn by_session(&self, who: &Identity) -> Option<Agent> {
        let agent = self.follow(&session_link(&who.kind, who.session.as_deref()?))?;
        (!agent.runs_elsewhere(who.process)).then_some(agent)
    }

    fn follow(&self, link: &str) -> Option<Agent> {
        let target = fs::read_link(self.directory.join(link)).ok()?;
        let path = self.directory.join(target.file_name()?);
        path.is_file().then_some(Agent { path })
    }

    fn create(&self, who: &Identity) -> io::Result<Agent> {
        let id = uuid::Uuid::now_v7().simple();
        let agent = Agent { path: self.directory.join(format!("a-{id}")) };
        let used =
            who.session.as_deref().is_some_and(|id| self.follow(&session_link(&who.kind, id)).is_some());
        let mut guard = agent.lock()?;
        guard.record = Record { kind: who.kind.clone(), key: key(who, !used), ..Record::default() };
        guard.save()?;
        Ok(agent)
    }

    fn link(&self, agent: &Agent, who: &Identity) -> io::Result<()> {
        let mut guard = agent.lock()?;
        if guard.record.key.is_empty() {
            // It was damaged. Who joins with its key is the same peer again; its first id may be forgotten.
            guard.record.kind.clone_from(&who.kind);
            guard.record.key = key(who, who.session.is_some());
        }
        if let Some(session) = &who.session {
            guard.record.add_session(session);
            let link = session_link(&who.kind, session);
            // One that leads to the session of another process stays.
            if self.follow(&link).is_none_or(|found| found == *agent) {
                self.point(&link, agent)?;
            }
        }
        if let Some(process) = who.process {
            guard.record.process = Some(process);
            guard.record.machine = super::process::this_machine();
            self.point(&process_link(&who.kind, process), agent)?;
        }
        guard.save()
    }

    fn point(&self, link: &str, agent: &Agent) -> io::Result<()> {
        let Some(name) = agent.path.file_name() else { return Ok(()) };
        let aside = self.directory.join(format!(".{link}.new"));
        _ = fs::remove_file(&aside);
        std::os::unix::fs::symlink(name, &aside)?;
        fs::rename(&aside, self.directory.join(link))
    }
}

impl Identity {
    /// Without an id that cannot be one.
    fn bounded(&self) -> Self {
        let session = self.session.clone().filter(|id| (1..=LONGEST_ID).contains(&id.len()));
        Self { session, ..self.clone() }
    }
}

impl Agent {
    /// The record as it is; `None` when it is gone or damaged.
    pub fn read(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(&self.path).ok()?).ok()
    }

    /// The record under its lock. A damaged one comes as a new one, which keeps nothing but the name of the file.
    /// Blocks; not for a task whose thread also runs one that holds the lock.
    pub fn lock(&self) -> io::Result<Guard> {
        let lock = locked(&self.lock_path())?;
        Ok(self.guard(lock))
    }

    /// As [`Agent::lock`], unless somebody holds it.
    pub fn lock_at_once(&self) -> io::Result<Option<Guard>> {
        let lock = open(&self.lock_path())?;
        Ok(if try_lock(&lock)? { Some(self.guard(lock)) } else { None })
    }

    /// As [`Agent::lock`], for tasks.
    pub async fn locked(&self) -> io::Result<Guard> {
        let path = self.lock_path();
        let file = open(&path)?;
        let mut waited = Duration::ZERO;
        while !try_lock(&file)? {
            if waited >= LOCK_WITHIN {
                return Err(in_use(&path));
            }
            tokio::time::sleep(LOCK_STEP).await;
            waited += LOCK_STEP;
        }
        Ok(self.guard(file))
    }

    fn guard(&self, lock: File) -> Guard {
        Guard { record: self.read().unwrap_or_default(), path: self.path.clone(), _lock: lock }
    }

    /// A file beside the record, which goes with it.
    pub fn beside(&self, what: &str) -> PathBuf {
        self.path.with_extension(what)
    }

    /// A file beside the record, for a process to hold while it does something that only one may do.
    pub fn claim(&self, what: &str) -> io::Result<Option<File>> {
        let file = open(&self.path.with_extension(what))?;
        Ok(try_lock(&file)?.then_some(file))
    }

    /// Whether its file cannot be read as a record.
    fn is_damaged(&self) -> bool {
        self.read().is_none_or(|record| record.key.is_empty())
    }

    fn lock_path(&self) -> PathBuf {
        self.path.with_extension("lock")
    }

    /// Whether it runs in a living process other than this one.
    fn runs_elsewhere(&self, process: Option<Process>) -> bool {
        let Some(process) = process else { return false };
        let runs_in = self.read().and_then(|record| record.process);
        runs_in.is_some_and(|other| other != process && other.is_alive())
    }

    /// Whether the session of a process is also the one that asks, though its id does not lead here.
    fn is_of(&self, who: &Identity, continues: Continues) -> bool {
        let Some(record) = self.read() else { return false };
        match &who.session {
            None => true,
            Some(session) => {
                continues == Continues::Process
                    || record.sessions.is_empty()
                    || record.sessions.contains(session)
            }
        }
    }
}

impl Guard {
    /// The record, without its lock.
    pub(super) fn into_record(self) -> Record {
        self.record
    }

    /// Keeps the record as it is now, in one step.
    pub fn save(&self) -> io::Result<()> {
        let aside = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&aside)?;
        io::Write::write_all(&mut file, &serde_json::to_vec(&self.record)?)?;
        fs::rename(&aside, &self.path)
    }
}

/// The key to join with: that which an adapter without a registry takes for the same session, if it may be had.
fn key(who: &Identity, of_session: bool) -> String {
    match &who.session {
        Some(session) if of_session => format!("{}:{session}", who.kind),
        Some(_) | None => format!("{}:{}", who.kind, uuid::Uuid::new_v4()),
    }
}

fn session_link(kind: &str, session: &str) -> String {
    format!("s-{}-{}", file_name(kind), file_name(session))
}

fn process_link(kind: &str, Process { pid, started }: Process) -> String {
    format!("p-{}-{pid}-{started}", file_name(kind))
}

/// What came from outside may be any text, and the name of a file may not.
fn file_name(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if text.bytes().all(plain) {
        return text.to_owned();
    }
    text.bytes().fold("=".to_owned(), |name, b| name + &format!("{b:02x}"))
}

fn is_record(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("a-") && !name.contains('.')
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|passed| passed > age))
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Opens a file and waits for its exclusive lock, which lasts as long as the result.
fn locked(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    let mut waited = Duration::ZERO;
    while !try_lock(&file)? {
        if waited >= LOCK_WITHIN {
            return Err(in_use(path));
        }
        std::thread::sleep(LOCK_STEP);
        waited += LOCK_STEP;
    }
    Ok(file)
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn in_use(path: &Path) -> io::Error {
    let text = format!("{} has been in use for 5 s; is a process of the mesh stopped?", path.display());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry { directory: dir.path().join("agents") };
        (dir, registry)
    }

    fn this() -> Process {
        Process::of(std::process::id()).unwrap()
    }

    /// A process that lives, other than this one.
    fn other() -> Process {
        Process::of(1).unwrap()
    }

    fn gone() -> Process {
        Process { pid: u32::MAX, started: 1 }
    }

    fn who(session: &str, process: Option<Process>) -> Identity {
        let session = (!session.is_empty()).then(|| session.to_owned());
        Identity { kind: "codex".into(), session, process }
    }

    #[test]
    fn whoever_comes_first_the_processes_of_a_session_meet() {
        let all = [who("s1", Some(this())), who("s1", None), who("", Some(this()))];
        // Only who knows both can join the halves, so it may come at any place but after two that know different ones.
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [2, 0, 1]] {
            let (_dir, registry) = registry();
            let found = order.map(|at| registry.bind(&all[at], Continues::Nothing).unwrap());
            assert_eq!(found[0], found[1], "{order:?}");
            assert_eq!(found[1], found[2], "{order:?}");
            let record = found[0].read().unwrap();
            assert_eq!((record.sessions, record.process), (vec!["s1".to_owned()], Some(this())));
        }
    }

    #[test]
    fn the_key_is_that_of_the_session_when_it_is_known_first() {
        let (_dir, registry) = registry();
        let agent = registry.bind(&who("s1", None), Continues::Nothing).unwrap();
        assert_eq!(agent.read().unwrap().key, "codex:s1");
        let by_process = registry.bind(&who("", Some(this())), Continues::Nothing).unwrap();
        let key = by_process.read().unwrap().key;
        assert!(key.starts_with("codex:") && key.len() == "codex:".len() + 36, "{key}");
    }

    #[test]
    fn a_cleared_session_goes_on_and_another_does_not() {
        let (_dir, registry) = registry();
        let first = registry.bind(&who("s1", Some(this())), Continues::Nothing).unwrap();
        assert_eq!(registry.bind(&who("s2", Some(this())), Continues::Process).unwrap(), first);
        assert_eq!(first.read().unwrap().sessions, ["s1", "s2"]);
        let third = registry.bind(&who("s3", Some(this())), Continues::Nothing).unwrap();
        assert_ne!(third, first);
        assert_eq!(registry.of_process("codex", this()), Some(third));
        // Back to the first one, in the same process.
        assert_eq!(registry.bind(&who("s1", Some(this())), Continues::Nothing).unwrap(), first);
        assert_eq!(registry.of_process("codex", this()), Some(first));
    }

    #[test]
    fn a_session_resumed_after_its_process_ended_is_the_same() {
        let (_dir, registry) = registry();
        let first = registry.bind(&who("s1", Some(gone())), Continues::Nothing).unwrap();
        let again = registry.bind(&who("s1", Some(this())), Continues::Nothing).unwrap();
        assert_eq!(again, first);
        assert_eq!(again.read().unwrap().process, Some(this()));
    }

    #[test]
    fn a_session_resumed_twice_at_once_is_two() {
        let (_dir, registry) = registry();
        let first = registry.bind(&who("s1", Some(other())), Continues::Nothing).unwrap();
        let second = registry.bind(&who("s1", Some(this())), Continues::Nothing).unwrap();
        assert_ne!(second, first);
        assert_ne!(second.read().unwrap().key, first.read().unwrap().key);
        for _ in 0..2 {
            assert_eq!(registry.bind(&who("s1", Some(this())), Continues::Nothing).unwrap(), second);
            assert_eq!(registry.bind(&who("s1", Some(other())), Continues::Nothing).unwrap(), first);
        }
    }

    #[test]
    fn kinds_are_apart() {
        let (_dir, registry) = registry();
        let codex = registry.bind(&who("s1", Some(this())), Continues::Nothing).unwrap();
        let other = Identity { kind: "gemini".into(), ..who("s1", Some(this())) };
        assert_eq!(registry.find(&other), None);
        assert_ne!(registry.bind(&other, Continues::Nothing).unwrap(), codex);
    }

    #[test]
    fn many_at_once_agree() {
        let (_dir, registry) = registry();
        let bind = || registry.bind(&who("s1", Some(this())), Continues::Nothing).unwrap();
        let found: Vec<Agent> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(bind)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().all(|agent| *agent == found[0]));
    }

    #[test]
    fn hostile_ids_stay_in_the_directory_and_secrets_private() {
        let (dir, registry) = registry();
        for id in ["../../x", "a/b", "..", "\0", &"x".repeat(1000), "ö"] {
            let agent = registry.bind(&who(id, Some(this())), Continues::Nothing).unwrap();
            assert_eq!(agent.path.parent(), Some(registry.directory.as_path()));
            assert_eq!(fs::metadata(&agent.path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_record_is_a_new_one() {
        let (_dir, registry) = registry();
        let agent = registry.bind(&who("s1", Some(this())), Continues::Nothing).unwrap();
        fs::write(&agent.path, "{").unwrap();
        assert_eq!(agent.read(), None);
        let again = registry.bind(&who("s1", Some(this())), Continues::Nothing).unwrap();
        assert_eq!(again, agent);
        let record = again.read().unwrap();
        assert_eq!((record.key.as_str(), record.process), ("codex:s1", Some(this())), "the peer that it was");
    }

    #[test]
    fn a_session_is_found_where_it_runs() {
        let (_dir, registry) = registry();
        let first = registry.bind(&who("s1", Some(other())), Continues::Nothing).unwrap();
        assert_eq!(registry.find_running(&who("s1", Some(this()))), None, "another process has it");
        assert_eq!(registry.find_running(&who("s1", Some(other()))), Some(first.clone()));
        // A helper of it knows the id only, or has a process of no matter.
        for process in [None, Some(this())] {
            assert_eq!(registry.find(&who("s1", process)), Some(first.clone()));
        }
        let second = registry.bind(&who("s1", Some(this())), Continues::Nothing).unwrap();
        assert_eq!(registry.find(&who("s1", Some(this()))), Some(second));
        assert_eq!(registry.find(&who("s1", Some(other()))), Some(first.clone()));
        // In a shell of the first, which this process is below.
        assert_eq!(registry.find_above(&who("s1", None)), Some(first));
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let (_dir, registry) = registry();
        let live = registry.bind(&who("live", Some(this())), Continues::Nothing).unwrap();
        let dead = registry.bind(&who("dead", Some(gone())), Continues::Nothing).unwrap();
        let long_ago = SystemTime::now() - 2 * KEPT;
        for agent in [&live, &dead] {
            File::options().write(true).open(&agent.path).unwrap().set_modified(long_ago).unwrap();
        }
        registry.tidy();
        assert_eq!(registry.find(&who("live", None)), Some(live));
        assert_eq!(registry.find(&who("dead", None)), None);
        let left = fs::read_dir(&registry.directory).unwrap().flatten();
        assert!(left.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().contains("dead")));
    }
}
