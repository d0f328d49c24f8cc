//! The result, as tables for people or as one JSON object.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cell::Cell;
use crate::figures::{Figure, Work};
use crate::process::Machine;
use crate::sheet::Sheet;
use crate::stats::Spread;

/// What a run finds: tables as they come, or one JSON object at the end.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    found: Value,
}

/// One number of a cell.
struct Column {
    /// In tables.
    title: &'static str,
    /// In JSON.
    name: &'static str,
    value: fn(&Cell) -> f64,
    ratio: Ratio,
}

/// Whether a number means something against another server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ratio {
    Told,
    /// It may be near zero or negative, or is the same by design.
    Senseless,
}

const P50: Column =
    Column { title: "p50 µs", name: "p50_us", value: |cell| cell.latencies.micros(0.5), ratio: Ratio::Told };
const P99: Column =
    Column {
        title: "p99 µs", name: "p99_us", value: |cell| cell.latencies.micros(0.99), ratio: Ratio::Told
    };
const P999: Column = Column {
    title: "p99.9 µs",
    name: "p999_us",
    value: |cell| cell.latencies.micros(0.999),
    ratio: Ratio::Told,
};
const SERVER: Column = Column {
    title: "server CPU µs/each",
    name: "server_cpu_us",
    value: Cell::server_micros,
    ratio: Ratio::Told,
};
const CALLS: Column = Column { title: "calls/s", name: "per_second", value: Cell::rate, ratio: Ratio::Told };
const DELIVERIES: Column =
    Column { title: "deliveries/s", name: "per_second", value: Cell::rate, ratio: Ratio::Senseless };
const DELIVERED: Column =
    Column { title: "delivered/s", name: "per_second", value: Cell::rate, ratio: Ratio::Told };
const ANSWER: Column = Column {
    title: "answer p50 µs",
    name: "answer_p50_us",
    value: |cell| cell.answers.as_ref().map_or(f64::NAN, |answers| answers.latencies.micros(0.5)),
    ratio: Ratio::Told,
};
const AFTER: Column = Column {
    title: "answer to event p50 µs",
    name: "answer_to_event_p50_us",
    value: |cell| cell.answers.as_ref().map_or(f64::NAN, |answers| answers.to_delivery.0),
    ratio: Ratio::Senseless,
};
const AFTER_P99: Column = Column {
    title: "p99 µs",
    name: "answer_to_event_p99_us",
    value: |cell| cell.answers.as_ref().map_or(f64::NAN, |answers| answers.to_delivery.1),
    ratio: Ratio::Senseless,
};

fn columns(work: Work) -> &'static [Column] {
    match work {
        Work::Heartbeat { .. }
        | Work::Read { .. }
        | Work::Put { .. }
        | Work::Lock { .. }
        | Work::Mail { .. } => const { &[CALLS, P50, P99, P999, SERVER] },
        Work::Fanout { .. } => const { &[DELIVERED, P50, P99, P999, SERVER] },
        Work::Events { .. } => const { &[DELIVERIES, P50, P99, P999, SERVER, ANSWER, AFTER, AFTER_P99] },
    }
}

impl Work {
    /// What a figure is called.
    pub(crate) fn title(self) -> String {
        let by = |what: &str, callers: usize| match callers {
            1 => format!("{what}, 1 caller"),
            callers => format!("{what}, {callers} callers on {} connections", callers.min(8)),
        };
        match self {
            Self::Heartbeat { callers } => by("heartbeat", callers),
            Self::Read { callers } => by("read of an entry", callers),
            Self::Put { callers } => by("durable put", callers),
            Self::Lock { callers, contended: false } => by("lock and release, a lock each", callers),
            Self::Lock { callers, contended: true } => by("lock and release, one lock for all", callers),
            Self::Mail { callers } => by("send, read and acknowledge a message", callers),
            Self::Events { subscribers: 1, rate } => format!("event, 1 subscriber, {rate} puts/s"),
            Self::Events { subscribers, rate } => format!("event, {subscribers} subscribers, {rate} puts/s"),
            Self::Fanout { publishers, subscribers } => {
                format!("event at full speed, {publishers} publishers, {subscribers} subscribers")
            }
        }
    }

    /// What the broker aims at.
    pub(crate) fn aim(self) -> &'static str {
        match self {
            Self::Heartbeat { .. } | Self::Read { .. } => "calls/s ≥ 0.95 × tonic echo",
            Self::Put { callers: 1 } => "p50 ≤ 0.85 × etcd, ≤ 1.6 × (tonic echo + one sync)",
            Self::Put { .. } => "calls/s ≥ 0.7 × tonic echo, ≥ 2.5 × etcd; p99 ≤ 0.5 × etcd",
            Self::Lock { .. } => "calls/s ≥ 4 × etcd",
            Self::Mail { .. } => "calls/s ≥ 0.5 × NATS JetStream, which does not sync",
            Self::Events { .. } => "p50 ≤ 1.2 × NATS core, ≤ 0.65 × etcd",
            Self::Fanout { subscribers, .. } if subscribers < 100 => {
                "delivered/s ≥ 3 × etcd, ≥ 2 × tonic echo; latency below NATS core and etcd"
            }
            Self::Fanout { .. } => {
                "delivered/s ≥ 1 × NATS core, ≥ 3 × etcd, ≥ 2 × tonic echo; latency below NATS core and etcd"
            }
        }
    }
}

