//! Charts as SVG.

use anyhow::Result;
use plotters::prelude::*;

const FONT: &str = "sans-serif";
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(213, 94, 0),
    RGBColor(110, 110, 110),
];

/// A line with its name.
pub type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// Lines over two logarithmic axes.
///
/// # Errors
///
/// The drawing fails.
pub fn lines(title: &str, axes: [&str; 2], lines: &[Line<'_>]) -> Result<String> {
    let all = || lines.iter().flat_map(|(_, points)| points);
    let range = |value: fn(&(f64, f64)) -> f64| {
        let low = all().map(value).fold(f64::INFINITY, f64::min);
        let high = all().map(value).fold(0.0, f64::max);
        (low * 0.8..high * 1.3).log_scale()
    };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (800, 460)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(range(|point| point.0), range(|point| point.1))?;
        chart.configure_mesh().x_desc(axes[0]).y_desc(axes[1]).light_line_style(WHITE).draw()?;
        for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let colour = *colour;
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
        let labels = SeriesLabelPosition::UpperLeft;
        chart.configure_series_labels().position(labels).background_style(WHITE).border_style(BLACK).draw()?;
        area.present()?;
    }
    Ok(svg)
}

/// Parts of bars, with the same names in each bar.
pub type Bar<'a> = (&'a str, Vec<f64>);

/// Bars that lie on their sides, each in parts.
///
/// # Errors
///
/// The drawing fails.
pub fn bars(title: &str, axis: &str, parts: &[&str], bars: &[Bar<'_>]) -> Result<String> {
    let longest = bars.iter().map(|(_, values)| values.iter().sum::<f64>()).fold(0.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (800, 90 + 60 * bars.len() as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(12)
            .build_cartesian_2d(0.0..longest * 1.3, 0.0..bars.len() as f64)?;
        chart.configure_mesh().x_desc(axis).disable_y_mesh().disable_y_axis().light_line_style(WHITE).draw()?;
        for (part, (name, colour)) in parts.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let colour = *colour;
            let boxes = bars.iter().enumerate().map(|(row, (_, values))| {
                let start: f64 = values.iter().take(part).sum();
                let end = start + values.get(part).copied().unwrap_or_default();
                let top = (bars.len() - row) as f64;
                Rectangle::new([(start, top - 0.35), (end, top - 0.85)], colour.filled())
            });
            chart
                .draw_series(boxes)?
                .label(*name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
        }
        let names = bars.iter().enumerate().map(|(row, (name, values))| {
            let text = format!("{name}: {:.1}", values.iter().sum::<f64>());
            Text::new(text, (longest * 0.005, (bars.len() - row) as f64 - 0.05), (FONT, 14).into_font())
        });
        chart.draw_series(names)?;
        let labels = SeriesLabelPosition::UpperRight;
        chart.configure_series_labels().position(labels).background_style(WHITE).border_style(BLACK).draw()?;
        area.present()?;
    }
    Ok(svg)
}

/// A cell of a map: column, row, value.
pub type Cell = (usize, usize, f64);

/// A map of ratios: blue above 1, orange below, and the ratio in each cell.
///
/// # Errors
///
/// The drawing fails.
pub fn heat_map(title: &str, axes: [&str; 2], cells: &[Cell]) -> Result<String> {
    let columns = cells.iter().map(|cell| cell.0).max().unwrap_or_default();
    let rows = cells.iter().map(|cell| cell.1).max().unwrap_or_default();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (800, 460)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, (FONT, 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(54)
            .build_cartesian_2d(0.5..columns as f64 + 0.5, -0.5..rows as f64 + 0.5)?;
        let whole = |value: &f64| format!("{value:.0}");
        chart
            .configure_mesh()
            .disable_mesh()
            .x_labels(columns + 1)
            .y_labels(rows + 1)
            .x_label_formatter(&whole)
            .y_label_formatter(&whole)
            .x_desc(axes[0])
            .y_desc(axes[1])
            .draw()?;
        let place = |cell: &Cell| (cell.0 as f64, cell.1 as f64);
        chart.draw_series(cells.iter().map(|cell| {
            let (x, y) = place(cell);
            Rectangle::new([(x - 0.5, y - 0.5), (x + 0.5, y + 0.5)], colour(cell.2).filled())
        }))?;
        chart.draw_series(cells.iter().map(|cell| {
            let (x, y) = place(cell);
            let text = if cell.2 < 9.95 { format!("{:.1}", cell.2) } else { format!("{:.0}", cell.2) };
            Text::new(text, (x - 0.25, y + 0.2), (FONT, 13).into_font())
        }))?;
        area.present()?;
    }
    Ok(svg)
}

/// White where both are equal, full at ten times.
fn colour(ratio: f64) -> RGBColor {
    let strength = ratio.log10().clamp(-1.0, 1.0);
    let full = if strength >= 0.0 { (86, 150, 213) } else { (230, 159, 0) };
    let mixed = |channel: u8| 255 - (f64::from(255 - channel) * strength.abs().sqrt()) as u8;
    RGBColor(mixed(full.0), mixed(full.1), mixed(full.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_show_their_names_and_numbers() {
        let svg = lines("Own time", ["KB", "µs"], &[("lazy", vec![(2.4, 2.0), (100.0, 9.0)])]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in ["Own time", "lazy", "KB"] {
            assert!(svg.contains(text), "{text}");
        }
        let svg = bars("Stages", "µs", &["call", "drop"], &[("full", vec![3.0, 1.5])]).unwrap();
        assert!(svg.contains("full: 4.5") && svg.contains("drop"), "{svg}");
        let svg = heat_map("Map", ["read", "written"], &[(1, 0, 2.04), (2, 1, 0.5), (3, 1, 99.6)]).unwrap();
        for text in ["2.0", "0.5", "100"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn equal_is_white_and_the_sides_differ() {
        assert_eq!(colour(1.0), RGBColor(255, 255, 255));
        assert_eq!(colour(10.0), colour(1000.0));
        assert_ne!(colour(2.0), colour(0.5));
    }
}
