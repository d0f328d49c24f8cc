//! Hooks as hosts run them: `meshctl hook HOST` processes with the hosts' own payloads, against a real broker and real
//! repositories.

mod failing;
mod git;
mod guard;
mod hosts;
mod identity;
mod news;
mod orientation;
mod privacy;
pub(crate) mod seat;
mod stop;
mod touched;
mod wake;
