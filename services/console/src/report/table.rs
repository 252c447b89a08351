//! Columns.

use alloc::string::String;
use alloc::vec::Vec;

/// A table with a heading; columns are as wide as their widest cell.
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with these headings.
    #[must_use]
    pub fn new(headings: [&str; N]) -> Self {
        Self { rows: alloc::vec![headings.map(String::from)] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Appends it as lines.
    pub fn print(&self, out: &mut String) {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &self.rows {
            let start = out.len();
            for (width, cell) in widths.iter().zip(row) {
                out.push_str(cell);
                let gap = width + 2 - cell.chars().count();
                out.extend(core::iter::repeat_n(' ', gap));
            }
            out.truncate(start + out.get(start..).unwrap_or_default().trim_end().len());
            out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_blanks_at_the_end() {
        let mut table = Table::new(["name", "n"]);
        table.row(["longer name".into(), "7".into()]);
        let mut out = String::new();
        table.print(&mut out);
        assert_eq!(out, "name         n\nlonger name  7\n");
    }
}
