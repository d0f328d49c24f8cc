//! One tool call: what is asked, by whom, how long it may wait, and what its answer shows.

use std::sync::OnceLock;
use std::time::Duration;

use rmcp::model::JsonObject;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::args::{Args, Failure};
use crate::member::Caller;
use crate::news::Waiting;

/// Longest wait of a call that its client waits for: clients give up after about a minute.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(50);
/// Longest wait of a call that goes on in the background, which is the longest that the broker takes.
pub(crate) const LONGEST_IN_BACKGROUND: Duration = Duration::from_secs(3600);
/// Longest wait of one request for mail or events, of which a longer one is made; the broker's own bound is a minute.
const POLL: Duration = Duration::from_secs(50);

/// One tool call.
#[derive(Debug)]
pub(crate) struct Call {
    /// What the tool is asked.
    pub(crate) args: Args,
    /// Who asks.
    pub(crate) caller: Caller,
    /// Mail that the answer shows, if that counts.
    pub(crate) showed: OnceLock<Showed>,
    /// Kept while the call reads mail or waits for it, and until its answer was handed over.
    pub(crate) waiting: OnceLock<Waiting>,
    patience: Patience,
    stop: CancellationToken,
    closing: CancellationToken,
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// At most.
    pub(crate) longest: Duration,
    /// When it is not told, but is to wait.
    pub(crate) usual: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { longest: LONGEST_WAIT, usual: LONGEST_WAIT }
    }
}

/// Mail that an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Showed {
    /// All after this revision; 0 for all that is not acknowledged.
    pub(crate) from: u64,
    /// Up to this one.
    pub(crate) upto: u64,
}

impl Call {
    /// A call; `stop` ends its waiting, and `closing` does when the input of the process has ended.
    pub(crate) fn new(
        arguments: Option<JsonObject>,
        caller: Caller,
        patience: Patience,
        stop: CancellationToken,
        closing: CancellationToken,
    ) -> Self {
        let (showed, waiting) = (OnceLock::new(), OnceLock::new());
        Self { args: Args::new(arguments), caller, showed, waiting, patience, stop, closing }
    }

    /// How long to wait, as asked, within the bound.
    pub(crate) fn wait(&self) -> Result<Duration, Failure> {
        self.span("wait_seconds")
    }

    /// How long to wait for what is to be waited for, also if that is not said.
    pub(crate) fn usual_wait(&self) -> Result<Duration, Failure> {
        match self.args.raw("wait_seconds") {
            None => Ok(self.patience.usual),
            Some(_) => self.wait(),
        }
    }

    /// A span to wait that goes by another name, within the same bound.
    pub(crate) fn span(&self, name: &str) -> Result<Duration, Failure> {
        Ok(self.args.span(name)?.unwrap_or_default().min(self.patience.longest))
    }

    /// Whether the call is asked to wait for something.
    pub(crate) fn waits(&self) -> bool {
        let spans = ["wait_seconds", "wait_reply_seconds"].map(|name| self.span(name).unwrap_or_default());
        let until = self.args.raw("until").is_some() && !self.usual_wait().unwrap_or_default().is_zero();
        until || spans.iter().any(|span| !span.is_zero())
    }

    /// The outcome of `work`, unless nobody waits for it any longer.
    pub(crate) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            outcome = work => Some(outcome),
            () = self.stop.cancelled() => None,
            () = self.waiting_ends() => None,
        }
    }

    /// Asks as often as it takes until an answer has something in it, or the time is over; `None` when nobody waits for
    /// it any longer.
    pub(crate) async fn until_there<T, E, Asked: Future<Output = Result<T, E>>>(
        &self,
        wait: Duration,
        mut ask: impl FnMut(Option<Duration>) -> Asked,
        is_there: impl Fn(&T) -> bool,
    ) -> Option<Result<T, E>> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(POLL);
            let answer = self.unless_stopped(ask((!left.is_zero()).then_some(left))).await?;
            match answer {
                Ok(answer) if !is_there(&answer) && Instant::now() < deadline => {}
                outcome => return Some(outcome),
            }
        }
    }

    /// After the end of the input only calls that wait are stopped; the others have their answers sent.
    async fn waiting_ends(&self) {
        if self.waits() {
            self.closing.cancelled().await;
        } else {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn call(arguments: &Value, patience: Patience) -> Call {
        let caller = Caller { client: None, meta: rmcp::model::RequestMetaObject::new() };
        let token = CancellationToken::new;
        Call::new(arguments.as_object().cloned(), caller, patience, token(), token())
    }

    #[test]
    fn calls_wait_as_long_as_they_are_asked_to_within_what_their_client_bears() {
        let background = Patience { longest: LONGEST_IN_BACKGROUND, usual: LONGEST_IN_BACKGROUND };
        for (arguments, patience, waits, seconds) in [
            (json!({}), Patience::default(), false, 0),
            (json!({"wait_seconds": 0}), Patience::default(), false, 0),
            (json!({"wait_seconds": 5}), Patience::default(), true, 5),
            (json!({"wait_seconds": 500}), Patience::default(), true, 50),
            (json!({"wait_seconds": 500}), background, true, 500),
            (json!({"wait_seconds": 50_000}), background, true, 3600),
            (json!({"until": "key x"}), Patience::default(), true, 0),
            (json!({"until": "key x", "wait_seconds": 0}), Patience::default(), false, 0),
            (json!({"wait_reply_seconds": 7}), Patience::default(), true, 0),
        ] {
            let call = call(&arguments, patience);
            assert_eq!((call.waits(), call.wait().unwrap().as_secs()), (waits, seconds), "{arguments}");
        }
    }

    #[tokio::test]
    async fn a_long_wait_is_made_of_several() {
        let call =
            call(&json!({"wait_seconds": 500}), Patience { longest: LONGEST_IN_BACKGROUND, usual: POLL });
        let mut asked = Vec::new();
        let ask = |wait: Option<Duration>| {
            asked.push(wait.unwrap() <= POLL);
            std::future::ready(Ok::<_, ()>(asked.len()))
        };
        let answer = call.until_there(call.wait().unwrap(), ask, |number| *number == 3).await;
        assert_eq!(answer, Some(Ok(3)));
        assert_eq!(asked, [true; 3]);
    }
}
