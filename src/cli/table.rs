//! Tables without lines around them, in the way of `docker ps`. A row is one line, whatever is in
//! it: where there is no room, cells are cut, and columns left out that matter least.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::shown::{BOLD, painted};

/// Between two columns.
const GAP: usize = 2;

/// Cells that may be cut keep so much.
const NARROW: usize = 10;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    is_number: bool,
    may_be_cut: bool,
    /// The greatest is the first to go where there is no room; with 0, it never goes.
    spare: u8,
}

/// What stands in one row of one column.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

/// A table. A column without a text in any row is left out.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Column {
    /// Of texts that are never cut.
    pub const fn new(title: &'static str) -> Self {
        Column { title, is_number: false, may_be_cut: false, spare: 0 }
    }

    /// Of numbers: they stand on the right.
    pub const fn number(title: &'static str) -> Self {
        Column { is_number: true, ..Column::new(title) }
    }

    /// The same, cut where there is no room.
    pub const fn cut(self) -> Self {
        Column { may_be_cut: true, ..self }
    }

    /// The same, left out where there is no room, the greatest number first.
    pub const fn spare(self, spare: u8) -> Self {
        Column { spare, ..self }
    }
}

impl Cell {
    /// A text in a colour.
    pub fn painted(text: String, style: Style) -> Self {
        Cell { text, style }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell { text: text.to_string(), style: Style::new() }
    }
}

impl Table {
    /// Without rows.
    pub fn new(columns: &[Column]) -> Self {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with one cell for each column.
    pub fn push<const N: usize>(&mut self, row: [Cell; N]) {
        self.rows.push(row.into());
    }

    /// The heading and a line for each row, none wider than `width`.
    pub fn lines(&self, width: Option<usize>) -> Vec<String> {
        let filled = |ix: &usize| self.rows.iter().any(|row| !row[*ix].text.is_empty());
        let columns = (0..self.columns.len()).filter(filled);
        let mut columns: Vec<_> = columns.map(|ix| (ix, self.width(ix))).collect();
        if let Some(width) = width {
            self.fit(&mut columns, width);
        }
        let heading =
            self.columns.iter().map(|column| Cell::painted(column.title.to_owned(), BOLD));
        let heading = heading.collect();
        let rows = std::iter::once(&heading).chain(&self.rows);
        rows.map(|row| self.line(row, &columns, width.unwrap_or(usize::MAX))).collect()
    }

    /// The widest cell of a column.
    fn width(&self, ix: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[ix].text.width());
        cells.max().unwrap_or(0).max(self.columns[ix].title.width())
    }

    /// Leaves out columns, and makes others narrower, until all fit or nothing more can be done.
    fn fit(&self, columns: &mut Vec<(usize, usize)>, room: usize) {
        let narrowest = |(ix, width): &(usize, usize)| match self.columns[*ix].may_be_cut {
            true => (*width).min(NARROW),
            false => *width,
        };
        while columns.iter().map(|column| narrowest(column) + GAP).sum::<usize>() > room + GAP {
            let spare = |at: &usize| self.columns[columns[*at].0].spare;
            match (0..columns.len()).filter(|at| spare(at) > 0).max_by_key(spare) {
                Some(at) => drop(columns.remove(at)),
                None => break,
            }
        }
        let total = columns.iter().map(|(_, width)| width + GAP).sum::<usize>();
        for _ in room + GAP..total {
            let wide = columns.iter_mut().filter(|column| narrowest(column) < column.1);
            match wide.max_by_key(|column| column.1) {
                Some((_, width)) => *width -= 1,
                None => break,
            }
        }
    }

    fn line(&self, row: &[Cell], columns: &[(usize, usize)], room: usize) -> String {
        let mut line = String::new();
        let mut used = 0;
        // Blanks are written only once something follows them.
        let mut blanks = 0;
        for (ix, width) in columns {
            let text = cut(&row[*ix].text, (*width).min(room.saturating_sub(used + blanks)));
            let missing = width.saturating_sub(text.width());
            if self.columns[*ix].is_number {
                blanks += missing;
            }
            if !text.is_empty() && used + blanks + text.width() <= room {
                line.extend(std::iter::repeat_n(' ', blanks));
                let style = row[*ix].style;
                line.push_str(&if style.is_plain() { text.clone() } else { painted(style, &text) });
                used += blanks + text.width();
                blanks = 0;
            } else {
                blanks += text.width();
            }
            blanks += GAP + if self.columns[*ix].is_number { 0 } else { missing };
        }
        line
    }
}

/// As much of a text as there is room for, in columns of a terminal.
pub fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut end = 0;
    for (start, c) in text.char_indices() {
        let next = start + c.len_utf8();
        // There must be room for the mark, too.
        if text[..next].width() >= room {
            break;
        }
        end = next;
    }
    if room == 0 { String::new() } else { format!("{}…", &text[..end]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            Column::new("NAME").cut(),
            Column::number("HELD"),
            Column::number("LEVEL").spare(2),
            Column::new("AGE").spare(1),
            Column::new("NOTE").cut(),
        ]);
        table.push(["A".into(), 3.into(), 0.into(), "1m 5s".into(), "".into()]);
        table.push([
            "a name that is rather long".into(),
            12_345.into(),
            (-1).into(),
            "".into(),
            "paused".into(),
        ]);
        table
    }

    fn plain(lines: Vec<String>) -> Vec<String> {
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn columns_stand_below_each_other() {
        let expected = [
            "NAME                         HELD  LEVEL  AGE    NOTE",
            "A                               3      0  1m 5s",
            "a name that is rather long  12345     -1         paused",
        ];
        assert_eq!(expected, *plain(table().lines(None)));
    }

    #[test]
    fn names_are_cut_before_columns_are_left_out() {
        let expected = [
            "NAME             HELD  LEVEL  AGE    NOTE",
            "A                   3      0  1m 5s",
            "a name that i…  12345     -1         paused",
        ];
        assert_eq!(expected, *plain(table().lines(Some(43))));
        let without_level = plain(table().lines(Some(37)));
        assert!(!without_level[0].contains("LEVEL"), "{without_level:?}");
        assert!(without_level[0].contains("AGE") && without_level[0].contains("NOTE"));
        assert!(!plain(table().lines(Some(30)))[0].contains("AGE"));
    }

    #[test]
    fn no_line_is_wider_than_there_is_room() {
        for width in 0..80 {
            for line in plain(table().lines(Some(width))) {
                assert!(line.width() <= width, "{width}: {line:?}");
                assert_eq!(line.trim_end(), line);
            }
        }
    }

    #[test]
    fn wide_letters_take_two_places() {
        assert_eq!("日本", cut("日本", 4));
        assert_eq!("日…", cut("日本語", 4));
        assert_eq!("日…", cut("日本", 3));
        assert_eq!("…", cut("日本", 2));
        assert_eq!("", cut("日本", 0));
        assert_eq!("abc", cut("abc", 3));
        assert_eq!("ab…", cut("abcd", 3));
    }

    #[test]
    fn column_with_nothing_in_it_is_left_out() {
        let mut table = Table::new(&[Column::new("A"), Column::new("B"), Column::new("C")]);
        table.push(["1".into(), "".into(), "2".into()]);

        assert_eq!(["A  C", "1  2"], *plain(table.lines(None)));
    }
}
