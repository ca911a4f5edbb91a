//! The figures at each size as a picture, for `docs/performance.md`.

use std::fmt::Write;

/// What was measured at a size.
pub(crate) struct Point {
    pub(crate) size: u64,
    /// In the order of [`PANELS`].
    pub(crate) values: [f64; 3],
}

/// What the panels show, and the goals at up to a million suppressions, and above.
const PANELS: [(&str, [f64; 2]); 3] = [
    ("applied, of the bare group commit", [0.4, 0.25]),
    ("resident memory, MiB", [160.0, 512.0]),
    ("bytes of the state directory an event", [600.0, 600.0]),
];
const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 180.0;
const MARGIN: f64 = 46.0;

/// A picture of the points: a panel for each figure, with its goal as a line.
pub(crate) fn svg(points: &[Point]) -> String {
    let (width, height) = (3.0 * (WIDTH + MARGIN) + MARGIN, HEIGHT + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (panel, (title, goals)) in PANELS.iter().enumerate() {
        let left = MARGIN + panel as f64 * (WIDTH + MARGIN);
        let values = points.iter().map(|point| point.values[panel]);
        let top = values.chain(*goals).fold(0.0, f64::max) * 1.15;
        let (low, high) = (log(points.first()), log(points.last()));
        let x = |size: f64| left + WIDTH * (size - low) / (high - low).max(0.01);
        let y = |value: f64| MARGIN + HEIGHT * (1.0 - value / top);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "<text x=\"{left}\" y=\"{}\">{title}</text>", MARGIN - 14.0);
        let _ = writeln!(
            out,
            "<path d=\"M{left} {MARGIN}v{HEIGHT}h{WIDTH}\" fill=\"none\" stroke=\"#888\"/>"
        );
        let (mut line, mut goal) = (String::new(), String::new());
        for point in points {
            let (at, value) = (x(log(Some(point))), point.values[panel]);
            let _ = write!(line, "{at:.1},{:.1} ", y(value));
            let _ = write!(goal, "{at:.1},{:.1} ", y(goals[usize::from(point.size > 1_000_000)]));
            let _ = writeln!(
                out,
                "<circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                y(value),
                y(value) - 8.0,
                short(value),
                MARGIN + HEIGHT + 16.0,
                short(point.size as f64)
            );
        }
        let _ = writeln!(
            out,
            "<polyline points=\"{goal}\" fill=\"none\" stroke=\"#c33\" stroke-dasharray=\"4\"/>\n\
             <polyline points=\"{line}\" fill=\"none\" stroke=\"#246\"/>"
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{MARGIN}\" y=\"{}\">by suppressions; dashed: the goal</text>\n</svg>",
        height - 8.0
    );
    out
}

fn log(point: Option<&Point>) -> f64 {
    point.map_or(0.0, |point| (point.size as f64).log10())
}

fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e4 => format!("{} k", value / 1e3),
        value if value >= 10.0 => format!("{value:.0}"),
        value => format!("{value:.2}"),
    }
}