/// Whether two servers are reached alike; a server that has one way alone is like every other.
fn alike(one: &str, other: &str) -> bool {
    let way = |name: &str| name.rsplit_once('(').map(|(_, way)| way.to_owned());
    way(one).zip(way(other)).is_none_or(|(one, other)| one == other)
}

impl Report {
    /// `span` is how long each server works in each round.
    pub(crate) fn begin(machine: &Machine, rounds: u32, span: Duration, json: bool) -> Self {
        if !json {
            println!("{machine}; {rounds} rounds of {} s", span.as_secs_f64());
            println!("median over rounds [least..most]; ratios are of the same round");
        }
        let found = json!({
            "machine": machine.to_string(),
            "rounds": rounds,
            "seconds": span.as_secs_f64(),
            "figures": [],
            "sheets": [],
        });
        Self { json, found }
    }

    pub(crate) fn figure(&mut self, figure: &Figure) {
        if !self.json {
            print!("{}", figure.text());
        }
        self.add("figures", figure.json());
    }

    pub(crate) fn sheet(&mut self, sheet: &Sheet) {
        if !self.json {
            print!("{}", sheet.text());
        }
        self.add("sheets", sheet.json());
    }

    fn add(&mut self, to: &str, part: Value) {
        if let Some(parts) = self.found[to].as_array_mut() {
            parts.push(part);
        }
    }

    pub(crate) fn end(&self) {
        if self.json {
            println!("{:#}", self.found);
        }
    }
}

impl Figure {
    fn text(&self) -> String {
        let missing = self.missing.iter();
        let missing: String =
            missing.map(|name| format!("\nnot measured beside {name}: it is not installed\n")).collect();
        format!(
            "\n{}\naim: {}\n\n{}{missing}\nother processes used {} % of the machine\n",
            self.work.title(),
            self.work.aim(),
            table(&self.rows()),
            percent(self.foreign()),
        )
    }

    /// One value a round.
    fn values(&self, server: usize, column: &Column) -> Vec<f64> {
        self.servers[server].1.iter().map(column.value).collect()
    }

    fn foreign(&self) -> Spread {
        Spread::of(self.servers.iter().flat_map(|(_, cells)| cells).map(|cell| cell.foreign))
    }

    /// Every pair of servers whose ratio is worth telling: the broker, on each way, to all others.
    fn pairs(&self) -> Vec<(usize, usize)> {
        let name = |server: usize| self.servers[server].0.as_str();
        let (meshes, others): (Vec<_>, Vec<_>) =
            (0..self.servers.len()).partition(|server| name(*server).starts_with("mesh"));
        let pairs = meshes.iter().flat_map(|mesh| others.iter().map(|other| (*mesh, *other)));
        pairs.filter(|(mesh, other)| alike(name(*mesh), name(*other))).collect()
    }

    /// The broker on the way of the first bare server.
    fn mesh(&self) -> usize {
        self.servers.iter().position(|(name, _)| name.starts_with("mesh")).unwrap_or_default()
    }

    fn ratio(&self, (server, reference): (usize, usize), column: &Column) -> Option<Spread> {
        let (values, reference) = (self.values(server, column), self.values(reference, column));
        (column.ratio == Ratio::Told).then(|| Spread::of_ratios(&values, &reference))
    }

    /// The p50 of a call to a bare server and one sync: what a durable call costs at least, a value a round.
    fn floor(&self) -> Option<Vec<f64>> {
        let Work::Put { callers: 1 } = self.work else { return None };
        Some(self.values(0, &P50).iter().zip(&self.syncs).map(|(echo, sync)| echo + sync).collect())
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let columns = columns(self.work);
        let titles = columns.iter().map(|column| column.title.to_owned());
        let mut rows = vec![std::iter::once(String::new()).chain(titles).collect::<Vec<_>>()];
        for (server, (name, _)) in self.servers.iter().enumerate() {
            let cells = columns.iter().map(|column| Spread::of(self.values(server, column)).to_string());
            rows.push(std::iter::once(name.clone()).chain(cells).collect());
        }
        for pair @ (server, reference) in self.pairs() {
            let name = format!("{} ÷ {}", self.servers[server].0, self.servers[reference].0);
            let cells =
                columns.iter().map(|column| self.ratio(pair, column).map_or("–".into(), |r| r.to_string()));
            rows.push(std::iter::once(name).chain(cells).collect());
        }
        let p50 = |name: &str, spread: Spread| vec![name.to_owned(), "–".to_owned(), spread.to_string()];
        rows.push(p50("one sync of the disk", Spread::of(self.syncs.iter().copied())));
        if let Some(floor) = self.floor() {
            rows.push(p50("tonic echo + one sync", Spread::of(floor.iter().copied())));
            rows.push(p50("mesh ÷ that", Spread::of_ratios(&self.values(self.mesh(), &P50), &floor)));
        }
        rows
    }

