//! Pauses of the broker and of clients, and connections that are cut, stalled, mute or slow, under load.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use mesh_client::{Autostart, Client, Config, Endpoint};
use mesh_tests::{Mesh, Signal, signal};
use tokio::process::Child;

use crate::crew::Crew;
use crate::dice::Dice;
use crate::proxy::{Proxy, Way};
use crate::record::{Record, pause};
use crate::report::Report;
use crate::victim::Victims;

const WORKERS: usize = 6;

/// Makes so many faults, and checks what came of it.
pub async fn run(seed: u64, rounds: u64, victims: &Victims) -> Result<Report> {
    let (mesh, record) = (Mesh::new(), Record::new());
    let mut dice = Dice::new(seed);
    let broker = mesh.serve(&[]);
    let proxy = Proxy::start(&mesh.path().join("proxy.sock"), &mesh.home().socket_path())?;
    let direct = mesh.client();
    let through = Config {
        endpoint: Endpoint::Unix(proxy.path().to_path_buf()),
        autostart: Autostart::Never,
        ..Config::local(mesh.home())
    };
    // Every second client has no proxy between: it sees what becomes of the others.
    let turn = std::cell::Cell::new(false);
    let connect = || {
        turn.set(!turn.get());
        if turn.get() {
            Client::new(through.clone()).unwrap_or_else(|_| direct.clone())
        } else {
            mesh.client()
        }
    };
    let crew = Crew::start(WORKERS, &dice, &record, connect).await;
    let (mut faults, mut times) = (BTreeMap::new(), Vec::new());
    let mut victim = victims.start(&mesh, 0, &mut dice)?;
    for round in 0..rounds {
        pause(Duration::from_millis(dice.among(50..400))).await;
        let what = match dice.among(0..10) {
            0 => {
                times.push(record.now());
                broker.pause();
                // Longer than the lease of two seconds that some have, half the time.
                pause(Duration::from_millis(dice.among(200..3_500))).await;
                broker.resume();
                "pause of the broker"
            }
            1 => {
                victim = stop_for_long(victim, victims, &mesh, round, &mut dice).await?;
                "pause and kill of a client"
            }
            2..6 => {
                proxy.cut(if dice.percent(30) { 0 } else { dice.among(1..2_000) });
                "cut"
            }
            6 => {
                let way = *dice.pick(&[Way::Stalled, Way::Mute]);
                proxy.go(way);
                pause(Duration::from_millis(dice.among(100..1_500))).await;
                proxy.cut(dice.among(0..500));
                proxy.go(Way::Open);
                "stall or half-open, then cut"
            }
            7 => {
                proxy.go(Way::Mute);
                pause(Duration::from_millis(dice.among(100..1_000))).await;
                proxy.go(Way::Open);
                "half-open for a while"
            }
            _ => {
                proxy.go(Way::Slow);
                pause(Duration::from_millis(dice.among(100..500))).await;
                proxy.go(Way::Open);
                "delay"
            }
        };
        *faults.entry(what).or_default() += 1;
    }
    victim.start_kill()?;
    victim.wait().await?;
    crew.finish(&direct).await;
    let history = record.history();
    Ok(Report::of(seed, faults, &times, &history))
}

/// A client that holds locks is stopped, and then killed without ever going on, or goes on late.
async fn stop_for_long(
    mut victim: Child,
    victims: &Victims,
    mesh: &Mesh,
    round: u64,
    dice: &mut Dice,
) -> Result<Child> {
    let pid = victim.id().context("the client is gone")?;
    signal(pid, Signal::STOP);
    pause(Duration::from_millis(dice.among(100..2_500))).await;
    if dice.percent(50) {
        signal(pid, Signal::CONT);
        return Ok(victim);
    }
    victim.start_kill()?;
    victim.wait().await?;
    victims.start(mesh, round, dice)
}
