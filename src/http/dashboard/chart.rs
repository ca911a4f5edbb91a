//! Charts as SVG, made here: coloured by the style sheet, named for those who cannot see them.

use maud::{Markup, html};

/// The size of a chart's field, in units of its view.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 140.0;
const SPARK: (f64, f64) = (120.0, 24.0);

/// One line of a chart: its name, and its values from left to right.
pub(super) type Line = (&'static str, Vec<u64>);

/// A small line without axes. `name` says what it shows.
pub(super) fn sparkline(values: &[u64], name: &str) -> Markup {
    let (width, height) = SPARK;
    let most = values.iter().copied().max().unwrap_or(0);
    let sum: u64 = values.iter().sum();
    html! {
        svg.spark viewBox={ "0 0 " (width) " " (height) } role="img"
            aria-label={ (name) ": " (sum) ", at most " (most) " in ten minutes" } {
            polyline points=(points(values, most, SPARK)) {}
        }
    }
}

/// Lines over the same time, with the largest value and a legend. Only lines that are somewhere
/// above zero are drawn.
pub(super) fn lines(lines: &[Line], name: &str, left: &str, right: &str) -> Markup {
    let drawn: Vec<(usize, &Line)> =
        lines.iter().enumerate().filter(|(_, (_, values))| values.iter().any(|v| *v > 0)).collect();
    let most = drawn.iter().flat_map(|(_, (_, values))| values).copied().max().unwrap_or(0);
    let top = round_up(most);
    html! {
        figure.chart {
            figcaption { (name) }
            @if drawn.is_empty() {
                p.none { "Nothing yet." }
            } @else {
                svg viewBox={ "0 -8 " (WIDTH) " " (HEIGHT + 12.0) } role="img"
                    aria-label={ (name) ", from " (left) " to " (right) ", up to " (most) } {
                    @for part in 0..=2 {
                        @let y = HEIGHT * f64::from(part) / 2.0;
                        line.grid x1="0" x2=(WIDTH) y1=(y) y2=(y) {}
                        text.tick x="2" y=(y - 2.0) { (top - top * part as u64 / 2) }
                    }
                    @for (index, (_, values)) in &drawn {
                        polyline class={ "c" (index) }
                            points=(points(values, top, (WIDTH, HEIGHT))) {}
                    }
                }
                div.axis { span { (left) } span { (right) } }
                ul.legend {
                    @for (index, (name, values)) in &drawn {
                        li { span class={ "key c" (index) } {} (name) " "
                            b { (values.last().copied().unwrap_or(0)) } }
                    }
                }
            }
        }
    }
}

fn points(values: &[u64], most: u64, (width, height): (f64, f64)) -> String {
    let step = width / (values.len().max(2) - 1) as f64;
    let y = |value: u64| height - value as f64 / most.max(1) as f64 * (height - 2.0) - 1.0;
    let mut text: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(index, value)| format!("{:.1},{:.1}", index as f64 * step, y(*value)))
        .collect();
    // One value is a line all the same.
    if let [value] = values {
        text.push(format!("{width:.1},{:.1}", y(*value)));
    }
    text.join(" ")
}

/// The next 1, 2 or 5 times a power of ten, and even, so that its half is a number.
fn round_up(value: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for step in [2, 4, 10] {
            let top = power.saturating_mul(step);
            if top >= value {
                return top;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_says_what_it_shows() {
        let drawn = lines(&[("a", vec![0, 0]), ("b", vec![1, 3])], "Events", "9:00", "10:00");
        let text = drawn.into_string();
        assert!(text.contains("aria-label=\"Events, from 9:00 to 10:00, up to 3\""), "{text}");
        assert!(text.contains("class=\"c1\"") && !text.contains("class=\"c0\""), "{text}");
        assert!(lines(&[("a", vec![0])], "x", "", "").into_string().contains("Nothing yet"));
        assert_eq!(points(&[5], 5, (10.0, 4.0)), "0.0,1.0 10.0,1.0");
        assert_eq!(points(&[0, 5], 5, (10.0, 4.0)), "0.0,3.0 10.0,1.0");
        for (value, top) in
            [(0, 2), (2, 2), (3, 4), (5, 10), (11, 20), (41, 100), (u64::MAX, u64::MAX)]
        {
            assert_eq!(round_up(value), top, "{value}");
        }
    }
}
