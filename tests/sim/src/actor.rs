//! A peer at work: a real client with a real session, doing one thing after the other, dying and coming back.

mod ops;

use std::time::Duration;

use mesh_client::{
    Chance, Client, ClientError, Config, Endpoint, Home, JoinOptions, Lane, Liveness, Session,
};
use tokio::time::{Instant, sleep};

use crate::books::Shared;
use crate::dice::Dice;
use crate::net::Wire;

/// A peer.
#[derive(Debug)]
pub struct Actor {
    name: String,
    scope: String,
    others: Vec<String>,
    wire: Wire,
    client: Client,
    books: Shared,
    dice: Dice,
    session: Option<Session>,
    /// Locks that it was told it has.
    held: Vec<(String, u64)>,
    serial: u64,
}

/// A client over a simulated wire.
pub fn client(wire: &Wire, seed: u64, name: &str) -> Result<Client, ClientError> {
    let config = Config {
        home: Home::at("/sim")?,
        endpoint: Endpoint::Unix("/sim/socket".into()),
        token: None,
        tls: mesh_client::Tls::default(),
        scope: None,
        autostart: mesh_client::Autostart::Never,
    };
    let chance = Chance::seeded(Dice::of(seed, &format!("chance {name}")).roll());
    Client::through(config, Lane::new(wire.clone()), chance)
}

impl Actor {
    /// A peer of a scope, with the names of all that are in it.
    pub fn new(
        name: &str,
        scope: &str,
        others: Vec<String>,
        seed: u64,
        wire: Wire,
        books: &Shared,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            client: client(&wire, seed, name)?,
            name: name.to_owned(),
            scope: scope.to_owned(),
            others: others.into_iter().filter(|other| other != name).collect(),
            wire,
            books: books.clone(),
            dice: Dice::of(seed, &format!("actor {name}")),
            session: None,
            held: Vec::new(),
            serial: 0,
        })
    }

    /// Works until a moment, then leaves or dies.
    pub async fn run(mut self, until: Instant) {
        while Instant::now() < until {
            sleep(self.dice.millis(20, 500)).await;
            let Some(session) = self.session.clone() else {
                self.join().await;
                continue;
            };
            if let Err(error) = self.act(&session).await {
                self.books.note(&self.name, &format!("failed: {error}"));
                if matches!(error, ClientError::SessionLeft) || error.reason().is_some_and(is_over) {
                    self.forget();
                }
            }
        }
        if self.dice.happens(5_000)
            && let Some(session) = &self.session
        {
            let left = session.leave().await;
            self.books.note(&self.name, &format!("left: {}", left.is_ok()));
        }
        self.die();
    }

    async fn join(&mut self) {
        let liveness = *self.dice.pick(&[
            Liveness::Attached,
            Liveness::Attached,
            Liveness::Heartbeat,
            Liveness::Unattended,
        ]);
        let options = JoinOptions {
            scope: self.scope.clone(),
            name: Some(self.name.clone()),
            resume_key: Some(format!("key of {}", self.name)),
            lease_ttl: Some(Duration::from_secs(self.dice.within(2, 15))),
            liveness,
            ..JoinOptions::default()
        };
        match Session::join(&self.client, options).await {
            Ok(session) => {
                self.books.note(&self.name, &format!("joined, {liveness:?}"));
                self.session = Some(session);
            }
            Err(error) => self.books.note(&self.name, &format!("could not join: {error}")),
        }
    }

    fn forget(&mut self) {
        self.session = None;
        self.held.clear();
    }

    /// Ends as a process does that is killed.
    fn die(&mut self) {
        self.forget();
        self.wire.cut();
    }

    async fn act(&mut self, session: &Session) -> Result<(), ClientError> {
        match self.dice.within(0, 99) {
            0..=21 => self.acquire(session).await,
            22..=31 => self.acquire_patiently(session).await,
            32..=40 => self.release(session).await,
            41..=43 => self.renew(session).await,
            44..=45 => self.take_away(session).await,
            46..=47 => self.ask_for_way(session).await,
            48..=62 => self.write(session).await,
            63..=66 => self.read(session).await,
            67..=68 => self.set_policy(session).await,
            69..=71 => self.delete(session).await,
            72..=73 => self.transact(session).await,
            74..=81 => self.send(session).await,
            82..=88 => self.read_mail(session).await,
            89..=90 => self.follow(session).await,
            91..=93 => self.touch(session).await,
            94..=95 => self.update(session).await,
            96 => self.look_around(session).await,
            97 => self.wait(session).await,
            98 => {
                self.books.note(&self.name, "dies");
                self.die();
                sleep(self.dice.millis(100, 6_000)).await;
                Ok(())
            }
            _ => {
                let left = session.leave().await.map(|_| ());
                self.forget();
                left
            }
        }
    }

    fn id(&mut self) -> String {
        self.serial += 1;
        format!("{}-{}", self.name, self.serial)
    }
}

fn is_over(reason: mesh_client::ErrorReason) -> bool {
    matches!(reason, mesh_client::ErrorReason::SessionExpired | mesh_client::ErrorReason::PeerNameTaken)
}
