//! Power cuts at any line of a recording, and what a broker makes of what is left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mesh_client::proto::{EventBatch, GetRequest};
use mesh_client::{Client, ClientError, ErrorReason};
use mesh_tests::{Mesh, SCOPE, get, history};
use tokio::io::{AsyncReadExt, BufReader};

use super::disk::{Disk, Keeps};
use super::recording::{Recording, files};
use super::wire::Exchange;
use crate::dice::Dice;

/// What came of the cuts.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many there were.
    pub cuts: usize,
    /// At how many something was written and not synced.
    pub with_pending: usize,
    /// How many acknowledged writes were looked up in all.
    pub looked_up: usize,
    /// What was wrong, with where.
    pub violations: Vec<String>,
}

/// Cuts the power so often at lines that the dice choose, many of them close to an answer.
pub async fn run(recording: &Recording, cuts: usize, dice: &mut Dice) -> Result<Outcome> {
    let mut lines: Vec<Line> = (0..cuts).map(|_| line(recording, dice)).collect();
    lines.sort_unstable();
    let mut outcome = Outcome::default();
    let mut replay = Replay::of(recording);
    for line in lines {
        let keeps = *dice.pick(&[Keeps::Nothing, Keeps::All, Keeps::Some, Keeps::Some]);
        replay.cut(line, keeps, dice, &mut outcome).await?;
    }
    Ok(outcome)
}

/// Cuts the power once, at this line.
pub async fn at(recording: &Recording, line: Line, keeps: Keeps, dice: &mut Dice) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    Replay::of(recording).cut(line, keeps, dice, &mut outcome).await?;
    Ok(outcome)
}

/// Number of a life, and a line of its trace.
pub type Line = (usize, usize);

/// A recording, replayed up to some line.
struct Replay<'a> {
    recording: &'a Recording,
    disk: Disk,
    reached: Line,
}

impl<'a> Replay<'a> {
    fn of(recording: &'a Recording) -> Self {
        Self { recording, disk: Disk::new(&recording.root()), reached: (0, 0) }
    }

    /// What the replay would leave without a power cut is what was there.
    fn is_true_to(&self, real: &BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
        let dir = tempfile::tempdir()?;
        self.disk.cut(Keeps::All, &mut Dice::new(0), dir.path())?;
        let replayed = files(dir.path())?;
        for path in real.keys().chain(replayed.keys()) {
            let same = real.get(path) == replayed.get(path);
            ensure!(same, "the replay of {} is not what was there", path.display());
        }
        Ok(())
    }

    /// Goes on to the line, which is not before the last one, and cuts there.
    async fn cut(&mut self, line: Line, keeps: Keeps, dice: &mut Dice, outcome: &mut Outcome) -> Result<()> {
        let (life, to) = line;
        while self.reached.0 < life {
            let past = &self.recording.lives[self.reached.0];
            self.disk.replay(&past.trace, self.reached.1, usize::MAX)?;
            self.disk.process_ended(&past.trace, &past.files)?;
            self.is_true_to(&past.files)?;
            self.reached = (self.reached.0 + 1, 0);
        }
        let trace = &self.recording.lives[life].trace;
        self.disk.replay(trace, self.reached.1, to)?;
        self.reached = line;
        // What was under way may have been done in part.
        let mut now = self.disk.clone();
        now.begin_what_is_under_way(trace, to)?;
        let answered = answered_before(self.recording, life, to);
        let dir = tempfile::Builder::new().prefix("mesh").tempdir()?;
        now.cut(keeps, dice, dir.path())?;
        let home = dir.path().join(Recording::home_below());
        let found = look(&home, &answered, &all_asked(self.recording, life)).await;
        outcome.cuts += 1;
        outcome.with_pending += usize::from(now.has_pending());
        outcome.looked_up += answered.len();
        let place = format!("life {life}, line {}, {keeps:?}", to + 1);
        outcome.violations.extend(found.into_iter().map(|what| format!("{place}: {what}")));
        Ok(())
    }
}

