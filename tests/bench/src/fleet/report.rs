//! The table.

use anyhow::Result;
use serde_json::{Value, json};

use super::Plan;
use super::agent::Mode;
use super::log::Why;
use super::outcome::Outcome;
use super::tokens::Counter;
use crate::process::Machine;
use crate::report::table;
use crate::stats::quantile;

/// One row: how it is called, in JSON too, and its value of each run.
struct Row {
    title: &'static str,
    name: &'static str,
    values: Vec<Value>,
}

pub(super) fn print(json: bool, plan: &Plan, outcomes: &[Outcome], counter: &Counter) -> Result<()> {
    let rows = rows(outcomes, counter)?;
    if json {
        let runs = outcomes.iter().enumerate().map(|(run, outcome)| {
            let mut values: serde_json::Map<_, _> =
                rows.iter().map(|row| (row.name.to_owned(), row.values[run].clone())).collect();
            values.insert("lost_marks".into(), json!(outcome.lost));
            values.insert("faults".into(), json!(outcome.faults));
            (name(outcome.mode).to_owned(), Value::Object(values))
        });
        let all = json!({
            "machine": Machine::here().to_string(), "agents": plan.agents, "edits": plan.edits, "files": plan.files,
            "seed": plan.seed, "crash_every": plan.crash_every, "tokens": counter.name(),
            "runs": runs.collect::<serde_json::Map<_, _>>(),
        });
        println!("{all:#}");
        return Ok(());
    }
    println!(
        "{}; {} agents, {} edits, {} files, 2 worktrees, a crash for every {} edits of an agent, seed {}",
        Machine::here(),
        plan.agents,
        plan.edits,
        plan.files,
        plan.crash_every,
        plan.seed
    );
    println!("tokens: {}\n", counter.name());
    let titles =
        std::iter::once(String::new()).chain(outcomes.iter().map(|outcome| name(outcome.mode).to_owned()));
    let lines = rows
        .iter()
        .map(|row| std::iter::once(row.title.to_owned()).chain(row.values.iter().map(text)).collect());
    print!("{}", table(&std::iter::once(titles.collect()).chain(lines).collect::<Vec<_>>()));
    for outcome in outcomes {
        for fault in outcome.faults.iter().take(10) {
            println!("\n{}: {fault}", name(outcome.mode));
        }
    }
    let with = outcomes.iter().find(|outcome| outcome.mode == Mode::Mesh);
    for lost in with.iter().flat_map(|outcome| &outcome.lost) {
        println!("\nlost with the mesh: {lost}");
    }
    Ok(())
}

fn rows(outcomes: &[Outcome], counter: &Counter) -> Result<Vec<Row>> {
    let row = |title, name, value: &dyn Fn(&Outcome) -> Value| Row {
        title,
        name,
        values: outcomes.iter().map(value).collect(),
    };
    let refused = |outcome: &Outcome, why| outcome.refused.get(&why).copied().unwrap_or_default();
    let tokens: Vec<Value> = outcomes
        .iter()
        .map(|outcome| Ok(json!(outcome.per_edit(counter.count(&outcome.texts)?))))
        .collect::<Result<_>>()?;
    // Without the sign of an empty sum.
    let seconds = |millis: f64, outcome: &Outcome| millis / 1e3 * outcome.per_edit(1) + 0.0;
    let hook = |outcome: &Outcome, at| quantile(&mut outcome.hook_millis.clone(), at);
    Ok(vec![
        row("edits that their tool called done", "edits", &|o| json!(o.edits)),
        row("of these lost", "lost", &|o| json!(o.lost.len())),
        row("crashes of agents", "crashes", &|o| json!(o.crashes)),
        row("edits over one in the other worktree", "collisions", &|o| json!(o.collisions)),
        row("of these untold", "untold", &|o| json!(o.untold)),
        row("refused: another has it", "refused_locked", &|o| json!(refused(o, Why::Locked))),
        row("refused or warned: changed since read", "refused_stale", &|o| json!(refused(o, Why::Stale))),
        row("refused by the host's own look", "refused_host", &|o| json!(refused(o, Why::Host))),
        row("seconds an edit, waiting for locks", "lock_seconds_per_edit", &|o| {
            json!(seconds(o.mesh_millis, o))
        }),
        row("seconds an edit, in hooks", "hook_seconds_per_edit", &|o| {
            json!(seconds(o.hook_millis.iter().sum(), o))
        }),
        row("a hook, p50 ms", "hook_p50_ms", &|o| json!(hook(o, 0.5))),
        row("a hook, p99 ms", "hook_p99_ms", &|o| json!(hook(o, 0.99))),
        row("hooks an edit", "hooks_per_edit", &|o| json!(o.per_edit(o.hooks))),
        row("reads and edits an edit", "tools_per_edit", &|o| json!(o.per_edit(o.tools))),
        row("calls of the mesh's tools an edit", "mesh_tools_per_edit", &|o| json!(o.per_edit(o.mesh_tools))),
        Row { title: "tokens of the mesh an edit", name: "tokens_per_edit", values: tokens },
        row("wall time, s", "wall_seconds", &|o| json!(o.wall.as_secs_f64())),
    ])
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".into(),
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            if number >= 20.0 { format!("{number:.0}") } else { format!("{number:.2}") }
        }
        Value::Number(_) | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Bare => "without",
        Mode::Host => "host's own look",
        Mode::Mesh => "with the mesh",
    }
}
