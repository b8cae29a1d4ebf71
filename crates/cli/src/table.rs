//! Tables for people.

use std::fmt::Write;

/// Columns under their names, as wide as they need to be.
pub(crate) fn render<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let mut row = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            // Writing into a string does not fail.
            let _ = write!(row, "{cell:width$}  ");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    };
    line(head);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
    text
}

/// A size for people.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns() {
        let rows = [["a".to_owned(), "1".to_owned()], ["längere".to_owned(), "22".to_owned()]];
        assert_eq!(super::render(["name", "n"], &rows), "name     n\na        1\nlängere  22\n");
    }

    #[test]
    fn sizes() {
        assert_eq!([10, 1536, 3 << 20].map(super::size), ["10 B", "1.5 KiB", "3.0 MiB"]);
    }
}