/// Where to cut: anywhere, or right after an answer went out.
fn line(recording: &Recording, dice: &mut Dice) -> Line {
    let which = usize::try_from(dice.among(0..recording.lives.len() as u64)).unwrap_or(0);
    let life = &recording.lives[which];
    let answers: Vec<usize> =
        life.exchanges.iter().filter_map(|exchange| exchange.answered.map(|(line, _)| line)).collect();
    if answers.is_empty() || dice.percent(50) {
        return (which, usize::try_from(dice.among(0..life.trace.lines as u64)).unwrap_or(0));
    }
    let near = usize::try_from(dice.among(0..6)).unwrap_or(0);
    (which, *dice.pick(&answers) + near)
}

/// What was acknowledged before a line.
fn answered_before(recording: &Recording, which: usize, line: usize) -> Vec<&Exchange> {
    let lives = recording.lives.iter().enumerate().take(which + 1);
    let all = lives.flat_map(|(number, life)| life.exchanges.iter().map(move |exchange| (number, exchange)));
    let before = |(number, exchange): &(usize, &Exchange)| {
        exchange.answered.is_some_and(|(at, _)| *number < which || at < line)
    };
    all.filter(before).map(|(_, exchange)| exchange).collect()
}

fn all_asked(recording: &Recording, which: usize) -> BTreeMap<&str, Vec<&str>> {
    let mut asked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for exchange in recording.lives.iter().take(which + 1).flat_map(|life| &life.exchanges) {
        asked.entry(&exchange.key).or_default().push(&exchange.value);
    }
    asked
}

/// Starts a broker on what is left, and names what is wrong with it.
async fn look(home: &Path, answered: &[&Exchange], asked: &BTreeMap<&str, Vec<&str>>) -> Vec<String> {
    // The directory of the home may be gone, when nothing was ever acknowledged.
    if let Err(error) = fs::create_dir_all(home) {
        return vec![format!("no home: {error}")];
    }
    let mesh = Mesh::at(home.to_path_buf());
    match opened(&mesh).await {
        Ok(broker) => {
            let wrong = compare(&mesh.client(), answered, asked).await;
            drop(broker);
            wrong.unwrap_or_else(|error| vec![format!("cannot be read: {error}")])
        }
        Err(error) => vec![format!("does not open: {error:#}")],
    }
}

/// A broker, killed when it is dropped.
async fn opened(mesh: &Mesh) -> Result<tokio::process::Child> {
    let mut command =
        tokio::process::Command::from(mesh.meshctl(&["serve", "--auto", "--idle-exit", "3600"]));
    let log = mesh.path().join("look.log");
    command.stdout(Stdio::piped()).stderr(fs::File::create(&log)?).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut output = BufReader::new(child.stdout.take().context("no output")?);
    let mut said = [0; 6];
    let ready = tokio::time::timeout(Duration::from_secs(60), output.read_exact(&mut said)).await?;
    ensure!(ready.is_ok() && said == *b"ready\n", "{}", fs::read_to_string(&log).unwrap_or_default());
    Ok(child)
}

/// Every acknowledged write is there, or a later one of the same key; and in the history.
async fn compare(
    client: &Client,
    answered: &[&Exchange],
    asked: &BTreeMap<&str, Vec<&str>>,
) -> Result<Vec<String>, ClientError> {
    let mut wrong = Vec::new();
    let log: BTreeMap<u64, EventBatch> =
        history(client, 1).await.into_iter().map(|batch| (batch.revision, batch)).collect();
    for exchange in answered {
        let Some((_, told)) = exchange.answered else { continue };
        if !log.contains_key(&told.revision) {
            wrong.push(format!("revision {} of {} is not in the history", told.revision, exchange.key));
        }
        let request = GetRequest { scope: SCOPE.into(), ..get(&exchange.key) };
        let entry = client.call(|client| {
            let request = request.clone();
            async move { client.state().get(request).await }
        });
        let entry = match entry.await {
            Ok(found) => found.entry.unwrap_or_default(),
            Err(error) if error.reason() == Some(ErrorReason::KeyNotFound) => {
                wrong.push(format!("{}, acknowledged at {}, is gone", exchange.key, told.revision));
                continue;
            }
            Err(error) => return Err(error),
        };
        let same = entry.version == told.version && entry.value == exchange.value;
        let later = entry.version > told.version
            && asked.get(exchange.key.as_str()).is_some_and(|values| values.contains(&entry.value.as_str()));
        if !same && !later {
            wrong.push(format!("{} is version {}, not {}", exchange.key, entry.version, told.version));
        }
    }
    Ok(wrong)
}
