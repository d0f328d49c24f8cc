//! JSON with or without comments: MCP servers in an object, hooks in arrays by event.
//!
//! Hosts write hooks in two shapes: flat, `{"command": …}`, and in groups, `{"matcher": …, "hooks": [{"command": …}]}`.
//! Both are recognised everywhere.

mod ours;

use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode};
use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde_json::Value;

use self::ours::{Share, is_hook, is_ours, lines, share, verify, words};
use super::{Fault, Found, NAME, without_bom};
use crate::program::Program;

/// What a host is to find in its file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    /// Keys of the whole file that it needs; left alone where present.
    pub(crate) defaults: Vec<(&'static str, CstInputValue)>,
    /// Keys that it puts into a file without them, so that a new one may as well have them.
    pub(crate) fresh: Vec<(&'static str, CstInputValue)>,
    /// The object that holds MCP servers, and ours.
    pub(crate) server: Option<(&'static str, CstInputValue)>,
    /// Hooks, each an element of the array of its event.
    pub(crate) hooks: Vec<(&'static str, CstInputValue)>,
}

const HOOKS: &str = "hooks";

/// What to add by hand.
pub(crate) fn snippet(entries: &Entries, program: &Program) -> String {
    // Nothing is there that could be in the way.
    install("", entries, program).unwrap_or_default()
}

/// Adds the entries, or brings those of an earlier version up to date.
pub(crate) fn install(text: &str, entries: &Entries, program: &Program) -> Result<String, Fault> {
    let (bom, body) = without_bom(text);
    let blank = body.trim().is_empty();
    let body = if blank { "{}\n" } else { body };
    let before = value(body)?;
    let root = parse(body)?;
    let object = match root.value() {
        None => root.object_value_or_set(),
        Some(node) => node.as_object().ok_or_else(|| Fault::Shape("the file".to_owned(), "object"))?,
    };
    for (key, default) in entries.defaults.iter().chain(entries.fresh.iter().filter(|_| blank)) {
        if object.get(key).is_none() {
            object.append(key, default.clone());
        }
    }
    if let Some((at, server)) = &entries.server {
        let servers = child_object(&object, at)?;
        set_server(&servers, server, program)?;
    }
    if !entries.hooks.is_empty() || object.get(HOOKS).is_some() {
        set_hooks(&object, entries, program)?;
    }
    let after = root.to_string();
    verify(&before, &value(&after)?, entries, program)?;
    Ok(format!("{bom}{after}"))
}

/// Takes out the entries, and what they leave empty unless `original` had it too.
pub(crate) fn remove(
    text: &str,
    entries: &Entries,
    program: &Program,
    original: Option<&str>,
) -> Result<String, Fault> {
    let (bom, body) = without_bom(text);
    if body.trim().is_empty() {
        return Ok(text.to_owned());
    }
    let before = value(body)?;
    let kept = original.and_then(|text| value(without_bom(text).1).ok()).unwrap_or_default();
    let root = parse(body)?;
    let Some(object) = root.object_value() else { return Ok(text.to_owned()) };
    if let Some((at, _)) = &entries.server
        && let Some(servers) = object.object_value(at)
    {
        servers.properties().into_iter().filter(|prop| owns(prop, program)).for_each(CstObjectProp::remove);
        if servers.properties().is_empty() && kept.get(at).is_none() {
            drop_prop(&object, at);
        }
    }
    if let Some(hooks) = object.object_value(HOOKS) {
        for event in hooks.properties() {
            let name = name_of(&event);
            let Some(array) = event.array_value() else { continue };
            if clear(&array, program) && array.elements().is_empty() && kept[HOOKS].get(&name).is_none() {
                event.remove();
            }
        }
        if hooks.properties().is_empty() && kept.get(HOOKS).is_none() {
            drop_prop(&object, HOOKS);
        }
    }
    for (key, default) in &entries.defaults {
        // Without the original, a default that stands beside other things may be somebody's.
        let ours = if original.is_some() { kept.get(key).is_none() } else { object.properties().len() == 1 };
        if let Some(prop) = object.get(key)
            && ours
            && prop.to_serde_value().is_some_and(|value| value == to_value(default))
        {
            prop.remove();
        }
    }
    let after = root.to_string();
    verify(&before, &value(&after)?, entries, program)?;
    Ok(format!("{bom}{after}"))
}

/// What of ours is there.
pub(crate) fn find(text: &str, at: Option<&str>, program: &Program) -> Found {
    let mut found = Found::default();
    let Ok(root) = value(without_bom(text).1) else { return found };
    let servers = at.and_then(|at| root.get(at)).and_then(Value::as_object);
    let ours = servers.into_iter().flatten().find(|(_, server)| is_ours(server, program));
    found.server = ours.and_then(|(_, server)| words(server));
    for (event, elements) in root.get(HOOKS).and_then(Value::as_object).into_iter().flatten() {
        for element in elements.as_array().into_iter().flatten() {
            let inner = element.get(HOOKS).and_then(Value::as_array);
            for hook in inner.into_iter().flatten().chain(std::iter::once(element)) {
                let line = lines(hook).into_iter().find(|line| program.is_hook(line));
                found.hooks.extend(line.map(|line| (event.clone(), line.to_owned())));
            }
        }
    }
    found
}

/// The whole text as a value; nothing but white space is an empty object.
pub(crate) fn value(text: &str) -> Result<Value, Fault> {
    let parsed = parse_to_serde_value::<Option<Value>>(text, &options());
    let parsed = parsed.map_err(|error| Fault::Unreadable(error.to_string()))?;
    Ok(parsed.unwrap_or_else(|| Value::Object(serde_json::Map::new())))
}

/// Whether nothing but what we put into a new file is left.
pub(crate) fn is_bare(text: &str, entries: &Entries) -> bool {
    let Ok(Value::Object(root)) = value(without_bom(text).1) else { return false };
    root.iter().all(|(key, value)| {
        let mut defaults = entries.defaults.iter().chain(&entries.fresh);
        defaults.any(|(name, default)| name == key && to_value(default) == *value)
    })
}

/// What hosts with comments read: comments and trailing commas, nothing looser.
fn options() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

fn parse(text: &str) -> Result<CstRootNode, Fault> {
    CstRootNode::parse(text, &options()).map_err(|error| Fault::Unreadable(error.to_string()))
}

fn child_object(object: &CstObject, key: &str) -> Result<CstObject, Fault> {
    object.object_value_or_create(key).ok_or_else(|| Fault::Shape(key.to_owned(), "object"))
}

fn name_of(prop: &CstObjectProp) -> String {
    prop.decoded_name().unwrap_or_default()
}

fn drop_prop(object: &CstObject, key: &str) {
    if let Some(prop) = object.get(key) {
        prop.remove();
    }
}

fn owns(prop: &CstObjectProp, program: &Program) -> bool {
    prop.value().and_then(|node| node.to_serde_value()).is_some_and(|server| is_ours(&server, program))
}

/// Sets what we say of our server, and leaves what its owner added.
fn set_server(servers: &CstObject, wanted: &CstInputValue, program: &Program) -> Result<(), Fault> {
    let ours = servers.properties().into_iter().find(|prop| owns(prop, program));
    let Some(prop) = ours else {
        if servers.get(NAME).is_some() {
            return Err(Fault::Taken(NAME.to_owned()));
        }
        servers.append(NAME, wanted.clone());
        return Ok(());
    };
    let (Some(object), CstInputValue::Object(fields)) = (prop.object_value(), wanted) else {
        return Err(Fault::Shape(NAME.to_owned(), "object"));
    };
    for (key, field) in fields {
        match object.get(key) {
            None => _ = object.append(key, field.clone()),
            Some(prop) if prop.value().and_then(|node| node.to_serde_value()) != Some(to_value(field)) => {
                prop.set_value(field.clone());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn set_hooks(root: &CstObject, entries: &Entries, program: &Program) -> Result<(), Fault> {
    if entries.hooks.is_empty() {
        let Some(hooks) = root.object_value(HOOKS) else { return Ok(()) };
        return drop_stale(&hooks, &[], program);
    }
    let hooks = child_object(root, HOOKS)?;
    let mut events: Vec<&str> = Vec::new();
    for (event, _) in &entries.hooks {
        if !events.contains(event) {
            events.push(event);
        }
    }
    for event in &events {
        let array = hooks
            .array_value_or_create(event)
            .ok_or_else(|| Fault::Shape(format!("{HOOKS}.{event}"), "list"))?;
        let wanted = entries.hooks.iter().filter(|(of, _)| of == event).map(|(_, element)| element);
        set_elements(&array, &wanted.collect::<Vec<_>>(), program);
    }
    drop_stale(&hooks, &events, program)
}

/// Takes out our hooks of events that they are no longer of.
fn drop_stale(hooks: &CstObject, wanted: &[&str], program: &Program) -> Result<(), Fault> {
    for prop in hooks.properties() {
        if wanted.contains(&name_of(&prop).as_str()) {
            continue;
        }
        if let Some(array) = prop.array_value()
            && clear(&array, program)
            && array.elements().is_empty()
        {
            prop.remove();
        }
    }
    Ok(())
}

fn set_elements(array: &CstArray, wanted: &[&CstInputValue], program: &Program) {
    let of = |node: &CstNode| node.to_serde_value().unwrap_or_default();
    let ours: Vec<_> =
        array.elements().into_iter().filter(|node| share(&of(node), program) == Share::All).collect();
    let same = ours.len() == wanted.len()
        && ours.iter().zip(wanted).all(|(node, wanted)| of(node) == to_value(wanted));
    // A group that somebody put a hook of theirs into stays theirs.
    for node in array.elements() {
        if share(&of(&node), program) == Share::Some {
            clear_group(&node, program);
        }
    }
    if same {
        return;
    }
    let mut ours = ours.into_iter();
    for wanted in wanted {
        let replaced = ours.next().and_then(|node| node.as_object());
        match replaced {
            Some(node) => _ = node.replace_with((*wanted).clone()),
            None => _ = array.append((*wanted).clone()),
        }
    }
    ours.for_each(CstNode::remove);
}

/// Takes our hooks out of an array; whether there were any.
fn clear(array: &CstArray, program: &Program) -> bool {
    let mut any = false;
    for node in array.elements() {
        match share(&node.to_serde_value().unwrap_or_default(), program) {
            Share::None => {}
            Share::Some => {
                clear_group(&node, program);
                any = true;
            }
            Share::All => {
                node.remove();
                any = true;
            }
        }
    }
    any
}

fn clear_group(group: &CstNode, program: &Program) {
    let inner = group.as_object().and_then(|group| group.array_value(HOOKS));
    for node in inner.iter().flat_map(CstArray::elements) {
        if is_hook(&node.to_serde_value().unwrap_or_default(), program) {
            node.remove();
        }
    }
}

fn to_value(input: &CstInputValue) -> Value {
    match input {
        CstInputValue::Null => Value::Null,
        CstInputValue::Bool(value) => Value::Bool(*value),
        CstInputValue::Number(text) => serde_json::from_str(text).unwrap_or_default(),
        CstInputValue::String(text) => Value::String(text.clone()),
        CstInputValue::Array(elements) => Value::Array(elements.iter().map(to_value).collect()),
        CstInputValue::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), to_value(value))).collect())
        }
    }
}
