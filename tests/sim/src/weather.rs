//! What goes wrong in a run, and how often: drawn from its seed.

use std::time::Duration;

use mesh_broker::store::Fault;
use mesh_broker::writer::WriterConfig;
use mesh_core::time::Millis;

use crate::dice::Dice;

/// How a run is made up.
#[derive(Clone, Debug)]
pub struct Weather {
    /// How many peers there are.
    pub peers: u64,
    /// How many scopes they are spread over.
    pub scopes: u64,
    /// How long they work.
    pub length: Duration,
    /// Of ten thousand calls, how many the network loses on the way there, and as many on the way back.
    pub lost: u64,
    /// Of ten thousand calls, how many come twice.
    pub twice: u64,
    /// Of ten thousand calls, how many are late by seconds.
    pub late: u64,
    /// Of ten thousand commits, how many fail in some way.
    pub disk: u64,
    /// Of ten thousand commits, how many are slow.
    pub slow: u64,
    /// Mean time between crashes, pauses, cuts and jumps of the wall clock.
    pub trouble: Duration,
    /// The broker's settings.
    pub writer: WriterConfig,
}

impl Weather {
    /// The weather of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::of(seed, "weather");
        let calm = dice.happens(1_500);
        let mut rate = |most| if calm { 0 } else { dice.within(0, most) };
        let (lost, twice, late, disk, slow) = (rate(400), rate(600), rate(300), rate(80), rate(1_500));
        Self {
            peers: dice.within(3, 8),
            scopes: dice.within(1, 3),
            length: dice.millis(25_000, 60_000),
            lost,
            twice,
            late,
            disk,
            slow,
            trouble: dice.millis(4_000, 20_000),
            writer: WriterConfig {
                grace: Millis(500),
                history_count: dice.within(8, 150),
                history_age: Millis(dice.within(4_000, 90_000)),
                ring: usize::try_from(dice.within(2, 24)).unwrap_or(2),
            },
        }
    }

    /// How a commit goes wrong, if it does.
    pub fn disk_fault(&self, dice: &mut Dice) -> Option<Fault> {
        if !dice.happens(self.disk) {
            return None;
        }
        Some(*dice.pick(&[Fault::Refused, Fault::AnswerLost, Fault::CrashBefore, Fault::CrashAfter]))
    }
}
