//! Faults on real processes, and the check of what came of it.
//!
//! A run starts a broker and clients, makes faults (a kill at any instant, a pause, a cut connection, a power cut),
//! writes down every call with its answer, and then decides from the event history whether every promise was kept.
//! Seeds repeat the plan of the faults, not the operating system's timing.
//!
//! What must hold: [`check`] is pure and knows only the contract; whatever a run starts has ended when it returns.

pub mod check;
pub mod crew;
pub mod dice;
pub mod history;
pub mod kills;
#[cfg(target_os = "linux")]
pub mod power;
pub mod proxy;
pub mod record;
pub mod report;
pub mod storm;
pub mod victim;
