//! Which kinds of decision came up.

use std::collections::BTreeSet;
use std::fmt::Debug;

use mesh_core::command::{Command, Request};
use mesh_core::event::Event;
use mesh_core::outcome::{Conflict, Obstacle, Outcome};
use mesh_core::rejection::Rejection;
use mesh_core::state::Decision;

/// Remembers of what kind a decision is.
pub(super) fn note(request: &Request, decided: &Result<Decision, Rejection>, seen: &mut BTreeSet<String>) {
    match decided {
        Err(Rejection::InvalidField { field, .. }) => {
            seen.insert(format!("InvalidField {field}"));
        }
        Err(rejection) => {
            seen.insert(variant(rejection));
        }
        Ok(Decision::Answer(outcome)) => {
            seen.insert(format!("answer {}", kind(outcome)));
        }
        Ok(Decision::Commit(transaction)) => {
            seen.extend(transaction.log.events.iter().map(event_kind));
            seen.insert(format!("commit {}", kind(&transaction.outcome)));
            if let Command::Expire(due) = &request.command {
                seen.insert(format!("due {}", variant(due)));
            }
        }
    }
}

fn event_kind(event: &Event) -> String {
    let kind = format!("{:?}", event.kind());
    let with = |detail: &dyn Debug| format!("{kind} {detail:?}");
    if let Event::PeerLeft { cause, .. } = event {
        with(cause)
    } else if let Event::StateDeleted { cause, .. } = event {
        with(cause)
    } else if let Event::FileUnlocked { cause, .. } = event {
        with(cause)
    } else if let Event::LockWaitEnded { cause, .. } = event {
        with(cause)
    } else if let Event::LockReleaseAnswered { answer, .. } = event {
        with(answer)
    } else if let Event::PolicyChanged { kind, .. } = event {
        with(kind)
    } else if let Event::PeerUpdated { changed, .. } = event
        && !(changed.started.is_empty() && changed.ended.is_empty())
    {
        format!("{kind} with sub-agents")
    } else if matches!(event, Event::PeerJoined { resumed: true, .. }) {
        format!("{kind} again")
    } else if matches!(event, Event::FileLocked { ticket: Some(_), .. }) {
        format!("{kind} after waiting")
    } else if let Event::ContractChanged { deleted: true, by, .. } = event {
        format!("{kind} {}", if by.is_some() { "deleted" } else { "expired" })
    } else {
        kind
    }
}

fn kind(outcome: &Outcome) -> String {
    if matches!(outcome, Outcome::Sent { duplicate: true, .. }) {
        "Sent again".into()
    } else if matches!(outcome, Outcome::Released { kept, .. } if !kept.is_empty()) {
        "Released and kept".into()
    } else if let Outcome::Conflicts(conflicts) = outcome {
        let is_lock = |conflict: &Conflict| matches!(conflict.obstacle, Obstacle::Lock { .. });
        format!("Conflicts with {}", if conflicts.iter().any(is_lock) { "locks" } else { "requests" })
    } else {
        variant(outcome)
    }
}

/// The name of an enum's variant.
fn variant(value: &impl Debug) -> String {
    first_word(&format!("{value:?}"))
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
}
