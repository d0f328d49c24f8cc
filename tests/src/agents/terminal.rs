//! An agent in a terminal, as a person uses it.

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pty_process::{Command, OwnedWritePty, Size};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};

use crate::wait::STUCK;

const ROWS: NonZero<u16> = NonZero::new(50).expect("50 is not zero");
const COLUMNS: NonZero<u16> = NonZero::new(160).expect("160 is not zero");

/// A session in a pseudo terminal that shows what a real one would; the agent is killed when it is dropped.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    screen: Screen,
    keys: mpsc::Sender<Vec<u8>>,
}

/// What the terminal shows.
#[derive(Clone)]
struct Screen {
    parser: Arc<Mutex<vt100::Parser<Questions>>>,
    /// True once nothing more comes.
    news: Arc<watch::Sender<bool>>,
}

/// Answers to what programs ask a terminal; some wait for them.
#[derive(Debug, Default)]
struct Questions {
    answers: Vec<u8>,
}

impl Terminal {
    /// Starts a program in a terminal.
    pub(super) fn start(command: Command) -> Self {
        let (pty, pts) = pty_process::open().expect("a pseudo terminal");
        pty.resize(Size::new(ROWS.get(), COLUMNS.get())).expect("a size");
        let child = command.kill_on_drop(true).spawn(pts).expect("the agent starts");
        let (mut output, input) = pty.into_split();
        let parser = vt100::Parser::new_with_callbacks(ROWS, COLUMNS, 0, Questions::default());
        let screen =
            Screen { parser: Arc::new(Mutex::new(parser)), news: Arc::new(watch::Sender::new(false)) };
        let (keys, typed) = mpsc::channel(16);
        tokio::spawn(keyboard(input, typed));
        let (own, answers) = (screen.clone(), keys.downgrade());
        tokio::spawn(async move {
            let mut chunk = vec![0; 8_192];
            // It ends with an error when the program has closed its side.
            while let Ok(length @ 1..) = output.read(&mut chunk).await {
                let answer = own.show(&chunk[..length]);
                if let (false, Some(keys)) = (answer.is_empty(), answers.upgrade()) {
                    let _ = keys.send(answer).await;
                }
            }
            own.news.send_replace(true);
        });
        Self { child, screen, keys }
    }

    /// The process id of the agent.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it shows now.
    #[must_use]
    pub fn screen(&self) -> String {
        self.screen.lock().screen().contents()
    }

    /// Presses keys.
    pub async fn press(&self, keys: &str) {
        self.keys.send(keys.as_bytes().to_vec()).await.expect("the terminal is open");
    }

    /// Types a line, and enters it once it is seen: what comes at once would be taken for pasted text.
    pub async fn enter(&self, line: &str) {
        self.press(line).await;
        self.until(line, |screen| screen.contains(line)).await;
        self.press("\r").await;
    }

    /// Waits until the screen fits.
    pub async fn until(&self, what: &str, fits: impl Fn(&str) -> bool) {
        let mut news = self.screen.news.subscribe();
        let seen = async {
            loop {
                news.mark_unchanged();
                if fits(&self.screen()) {
                    return;
                }
                assert!(!*news.borrow(), "the agent ended before it showed {what}:\n{}", self.screen());
                let _ = news.changed().await;
            }
        };
        self.meanwhile(what, seen).await;
    }

    /// Waits for something that happens while it runs; if it does not, the panic shows the screen.
    pub async fn meanwhile<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        match tokio::time::timeout(STUCK, future).await {
            Ok(value) => value,
            Err(_) => panic!("stuck waiting for {what}; the screen shows\n{}", self.screen()),
        }
    }

    /// Waits until the agent has ended by itself, and returns its exit code.
    pub async fn ended(mut self) -> Option<i32> {
        match tokio::time::timeout(STUCK, self.child.wait()).await {
            Ok(status) => status.expect("it was started").code(),
            Err(_) => panic!("the agent does not end; the screen shows\n{}", self.screen()),
        }
    }
}

async fn keyboard(mut input: OwnedWritePty, mut typed: mpsc::Receiver<Vec<u8>>) {
    while let Some(keys) = typed.recv().await {
        if input.write_all(&keys).await.is_err() {
            return;
        }
    }
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, vt100::Parser<Questions>> {
        self.parser.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows output, and returns what the terminal answers to it.
    fn show(&self, output: &[u8]) -> Vec<u8> {
        let mut parser = self.lock();
        parser.process(output);
        let answer = std::mem::take(&mut parser.callbacks_mut().answers);
        drop(parser);
        self.news.send_replace(false);
        answer
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.lock().screen().contents())
    }
}

impl vt100::Callbacks for Questions {
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        first: Option<u8>,
        _second: Option<u8>,
        parameters: &[&[u16]],
        command: char,
    ) {
        match (first, command, parameters) {
            (None, 'n', [[6]]) => {
                let (row, column) = screen.cursor_position();
                self.answers.extend(format!("\x1b[{};{}R", row + 1, column + 1).into_bytes());
            }
            (None, 'c', _) => self.answers.extend(b"\x1b[?62;22c"),
            _ => {}
        }
    }
}
