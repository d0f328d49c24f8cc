//! Waiting until something holds: `mesh_events` with `until`.

use std::time::Duration;

use mesh_client::proto::entry_condition::State;
use mesh_client::proto::wait_condition::Condition;
use mesh_client::proto::wait_response::By;
use mesh_client::proto::{
    EntryCondition, EventCondition, EventFilter, LockCondition, PeerCondition, WaitCondition, WaitRequest,
    WaitResponse,
};

use super::kinds::lines;
use crate::args::{Answer, Failure};
use crate::call::Call;
use crate::mail;
use crate::member::Joined;
use crate::memory;
use crate::render::{quoted, span, word};

/// Bytes shown of a value that was waited for.
const VALUE: usize = 3000;
/// What to write.
const FORMS: &str = "key K, key K = V, no key K, free PATH, peer NAME, peer NAME gone, reply N";

/// Something that may hold, as an agent writes it.
#[derive(Clone, Debug, PartialEq)]
enum Until {
    Key(String, State),
    Free(String),
    Peer { name: String, gone: bool },
    Reply(String),
}

/// Waits until one of these holds, or an event that fits comes; as long as told, else as long as may be.
pub(super) async fn wait(
    joined: &Joined,
    call: &Call,
    until: &[String],
    filter: Option<EventFilter>,
    after_revision: u64,
) -> Answer {
    let mut names = Vec::new();
    let mut conditions = Vec::new();
    for text in until {
        let wanted = Until::read(text).ok_or_else(|| {
            Failure::new(format!("until: {} is none. Write one of: {FORMS}", quoted(text, 100)))
        })?;
        let (name, condition) = wanted.condition(joined).await?;
        names.push(name);
        conditions.push(WaitCondition { condition: Some(condition) });
    }
    if filter.is_some() {
        names.push("such an event".into());
        let event = EventCondition { filter, after_revision };
        conditions.push(WaitCondition { condition: Some(Condition::Event(event)) });
    }
    let wait = call.usual_wait()?;
    let request = WaitRequest { scope: String::new(), conditions, timeout: wait.try_into().ok() };
    match call.unless_stopped(joined.session.wait(request)).await {
        None => Err(Failure::new("stopped waiting")),
        Some(answer) => {
            let answer = answer?;
            if let Some(By::Entry(entry)) = answer.by.as_ref().filter(|_| answer.met)
                && entry.value.len() <= VALUE
            {
                joined.news.lock().seen.shown(entry);
            }
            Ok(told(&answer, &names, wait, |message| mail::shown(joined, message)))
        }
    }
}

impl Until {
    /// `key plan = done`, `src/ is free` and the like; `None` for what is no such thing.
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let read = match first.to_lowercase().as_str() {
            "no" => {
                let (kind, rest) = rest.split_once(char::is_whitespace)?;
                match (kind, rest.trim()) {
                    ("key", key) => Self::Key(key.to_owned(), State::Exists(false)),
                    ("peer", name) => Self::Peer { name: name.to_owned(), gone: true },
                    _ => return None,
                }
            }
            "key" => key(rest),
            "free" => Self::Free(rest.to_owned()),
            "lock" | "path" => Self::Free(freed(rest)?.to_owned()),
            "peer" => peer(rest),
            "reply" => Self::Reply(rest.strip_prefix("to ").unwrap_or(rest).trim().to_owned()),
            _ => Self::Free(freed(text)?.to_owned()),
        };
        let named = match &read {
            Self::Key(name, _) | Self::Free(name) | Self::Peer { name, .. } | Self::Reply(name) => name,
        };
        (!named.is_empty()).then_some(read)
    }

    /// As the contract has it, with its name for the answer.
    async fn condition(self, joined: &Joined) -> Result<(String, Condition), Failure> {
        Ok(match self {
            Self::Key(key, state) => {
                let name = match &state {
                    State::Exists(true) => format!("key {}", word(&key)),
                    State::Exists(false) => format!("no key {}", word(&key)),
                    State::Value(value) => format!("key {} = {}", word(&key), quoted(value, 100)),
                    State::VersionAtLeast(version) => format!("key {} version {version}", word(&key)),
                };
                (name, Condition::Entry(EntryCondition { key, state: Some(state) }))
            }
            Self::Free(path) => {
                let path = joined.place.paths(&[path]).await?.pop().unwrap_or_default();
                let name = format!("free {}", word(&path));
                (name, Condition::LockFree(LockCondition { path, ..LockCondition::default() }))
            }
            Self::Peer { name, gone } => {
                let name = crate::presence::peer_name(&name);
                let told = format!("peer {}{}", word(&name), if gone { " gone" } else { "" });
                (told, Condition::Peer(PeerCondition { name, gone }))
            }
            Self::Reply(number) => {
                let id = mail::id_of(joined, &number).ok_or_else(|| {
                    let number = word(&number);
                    Failure::new(format!("until: you sent no message {number} that is known here"))
                })?;
                (format!("reply to {}", word(&number)), Condition::ReplyTo(id))
            }
        })
    }
}

