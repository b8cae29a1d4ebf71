//! Tables for people.

/// Aligns columns to their widest cell. The first row is the heading; columns of numbers are told by their last cell.
pub(crate) fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let is_number = rows.last().and_then(|row| row.get(column)).is_some_and(|cell| is_number(cell));
            line.push_str(&if is_number { format!("  {cell:>width$}") } else { format!("  {cell:<width$}") });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn is_number(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stands_left_and_numbers_right() {
        let rows = [["plugin", "bytes", "taps"], ["seo", "9", "item-view"], ["x", "1024", ""]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(render(&rows), "  plugin  bytes  taps\n  seo         9  item-view\n  x        1024\n");
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(render(&[]), "");
    }
}
