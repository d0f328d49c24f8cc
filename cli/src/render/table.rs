//! Tables: a heading, columns as wide as their widest cell, two spaces between.

use anstyle::Style;

use crate::output::{Paint, name_style};

/// One cell, already printable.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::new() }
    }

    /// A peer, in its colour.
    pub(crate) fn name(name: &str) -> Self {
        let text = mesh_client::display::printable_line(name).into_owned();
        Self { text, style: name_style(name) }
    }

    /// Less important.
    pub(crate) fn dim(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::new().dimmed() }
    }
}

/// The table as lines; nothing if it has no rows.
pub(crate) fn table(paint: Paint, heading: &[&str], rows: &[Vec<Cell>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut widths: Vec<usize> = heading.iter().map(|title| title.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    let heading: Vec<Cell> = heading.iter().map(|title| Cell::dim(*title)).collect();
    std::iter::once(&heading).chain(rows).map(|row| line(paint, row, &widths)).collect()
}

fn line(paint: Paint, row: &[Cell], widths: &[usize]) -> String {
    let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or_default();
    let mut line = String::new();
    for (cell, width) in row[..=last.min(row.len() - 1)].iter().zip(widths) {
        line.push_str(&paint.style(cell.style, &cell.text));
        line.extend(std::iter::repeat_n(' ', width - cell.text.chars().count() + 2));
    }
    line.truncate(line.trim_end_matches(' ').len());
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_widest_cell() {
        let rows = [
            vec![Cell::name("amber-fox"), Cell::plain("main"), Cell::plain("")],
            vec![Cell::name("bo"), Cell::plain(""), Cell::plain("naïve")],
        ];
        let shown = table(Paint::plain(), &["NAME", "BRANCH", "FOCUS"], &rows);
        insta::assert_snapshot!(shown, @r"
        NAME       BRANCH  FOCUS
        amber-fox  main
        bo                 naïve
        ");
        assert_eq!(table(Paint::plain(), &["NAME"], &[]), "");
    }
}