/// `plan`, `plan = done`, `plan version 3`.
fn key(text: &str) -> Until {
    let version = [" version ", " >= "].into_iter().find_map(|word| text.rsplit_once(word));
    if let Some((key, Ok(version))) = version.map(|(key, number)| (key, number.trim().parse())) {
        return Until::Key(key.trim().to_owned(), State::VersionAtLeast(version));
    }
    let parts = [" == ", " = ", "="].into_iter().find_map(|sign| text.split_once(sign));
    if let Some((key, value)) = parts {
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        return Until::Key(key.trim().to_owned(), State::Value(bare.to_owned()));
    }
    Until::Key(text.strip_suffix(" exists").unwrap_or(text).trim().to_owned(), State::Exists(true))
}

/// The path of `src/ free` or `src/ is free`.
fn freed(text: &str) -> Option<&str> {
    let path = text.strip_suffix(" free")?;
    Some(path.strip_suffix(" is").unwrap_or(path).trim())
}

/// `owl`, `owl here`, `owl is gone`.
fn peer(text: &str) -> Until {
    let (name, state) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let state = state.trim();
    let gone = matches!(state.strip_prefix("is ").unwrap_or(state), "gone" | "left" | "offline" | "away");
    Until::Peer { name: name.to_owned(), gone }
}

/// What holds, with what makes it so; or that nothing does.
fn told(
    answer: &WaitResponse,
    names: &[String],
    wait: Duration,
    message: impl FnOnce(&mesh_client::proto::Message) -> String,
) -> String {
    let name = |index: u32| names.get(index as usize).map_or("it holds", String::as_str);
    if !answer.met {
        let all = names.join(", or ");
        return if wait.is_zero() {
            format!("not now: {all}")
        } else {
            format!("not within {}: {all}. Next: call again to go on waiting", span(wait))
        };
    }
    let name = name(answer.index);
    match &answer.by {
        Some(By::Entry(entry)) => format!("now: {name}\n{}", memory::rendered(entry, VALUE)),
        Some(By::Reply(reply)) => format!("now: {name}\n{}", message(reply)),
        Some(By::Batch(batch)) => {
            format!("{}\nlater ones: mesh_events {{after: {}}}", lines(batch), batch.revision)
        }
        Some(By::Peer(_)) | None if name.starts_with("free ") => format!("now: {name}. Next: mesh_lock"),
        Some(By::Peer(_)) | None => format!("now: {name}"),
    }
}

#[cfg(test)]
mod tests {
    use mesh_client::proto::{Entry, Message};

    use super::*;

    #[test]
    fn conditions_are_taken_as_models_write_them() {
        let key = |key: &str, state| Some(Until::Key(key.into(), state));
        let free = |path: &str| Some(Until::Free(path.into()));
        let peer = |name: &str, gone| Some(Until::Peer { name: name.into(), gone });
        for (text, wanted) in [
            ("key plan", key("plan", State::Exists(true))),
            ("Key gate/a exists", key("gate/a", State::Exists(true))),
            ("key plan = done", key("plan", State::Value("done".into()))),
            ("key plan == \"two words\"", key("plan", State::Value("two words".into()))),
            ("key plan=a = b", key("plan=a", State::Value("b".into()))),
            ("key plan=x", key("plan", State::Value("x".into()))),
            ("key plan version 3", key("plan", State::VersionAtLeast(3))),
            ("key plan >= 3", key("plan", State::VersionAtLeast(3))),
            ("no key plan", key("plan", State::Exists(false))),
            ("free src/", free("src/")),
            ("lock src/a b.rs free", free("src/a b.rs")),
            ("src/ is free", free("src/")),
            ("peer @Owl", peer("@Owl", false)),
            ("peer owl here", peer("owl", false)),
            ("peer owl is gone", peer("owl", true)),
            ("peer owl left", peer("owl", true)),
            ("no peer owl", peer("owl", true)),
            (" reply 41 ", Some(Until::Reply("41".into()))),
            ("reply to 41", Some(Until::Reply("41".into()))),
            ("key", None),
            ("no", None),
            ("no lock x", None),
            ("lock src/", None),
            ("peer", None),
            ("reply", None),
            ("tests pass", None),
            ("", None),
        ] {
            assert_eq!(Until::read(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_answer_is_what_holds_and_why_or_that_nothing_does() {
        let names = ["key gate".to_owned(), "free src/".into(), "reply to 41".into()];
        let told = |answer: &WaitResponse, seconds| {
            super::told(answer, &names, Duration::from_secs(seconds), |message: &Message| {
                message.body.clone()
            })
        };
        let not = WaitResponse::default();
        assert_eq!(told(&not, 0), "not now: key gate, or free src/, or reply to 41");
        assert_eq!(
            told(&not, 50),
            "not within 50s: key gate, or free src/, or reply to 41. Next: call again to go on waiting"
        );
        let met = |index, by| WaitResponse { met: true, index, by, ..WaitResponse::default() };
        let gate = Entry {
            key: "gate".into(),
            version: 2,
            writer: "owl".into(),
            value: "open\n[mesh]".into(),
            ..Entry::default()
        };
        assert_eq!(
            told(&met(0, Some(By::Entry(gate))), 50),
            "now: key gate\ngate version 2 by owl, some time ago:\n> open\n> [mesh]"
        );
        assert_eq!(told(&met(1, None), 50), "now: free src/. Next: mesh_lock");
        let reply = Message { body: "yes".into(), ..Message::default() };
        assert_eq!(told(&met(2, Some(By::Reply(reply))), 50), "now: reply to 41\nyes");
    }
}
