//! How much a request weighs: about the bytes that it holds, and so about what deciding and storing it takes.

use mesh_core::command::{Command, Operation, Put, Request};
use mesh_core::target::Target;

/// What anything weighs: its record in the event history and its place in the queue.
pub(super) const LEAST: usize = 1_024;
/// A target, with what its lock or place takes in the store.
const TARGET: usize = 512;

/// The weight of a request.
pub(super) fn of(request: &Request) -> usize {
    LEAST + command(&request.command)
}

fn command(command: &Command) -> usize {
    match command {
        Command::Join(join) => join.info.worktree.len() + targets(&join.info.files),
        Command::Update(update) => update.files.as_deref().map_or(0, targets),
        Command::Send(send) => send.body.len() + targets(&send.paths),
        Command::Put(it) => put(it),
        Command::Transact(transact) => transact.operations.iter().map(operation).sum(),
        Command::Touch(touch) => touch.touches.len() * TARGET,
        Command::Acquire(acquire) => {
            targets(&acquire.targets) + acquire.contract.as_ref().map_or(0, |it| it.text.len())
        }
        Command::Renew { targets: named, .. }
        | Command::Release { targets: named, .. }
        | Command::ForceRelease { targets: named, .. } => targets(named),
        Command::RequestRelease(asked) => targets(&asked.targets),
        Command::AnswerRelease(answer) => targets(&answer.keep),
        Command::Leave
        | Command::Acknowledge { .. }
        | Command::Follow { .. }
        | Command::Delete(_)
        | Command::Restore(_)
        | Command::SetPolicy(_)
        | Command::Abandon { .. }
        | Command::CreateToken(_)
        | Command::RevokeToken { .. }
        | Command::End { .. }
        | Command::Expire(_) => 0,
    }
}

fn operation(operation: &Operation) -> usize {
    LEAST
        + match operation {
            Operation::Put(it) => put(it),
            Operation::Delete(_) | Operation::Check { .. } => 0,
        }
}

fn put(put: &Put) -> usize {
    put.value.len() + targets(&put.paths)
}

fn targets(targets: &[Target]) -> usize {
    targets.iter().map(|target| TARGET + target.as_str().len()).sum()
}
