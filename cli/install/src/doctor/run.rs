//! Running a command to its end, or ending it.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// How often a running command is looked at.
const TICK: Duration = Duration::from_millis(2);
/// How long what it said may still be on its way when it has ended. One that left a process behind, which keeps its
/// output open, is not waited for.
const TAIL: Duration = Duration::from_millis(500);

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit code; none if a signal ended it.
    pub(super) code: Option<i32>,
    /// What it wrote to its standard output.
    pub(super) out: String,
    /// What it wrote to its standard error.
    pub(super) err: String,
    /// How long it ran.
    pub(super) took: Duration,
}

/// Runs a command with this on its standard input; says what went wrong.
pub(super) fn run(command: &mut Command, input: &[u8], patience: Duration) -> Result<Ended, String> {
    let began = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot be run: {error}"))?;
    let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing is judged by what it says.
        let _ = stdin.write_all(input);
    }
    let code = wait(&mut child, began, patience)?;
    let took = began.elapsed();
    let text = |of: &Receiver<String>| of.recv_timeout(TAIL).unwrap_or_default();
    Ok(Ended { code, out: text(&out), err: text(&err), took })
}

fn wait(child: &mut Child, began: Instant, patience: Duration) -> Result<Option<i32>, String> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code()),
            Ok(None) if began.elapsed() < patience => std::thread::sleep(TICK),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no answer within {} s", patience.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Reads to the end, on a thread of its own: a full pipe would hold the command up.
fn read(stream: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    if let Some(mut stream) = stream {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What came before an error is still worth telling.
            let _ = stream.read_to_end(&mut bytes);
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, patience: Duration) -> Result<Ended, String> {
        run(Command::new("sh").args(["-c", script]), b"hello", patience)
    }

    #[test]
    fn what_a_command_says_is_read_however_much_it_is() {
        let ended =
            sh("cat; echo oops >&2; head -c 300000 /dev/zero | tr '\\0' x; exit 3", Duration::from_secs(30));
        let ended = ended.unwrap();
        assert_eq!((ended.code, ended.err.as_str(), ended.out.len()), (Some(3), "oops\n", 300_005));
    }

    #[test]
    fn one_that_hangs_is_ended() {
        assert!(sh("exec sleep 60", Duration::from_millis(50)).unwrap_err().contains("no answer"));
    }
}