    fn json(&self) -> Value {
        let columns = columns(self.work);
        let servers = self.servers.iter().enumerate().map(|(server, (name, cells))| {
            let numbers: serde_json::Map<_, _> = columns
                .iter()
                .map(|column| (column.name.into(), Spread::of(self.values(server, column)).json()))
                .collect();
            json!({ "server": name, "count": cells.iter().map(|c| c.latencies.count()).sum::<u64>(),
                    "numbers": numbers })
        });
        let ratios = self.pairs().into_iter().map(|pair| {
            let numbers: serde_json::Map<_, _> = columns
                .iter()
                .filter_map(|column| Some((column.name.into(), self.ratio(pair, column)?.json())))
                .collect();
            json!({ "of": self.servers[pair.0].0, "to": self.servers[pair.1].0, "numbers": numbers })
        });
        let floor = self.floor().map(|floor| {
            json!({ "p50_us": Spread::of(floor.iter().copied()).json(),
                    "ratio": Spread::of_ratios(&self.values(self.mesh(), &P50), &floor).json() })
        });
        json!({
            "title": self.work.title(),
            "aim": self.work.aim(),
            "servers": servers.collect::<Vec<_>>(),
            "ratios": ratios.collect::<Vec<_>>(),
            "sync_p50_us": Spread::of(self.syncs.iter().copied()).json(),
            "echo_plus_sync": floor,
            "missing": self.missing,
            "foreign_cpu": self.foreign().json(),
        })
    }
}

fn percent(share: Spread) -> String {
    let Spread { median, min, max } = share;
    format!("{:.0} [{:.0}..{:.0}]", median * 100.0, min * 100.0, max * 100.0)
}

/// Lines up rows of cells, as a Markdown table.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, width) in widths.iter().enumerate() {
            let cell = row.get(column).map_or("–", String::as_str);
            text.push_str(&format!("| {cell:<width$} "));
        }
        text.push_str("|\n");
        if index == 0 {
            for width in &widths {
                text.push_str(&format!("| {} ", "-".repeat(*width)));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Latencies;

    fn cell(micros: u64) -> Cell {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(Duration::from_micros(micros)).unwrap();
        let (elapsed, server_cpu) = (Duration::from_micros(micros), Duration::from_micros(10));
        Cell { elapsed, latencies, server_cpu, foreign: 0.01, answers: None }
    }

    fn figure(callers: usize) -> Figure {
        let server = |name: &str, micros: [u64; 2]| (name.to_owned(), micros.map(cell).into());
        Figure {
            work: Work::Put { callers },
            servers: vec![server("echo", [100, 200]), server("old", [400, 800]), server("mesh", [200, 400])],
            syncs: vec![100.0, 200.0],
            missing: Vec::new(),
        }
    }

    fn near(found: f64, wanted: f64) -> bool {
        (found / wanted - 1.0).abs() < 0.002
    }

    #[test]
    fn every_broker_is_held_against_the_reference_and_the_baseline() {
        let figure = figure(64);
        assert_eq!(figure.pairs(), [(2, 0), (2, 1)]);
        let ratio = |pair, column| figure.ratio(pair, column).unwrap().median;
        assert!(near(ratio((2, 0), &P50), 2.0));
        assert!(near(ratio((2, 1), &P50), 0.5));
        assert!(near(ratio((2, 1), &CALLS), 2.0));
        assert!(figure.ratio((2, 1), &DELIVERIES).is_none());
    }

    #[test]
    fn the_floor_of_one_durable_caller_is_an_echo_and_a_sync() {
        let floor = figure(1).floor().unwrap();
        assert!(near(floor[0], 200.0) && near(floor[1], 400.0), "{floor:?}");
        assert!(figure(64).floor().is_none());
        let rows = figure(1).rows();
        assert_eq!(rows.last().unwrap()[2], "1.00 [1.00..1.00]");
    }

    #[test]
    fn json_names_every_server_and_ratio() {
        let json = figure(1).json();
        assert_eq!(json["servers"].as_array().unwrap().len(), 3);
        assert_eq!(json["ratios"][1]["of"], "mesh");
        assert_eq!(json["ratios"][1]["to"], "old");
        assert!(near(json["ratios"][1]["numbers"]["p50_us"]["median"].as_f64().unwrap(), 0.5));
    }

    #[test]
    fn tables_line_up() {
        let rows = [vec!["".to_owned(), "µs".to_owned()], vec!["mesh".to_owned()]];
        assert_eq!(table(&rows), "|      | µs |\n| ---- | -- |\n| mesh | –  |\n");
    }
}
