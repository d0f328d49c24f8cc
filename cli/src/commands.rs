//! The commands, one file each: arguments whose doc comment is the help, and one function.

mod about;
mod answer;
mod backup;
mod completions;
mod demo;
mod doctor;
mod events;
mod fence;
mod follow;
mod forget;
mod fsck;
pub(crate) mod hook;
mod inbox;
mod install;
mod lock;
mod locks;
mod mcp;
mod note;
mod notes;
mod policy;
mod recall;
mod receipts;
mod remember;
mod restart;
mod restore;
mod revert;
mod send;
mod serve;
mod status;
mod stop;
mod token;
mod topics;
mod touch;
mod unfollow;
mod uninstall;
mod unlock;
mod wait;
mod watch;
mod who;

use std::io::Read;

pub(crate) use self::status::Finding;
use crate::context::Context;
use crate::error::CliError;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Watch(watch::Args),
    Events(events::Args),
    Who(who::Args),
    Status(status::Args),
    About(about::Args),
    Touch(touch::Args),
    Wait(wait::Args),
    Send(send::Args),
    Inbox(inbox::Args),
    Receipts(receipts::Args),
    Note(note::Args),
    Notes(notes::Args),
    Topics(topics::Args),
    Follow(follow::Args),
    Unfollow(unfollow::Args),
    Remember(remember::Args),
    Recall(recall::Args),
    Forget(forget::Args),
    Revert(revert::Args),
    Policy(policy::Args),
    Lock(lock::Args),
    Unlock(unlock::Args),
    Locks(locks::Args),
    Answer(answer::Args),
    Fence(fence::Args),
    Install(install::Args),
    Uninstall(uninstall::Args),
    Doctor(doctor::Args),
    Mcp(mcp::Args),
    Hook(hook::Args),
    Demo(demo::Args),
    Serve(serve::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Token(token::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Fsck(fsck::Args),
    Completions(completions::Args),
}

impl Command {
    /// Runs the command and returns the process's exit code.
    pub(crate) fn run(self, ctx: &Context) -> Result<u8, CliError> {
        match self {
            Self::Lock(args) => return ctx.block_on(lock::run(ctx, args)),
            Self::Fsck(args) => return fsck::run(ctx, args),
            Self::Hook(args) => return hook::run(ctx, &args),
            Self::Install(args) => return install::run(ctx, args),
            Self::Uninstall(args) => return uninstall::run(ctx, args),
            Self::Doctor(args) => return ctx.block_on(doctor::run(ctx, args)),
            Self::Watch(args) => ctx.block_on(watch::run(ctx, args)),
            Self::Events(args) => ctx.block_on(events::run(ctx, args)),
            Self::Who(args) => ctx.block_on(who::run(ctx, args)),
            Self::Status(args) => ctx.block_on(status::run(ctx, args)),
            Self::About(args) => ctx.block_on(about::run(ctx, args)),
            Self::Touch(args) => ctx.block_on(touch::run(ctx, args)),
            Self::Wait(args) => ctx.block_on(wait::run(ctx, args)),
            Self::Send(args) => ctx.block_on(send::run(ctx, args)),
            Self::Inbox(args) => ctx.block_on(inbox::run(ctx, args)),
            Self::Receipts(args) => ctx.block_on(receipts::run(ctx, args)),
            Self::Note(args) => ctx.block_on(note::run(ctx, args)),
            Self::Notes(args) => ctx.block_on(notes::run(ctx, args)),
            Self::Topics(args) => ctx.block_on(topics::run(ctx, args)),
            Self::Follow(args) => ctx.block_on(follow::run(ctx, args)),
            Self::Unfollow(args) => ctx.block_on(unfollow::run(ctx, args)),
            Self::Remember(args) => ctx.block_on(remember::run(ctx, args)),
            Self::Recall(args) => ctx.block_on(recall::run(ctx, args)),
            Self::Forget(args) => ctx.block_on(forget::run(ctx, args)),
            Self::Revert(args) => ctx.block_on(revert::run(ctx, args)),
            Self::Policy(args) => ctx.block_on(policy::run(ctx, args)),
            Self::Unlock(args) => ctx.block_on(unlock::run(ctx, args)),
            Self::Locks(args) => ctx.block_on(locks::run(ctx, args)),
            Self::Answer(args) => ctx.block_on(answer::run(ctx, args)),
            Self::Fence(args) => ctx.block_on(fence::run(ctx, args)),
            Self::Mcp(args) => mcp::run(ctx, &args),
            Self::Demo(args) => ctx.block_on(demo::run(ctx, args)),
            Self::Serve(args) => serve::run(ctx, args),
            Self::Stop(args) => ctx.block_on(stop::run(ctx, args)),
            Self::Restart(args) => ctx.block_on(restart::run(ctx, args)),
            Self::Token(args) => ctx.block_on(token::run(ctx, args)),
            Self::Backup(args) => ctx.block_on(backup::run(ctx, args)),
            Self::Restore(args) => restore::run(ctx, &args),
            Self::Completions(args) => completions::run(ctx, &args),
        }?;
        Ok(0)
    }

    /// Whether it sets up logging of its own.
    pub(crate) fn logs_by_itself(&self) -> bool {
        matches!(self, Self::Serve(_))
    }
}

/// The id of a message, as the program shows it.
fn message_id(text: &str) -> Result<String, &'static str> {
    match uuid::Uuid::try_parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("write a UUID, such as the ids that `meshctl inbox` shows"),
    }
}

/// What is more than this is refused by the broker anyway.
const TEXT_BYTES: u64 = 65_536;

/// A text given as an argument, or on stdin if the argument is `-`; then a final line break is dropped.
fn text_or_stdin(argument: String) -> Result<String, CliError> {
    if argument != "-" {
        return Ok(argument);
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(TEXT_BYTES + 2).read_to_end(&mut bytes);
    read.map_err(|error| CliError::failure(format_args!("cannot read stdin: {error}")))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() as u64 > TEXT_BYTES {
        return Err(CliError::usage(format_args!("stdin holds more than {TEXT_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| CliError::usage("stdin is not UTF-8 text"))
}
