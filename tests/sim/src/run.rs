//! One run: a broker, its disk, its clients, and what goes wrong, all from one seed, on one thread and virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_broker::ids::Ids;
use mesh_broker::store::MemoryDisk;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::actor::Actor;
use crate::books::{Shared, Violation};
use crate::clocks::Machine;
use crate::dice::Dice;
use crate::net::Wire;
use crate::process::{Machinery, Town};
use crate::reader::Reader;
use crate::weather::Weather;

/// How long nothing goes wrong at the end: by then everything that is due must be over.
const CALM: Duration = Duration::from_secs(40);
/// How often to look whether a promise was broken.
const LOOK: Duration = Duration::from_millis(100);

/// How a run went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// Digest of everything that happened.
    pub digest: String,
    /// The trace: all of it, or the end.
    pub trace: Vec<String>,
    /// Transactions that became durable.
    pub transactions: u64,
    /// Answers that left the broker.
    pub answers: u64,
    /// Answers by kind of call.
    pub operations: BTreeMap<String, u64>,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

/// How much of the trace is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The end of it.
    Tail,
    /// All of it.
    Everything,
}

/// Runs a seed.
pub fn run(seed: u64, keep: Keep) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let books = runtime.block_on(simulate(seed, keep))?;
    // Whatever still runs is dropped here, and finds everything as it was.
    drop(runtime);
    Ok(books.with(|books| Outcome {
        seed,
        violation: books.violation.clone(),
        digest: books.trace.digest(),
        trace: books.trace.lines().to_vec(),
        transactions: books.durable(),
        answers: books.answers,
        operations: books.operations.clone(),
        faults: books.faults.clone(),
    }))
}

async fn simulate(seed: u64, keep: Keep) -> anyhow::Result<Shared> {
    let weather = Weather::of(seed);
    let machine = Arc::new(Machine::new());
    let books = Shared::new(seed, weather.clone(), machine.clone(), keep == Keep::Everything);
    books.note("seed", &format!("{seed}: {weather:?}"));
    let machinery = Machinery {
        disk: MemoryDisk::new(),
        machine: machine.clone(),
        books: books.clone(),
        weather: weather.clone(),
        town: Town::default(),
        ids: Ids::seeded(Dice::of(seed, "ids").roll()),
    };
    let town = machinery.town.clone();
    let mut tasks = vec![AbortOnDropHandle::new(tokio::spawn(machinery.keep_running(seed)))];
    let (work, end) = (Instant::now() + weather.length, Instant::now() + weather.length + CALM);
    let mut wires = Vec::new();
    let scope = |number: u64| format!("sim/s{}", number % weather.scopes);
    for number in 0..weather.peers {
        let name = format!("peer{number}");
        let wire = Wire::new(&name, seed, &town, &books, &weather);
        let others = (0..weather.peers).filter(|other| scope(*other) == scope(number));
        let others = others.map(|other| format!("peer{other}")).collect();
        let actor = Actor::new(&name, &scope(number), others, seed, wire.clone(), &books)?;
        wires.push(wire);
        tasks.push(AbortOnDropHandle::new(tokio::spawn(actor.run(work))));
    }
    for number in 0..3 {
        let name = format!("reader{number}");
        let wire = Wire::new(&name, seed, &town, &books, &weather);
        let scopes = if number == 0 { Vec::new() } else { vec![scope(number)] };
        let reader = Reader::new(&name, scopes, seed, &wire, &books)?;
        wires.push(wire);
        tasks.push(AbortOnDropHandle::new(tokio::spawn(reader.run(end))));
    }
    let trouble = trouble(seed, weather, town.clone(), machine, books.clone(), wires);
    let trouble = AbortOnDropHandle::new(tokio::spawn(trouble));
    while Instant::now() < work && !is_over(&books) {
        sleep(LOOK).await;
    }
    books.with(|books| books.calm = true);
    drop(trouble);
    while Instant::now() < end + Duration::from_secs(1) && !is_over(&books) {
        sleep(LOOK).await;
    }
    last_look(&town, &books);
    drop(tasks);
    Ok(books)
}

fn is_over(books: &Shared) -> bool {
    books.with(|books| books.violation.is_some())
}

/// At the end of a run everything is as it should be.
fn last_look(town: &Town, books: &Shared) {
    let Some(process) = town.process() else {
        return books.demand("restart is a non-event", false, || "no broker runs at the end".to_owned());
    };
    books.with(|books| {
        books.compare("the broker's view at the end", &process.view.read());
        if let Err((invariant, what)) = books.model.ended(process.clock.at().0) {
            books.violate(invariant, what);
        }
    });
}

/// What goes wrong beside the network and the disk.
async fn trouble(
    seed: u64,
    weather: Weather,
    town: Town,
    machine: Arc<Machine>,
    books: Shared,
    wires: Vec<Wire>,
) {
    let mut dice = Dice::of(seed, "trouble");
    let mean = u64::try_from(weather.trouble.as_millis()).unwrap_or(10_000);
    loop {
        sleep(dice.millis(mean / 4, 2 * mean)).await;
        let Some(process) = town.process() else { continue };
        match dice.within(0, 9) {
            0 | 1 => {
                books.fault("crash");
                process.crash();
            }
            2 => {
                books.fault("stop");
                process.terminate();
            }
            3 | 4 => {
                let span =
                    if dice.happens(3_000) { dice.within(2_000, 20_000) } else { dice.within(50, 2_000) };
                books.fault("broker paused");
                books.with(|books| books.model.signs.stalls += span);
                tokio::spawn(async move { process.pause(Duration::from_millis(span)).await });
            }
            5 => {
                books.fault("wall clock jumps");
                let far = i64::try_from(dice.within(1_000, 90_000_000)).unwrap_or(1_000);
                machine.jump(if dice.happens(5_000) { far } else { -far });
            }
            6 | 7 => {
                books.fault("connection breaks");
                dice.pick(&wires).cut();
            }
            _ => {
                books.fault("client cut off");
                let (wire, span) = (dice.pick(&wires).clone(), dice.millis(500, 20_000));
                tokio::spawn(async move { wire.freeze(span).await });
            }
        }
    }
}
