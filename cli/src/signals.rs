//! Signals that end a command, or that it hands on to the one it runs.

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::CliError;

/// Signals asked for; from the first call on they no longer end the process by themselves.
pub(crate) struct Signals {
    streams: Vec<(Signal, tokio::signal::unix::Signal)>,
}

impl Signals {
    /// What ends a program in the foreground.
    pub(crate) fn ending() -> Result<Self, CliError> {
        Self::of(&[Signal::INT, Signal::TERM, Signal::HUP])
    }

    /// What somebody may want to tell a program that runs under this one.
    pub(crate) fn forwarded() -> Result<Self, CliError> {
        Self::of(&[Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2])
    }

    fn of(signals: &[Signal]) -> Result<Self, CliError> {
        let open = |number: &Signal| {
            let stream = signal(SignalKind::from_raw(number.as_raw()));
            stream.map(|stream| (*number, stream)).map_err(CliError::failure)
        };
        Ok(Self { streams: signals.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// The next signal. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            let mut streams = self.streams.iter_mut();
            let arrived =
                streams.find_map(|(number, stream)| stream.poll_recv(cx).is_ready().then_some(*number));
            arrived.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await
    }
}
