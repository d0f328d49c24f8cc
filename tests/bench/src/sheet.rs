//! A table of what is no call made over and over: whole replays, bytes, starts.

use serde_json::{Value, json};

use crate::report::table;
use crate::stats::Spread;

/// What one row of the suite came to.
#[derive(Debug)]
pub(crate) struct Sheet {
    title: String,
    aim: &'static str,
    columns: Vec<&'static str>,
    lines: Vec<Line>,
    /// Lines to show as well, each the one divided by the other within a round.
    ratios: Vec<(String, String)>,
    /// Servers that are not installed.
    pub(crate) missing: Vec<&'static str>,
}

/// What was found of one thing, in rounds; a value a column, NaN for none.
#[derive(Debug)]
struct Line {
    of: String,
    rounds: Vec<Vec<f64>>,
}

impl Line {
    fn column(&self, column: usize) -> Vec<f64> {
        self.rounds.iter().map(|values| values.get(column).copied().unwrap_or(f64::NAN)).collect()
    }
}

impl Sheet {
    pub(crate) fn new(title: String, aim: &'static str, columns: &[&'static str]) -> Self {
        Self {
            title,
            aim,
            columns: columns.into(),
            lines: Vec::new(),
            ratios: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// One round of a line.
    pub(crate) fn record(&mut self, of: &str, values: &[f64]) {
        let known = self.lines.iter().position(|line| line.of == of).unwrap_or_else(|| {
            self.lines.push(Line { of: of.to_owned(), rounds: Vec::new() });
            self.lines.len() - 1
        });
        self.lines[known].rounds.push(values.into());
    }

    /// Shows one line against another.
    pub(crate) fn compare(&mut self, of: &str, to: &str) {
        self.ratios.push((of.to_owned(), to.to_owned()));
    }

    fn spreads(&self, line: &Line) -> Vec<Spread> {
        (0..self.columns.len()).map(|column| Spread::of(line.column(column))).collect()
    }

    /// What is compared, column by column; nothing when a server is missing.
    fn compared(&self) -> Vec<(&str, &str, Vec<Spread>)> {
        let line = |name: &str| self.lines.iter().find(|line| line.of == name);
        let pairs = self.ratios.iter().filter_map(|(of, to)| Some((line(of)?, line(to)?)));
        pairs
            .map(|(of, to)| {
                let ratio = |column| Spread::of_ratios(&of.column(column), &to.column(column));
                (of.of.as_str(), to.of.as_str(), (0..self.columns.len()).map(ratio).collect())
            })
            .collect()
    }

    pub(crate) fn text(&self) -> String {
        let head = std::iter::once("").chain(self.columns.iter().copied()).map(str::to_owned).collect();
        let row = |name: String, spreads: Vec<Spread>| {
            std::iter::once(name).chain(spreads.iter().map(text)).collect::<Vec<_>>()
        };
        let mut rows: Vec<Vec<String>> = vec![head];
        rows.extend(self.lines.iter().map(|line| row(line.of.clone(), self.spreads(line))));
        rows.extend(self.compared().into_iter().map(|(of, to, ratio)| row(format!("{of} ÷ {to}"), ratio)));
        let missing =
            self.missing.iter().map(|name| format!("\nnot measured beside {name}: it is not installed\n"));
        format!("\n{}\naim: {}\n\n{}{}", self.title, self.aim, table(&rows), missing.collect::<String>())
    }

    pub(crate) fn json(&self) -> Value {
        let numbers = |spreads: Vec<Spread>| {
            let named = self.columns.iter().zip(spreads).filter(|(_, spread)| !spread.median.is_nan());
            Value::Object(named.map(|(name, spread)| ((*name).to_owned(), spread.json())).collect())
        };
        let lines = self.lines.iter();
        let lines = lines.map(|line| json!({ "of": line.of, "numbers": numbers(self.spreads(line)) }));
        let ratios = self.compared().into_iter();
        let ratios = ratios.map(|(of, to, ratio)| json!({ "of": of, "to": to, "numbers": numbers(ratio) }));
        json!({
            "title": self.title,
            "aim": self.aim,
            "lines": lines.collect::<Vec<_>>(),
            "ratios": ratios.collect::<Vec<_>>(),
            "missing": self.missing,
        })
    }
}

/// A single value has no spread.
fn text(spread: &Spread) -> String {
    if spread.min < spread.max || spread.median.is_nan() {
        return spread.to_string();
    }
    if spread.median.abs() < 100.0 {
        format!("{:.2}", spread.median)
    } else {
        format!("{:.0}", spread.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_compared_within_a_round_and_missing_ones_not_at_all() {
        let mut sheet = Sheet::new("start".into(), "≤ 2 ×", &["ms", "MiB"]);
        for (ours, theirs) in [(10.0, 5.0), (30.0, 10.0)] {
            sheet.record("mesh", &[ours, 1.0]);
            sheet.record("other", &[theirs, f64::NAN]);
        }
        sheet.compare("mesh", "other");
        sheet.compare("mesh", "absent");
        let json = sheet.json();
        assert_eq!(json["lines"][0]["numbers"]["ms"]["median"], 20.0);
        assert_eq!(json["ratios"].as_array().unwrap().len(), 1);
        assert_eq!(json["ratios"][0]["numbers"]["ms"]["median"], 2.5);
        assert!(json["ratios"][0]["numbers"]["MiB"].is_null());
        let text = sheet.text();
        let line = text.lines().find(|line| line.starts_with("| mesh ÷ other")).unwrap();
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        assert_eq!(cells[2..4], ["2.50 [2.00..3.00]", "–"]);
    }
}
