//! A shell script as simple commands.
//!
//! Far from a shell: words are unquoted but nothing is expanded, reserved words are words, and what is not understood
//! is passed over. That is enough to see which programs a command runs, and it never fails.

use std::iter::Peekable;
use std::str::Chars;

/// A part of a script, in the order of the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A subshell begins.
    Open,
    /// A subshell ends; it may never have begun.
    Close,
    /// A simple command.
    Command(Simple),
}

/// A simple command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Simple {
    /// Its words, without quotes and redirections.
    pub(super) words: Vec<String>,
    /// Bodies of its here-documents.
    pub(super) heredocs: Vec<String>,
    /// Scripts within its words: `$(…)`, `` `…` ``, `<(…)`.
    pub(super) within: Vec<String>,
}

/// The parts of `script`.
pub(super) fn items(script: &str) -> Vec<Item> {
    let mut lexer = Lexer {
        rest: script.chars().peekable(),
        items: Vec::new(),
        command: Simple::default(),
        word: None,
        redirected: false,
        pending: Vec::new(),
    };
    lexer.run();
    lexer.items
}

/// A here-document whose body is still to come.
struct Pending {
    /// Where its command will be among the items.
    item: usize,
    delimiter: String,
    /// `<<-`: tabs at the beginning of lines do not count.
    tabs: bool,
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    items: Vec<Item>,
    command: Simple,
    /// The word under way; an empty one has quotes.
    word: Option<String>,
    /// Whether the next word is the target of a redirection.
    redirected: bool,
    pending: Vec<Pending>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(c) = self.rest.next() {
            match c {
                ' ' | '\t' | '\r' => self.end_word(),
                '\n' => {
                    self.end_command();
                    self.read_heredocs();
                }
                '&' if self.rest.peek() == Some(&'>') => self.end_word(),
                ';' | '&' | '|' => self.end_command(),
                '(' => self.bound(Item::Open),
                ')' => self.bound(Item::Close),
                '<' | '>' => self.redirect(c),
                '#' if self.word.is_none() => while self.rest.next_if(|c| *c != '\n').is_some() {},
                _ => self.in_word(c),
            }
        }
        self.end_command();
    }

    fn in_word(&mut self, c: char) {
        match c {
            '\\' => match self.rest.next() {
                Some('\n') | None => {}
                Some(c) => self.push(c),
            },
            '\'' => {
                self.word.get_or_insert_default();
                while let Some(c) = self.rest.next().filter(|c| *c != '\'') {
                    self.push(c);
                }
            }
            '"' => self.double_quoted(),
            '$' => self.dollar(false),
            '`' => self.backticks(),
            c => self.push(c),
        }
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn double_quoted(&mut self) {
        self.word.get_or_insert_default();
        while let Some(c) = self.rest.next() {
            match c {
                '"' => return,
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.push(c),
                    Some(c) => {
                        self.push('\\');
                        self.push(c);
                    }
                },
                '$' => self.dollar(true),
                '`' => self.backticks(),
                c => self.push(c),
            }
        }
    }

    fn dollar(&mut self, quoted: bool) {
        match self.rest.peek() {
            Some('(') => {
                self.rest.next();
                let script = self.parenthesized();
                self.keep(&["$(", &script, ")"]);
                self.command.within.push(script);
            }
            Some('{') => {
                self.push('$');
                while let Some(c) = self.rest.next() {
                    self.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
            Some('\'') if !quoted => {
                self.rest.next();
                self.word.get_or_insert_default();
                while let Some(c) = self.rest.next().filter(|c| *c != '\'') {
                    let c = if c == '\\' { self.rest.next().map_or('\\', escaped) } else { c };
                    self.push(c);
                }
            }
            Some('"') if !quoted => {}
            _ => self.push('$'),
        }
    }

    fn backticks(&mut self) {
        let mut script = String::new();
        while let Some(c) = self.rest.next().filter(|c| *c != '`') {
            match c {
                '\\' => script.extend(self.rest.next()),
                c => script.push(c),
            }
        }
        self.keep(&["`", &script, "`"]);
        self.command.within.push(script);
    }

    fn keep(&mut self, parts: &[&str]) {
        let word = self.word.get_or_insert_default();
        parts.iter().for_each(|part| word.push_str(part));
    }

    /// What comes before the parenthesis that closes, which is taken too.
    fn parenthesized(&mut self) -> String {
        let (mut text, mut depth, mut quote) = (String::new(), 1_usize, None);
        while let Some(c) = self.rest.next() {
            match (quote, c) {
                (Some('\''), '\'') => quote = None,
                (Some('"'), '"') => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None | Some('"'), '\\') => {
                    text.push(c);
                    text.extend(self.rest.next());
                    continue;
                }
                (None, '(') => depth += 1,
                (None, ')') => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                _ => {}
            }
            text.push(c);
        }
        text
    }

    fn redirect(&mut self, c: char) {
        // `2>file`: the digits are no word.
        self.word.take_if(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()));
        self.end_word();
        if self.rest.next_if_eq(&'(').is_some() {
            let script = self.parenthesized();
            self.command.within.push(script);
            return;
        }
        if c == '<' && self.rest.next_if_eq(&'<').is_some() {
            if self.rest.next_if_eq(&'<').is_none() {
                return self.heredoc();
            }
        } else {
            while self.rest.next_if(|c| matches!(c, '<' | '>' | '&' | '|')).is_some() {}
        }
        self.redirected = true;
    }

    fn heredoc(&mut self) {
        let tabs = self.rest.next_if_eq(&'-').is_some();
        while self.rest.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        let mut delimiter = String::new();
        while let Some(c) = self.rest.next_if(|c| !c.is_whitespace() && !";&|<>()".contains(*c)) {
            if !matches!(c, '\'' | '"' | '\\') {
                delimiter.push(c);
            }
        }
        self.pending.push(Pending { item: self.items.len(), delimiter, tabs });
    }

    fn read_heredocs(&mut self) {
        for Pending { item, delimiter, tabs } in std::mem::take(&mut self.pending) {
            let mut body = String::new();
            while self.rest.peek().is_some() {
                let mut line = String::new();
                while let Some(c) = self.rest.next().filter(|c| *c != '\n') {
                    line.push(c);
                }
                let line = if tabs { line.trim_start_matches('\t') } else { &line };
                if line.trim_end_matches('\r') == delimiter {
                    break;
                }
                body.push_str(line);
                body.push('\n');
            }
            if let Some(Item::Command(command)) = self.items.get_mut(item) {
                command.heredocs.push(body);
            }
        }
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.redirected)
        {
            self.command.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.redirected = false;
        let awaited = self.pending.iter().any(|pending| pending.item == self.items.len());
        let command = std::mem::take(&mut self.command);
        if awaited || command != Simple::default() {
            self.items.push(Item::Command(command));
        }
    }

    fn bound(&mut self, item: Item) {
        self.end_command();
        self.items.push(item);
    }
}

fn escaped(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        c => c,
    }
}
