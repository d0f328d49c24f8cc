//! TOML: a table of MCP servers, as Codex keeps it.

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value as TomlValue, value as item};

use super::{Fault, Found, NAME, is_server, without_bom};
use crate::program::Program;

/// The table that holds the servers.
const SERVERS: &str = "mcp_servers";

/// What to add by hand.
pub(crate) fn snippet(program: &Program) -> String {
    let mut document = DocumentMut::new();
    // A new document takes the entry in any case.
    let _ = set(&mut document, program);
    document.to_string()
}

/// Adds our server, or brings that of an earlier version up to date.
pub(crate) fn install(text: &str, program: &Program) -> Result<String, Fault> {
    change(text, program, |document| set(document, program))
}

/// Takes our server out, and the table that it leaves empty unless `original` had it too.
pub(crate) fn remove(text: &str, program: &Program, original: Option<&str>) -> Result<String, Fault> {
    let kept = original.and_then(|text| Text::of(text).ok()?.parse().ok());
    let kept = kept.is_some_and(|document: DocumentMut| document.contains_key(SERVERS));
    change(text, program, |document| {
        let Some(servers) = document.get_mut(SERVERS).and_then(Item::as_table_like_mut) else {
            return Ok(());
        };
        for name in ours(servers, program) {
            servers.remove(&name);
        }
        if servers.is_empty() && !kept {
            document.remove(SERVERS);
        }
        Ok(())
    })
}

/// What of ours is there.
pub(crate) fn find(text: &str, program: &Program) -> Found {
    let document = Text::of(text).and_then(|text| text.parse());
    let server = document.ok().and_then(|document| {
        let servers = document.get(SERVERS)?.as_table_like()?;
        let name = ours(servers, program).into_iter().next()?;
        words(servers.get(&name)?)
    });
    Found { server, hooks: Vec::new() }
}

/// A text as the editor keeps it: without a byte order mark, with plain line ends and an end of the last line; all of
/// which is put back, since the editor would not.
struct Text {
    bom: &'static str,
    body: String,
    crlf: bool,
    ends_early: bool,
}

impl Text {
    fn of(text: &str) -> Result<Self, Fault> {
        let (bom, body) = without_bom(text);
        let (all, crlf) = (body.matches('\n').count(), body.matches("\r\n").count());
        if crlf != 0 && crlf != all {
            return Err(Fault::Delicate("its lines end in different ways"));
        }
        let ends_early = !body.is_empty() && !body.ends_with('\n');
        let mut body = body.replace("\r\n", "\n");
        if ends_early {
            body.push('\n');
        }
        Ok(Self { bom, body, crlf: crlf != 0, ends_early })
    }

    /// A text with this body in the place of the old one.
    fn with(&self, body: &str) -> String {
        let body = if self.ends_early { body.strip_suffix('\n').unwrap_or(body) } else { body };
        format!("{}{}", self.bom, if self.crlf { body.replace('\n', "\r\n") } else { body.to_owned() })
    }

    fn parse(&self) -> Result<DocumentMut, Fault> {
        self.body.parse().map_err(|error: toml_edit::TomlError| {
            let first = error.to_string().lines().next().unwrap_or_default().to_owned();
            Fault::Unreadable(format!("{first}: {}", error.message()))
        })
    }
}

fn change(
    text: &str,
    program: &Program,
    edit: impl FnOnce(&mut DocumentMut) -> Result<(), Fault>,
) -> Result<String, Fault> {
    let source = Text::of(text)?;
    let mut document = source.parse()?;
    if document.to_string() != source.body {
        return Err(Fault::Delicate("its layout would not survive"));
    }
    let before = rest(&document, program);
    edit(&mut document)?;
    let body = document.to_string();
    let after: DocumentMut = body.parse().map_err(|_| Fault::Delicate("an unusual layout"))?;
    if rest(&after, program) != before {
        return Err(Fault::Delicate("an unusual layout"));
    }
    Ok(source.with(&body))
}

fn set(document: &mut DocumentMut, program: &Program) -> Result<(), Fault> {
    let servers = document.entry(SERVERS).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let shape = || Fault::Shape(SERVERS.to_owned(), "table");
    let servers = servers.as_table_like_mut().ok_or_else(shape)?;
    let Some(name) = ours(servers, program).into_iter().next() else {
        if servers.contains_key(NAME) {
            return Err(Fault::Taken(format!("{SERVERS}.{NAME}")));
        }
        let mut table = Table::new();
        table.insert("command", item(program.command()));
        table.insert("args", item(Array::from_iter(["mcp"])));
        servers.insert(NAME, Item::Table(table));
        return Ok(());
    };
    let command = servers.get_mut(&name).and_then(|server| server.as_table_like_mut()?.get_mut("command"));
    let command = command.and_then(Item::as_value_mut).ok_or_else(shape)?;
    if command.as_str() != Some(program.command()) {
        let decor = command.decor().clone();
        *command = TomlValue::from(program.command());
        *command.decor_mut() = decor;
    }
    Ok(())
}

/// Names of the servers that are ours.
fn ours(servers: &dyn TableLike, program: &Program) -> Vec<String> {
    let ours = servers.iter().filter(|(_, server)| {
        let words = words(server).unwrap_or_default();
        is_server(program, words.first().map(String::as_str), words.get(1..).unwrap_or_default())
    });
    ours.map(|(name, _)| name.to_owned()).collect()
}

fn words(server: &Item) -> Option<Vec<String>> {
    let server = server.as_table_like()?;
    let command = server.get("command")?.as_str()?.to_owned();
    let arguments = server.get("args").and_then(Item::as_array);
    let arguments = arguments.into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned));
    Some(std::iter::once(command).chain(arguments).collect())
}

/// The meaning of everything else.
fn rest(document: &DocumentMut, program: &Program) -> serde_json::Value {
    let mut document = document.clone();
    if let Some(servers) = document.get_mut(SERVERS).and_then(Item::as_table_like_mut) {
        for name in ours(servers, program) {
            servers.remove(&name);
        }
        if servers.is_empty() {
            document.remove(SERVERS);
        }
    }
    meaning(document.as_item())
}

fn meaning(item: &Item) -> serde_json::Value {
    match item {
        Item::None => serde_json::Value::Null,
        Item::Table(table) => object(table),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| object(table)).collect(),
        Item::Value(TomlValue::InlineTable(table)) => object(table),
        Item::Value(TomlValue::Array(array)) => {
            array.iter().map(|value| meaning(&Item::Value(value.clone()))).collect()
        }
        Item::Value(
            value @ (TomlValue::String(_)
            | TomlValue::Integer(_)
            | TomlValue::Float(_)
            | TomlValue::Boolean(_)
            | TomlValue::Datetime(_)),
        ) => {
            let mut value = value.clone();
            value.decor_mut().clear();
            format!("{} {value}", value.type_name()).into()
        }
    }
}

fn object(table: &dyn TableLike) -> serde_json::Value {
    let fields = table.iter().map(|(key, item)| (key.to_owned(), meaning(item)));
    serde_json::Value::Object(fields.collect())
}
