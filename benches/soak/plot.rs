//! What was sampled as a picture, for `docs/performance.md`.

use std::fmt::Write;

/// What was measured at an instant.
pub(crate) struct Sample {
    pub(crate) minutes: f64,
    /// In the order of [`PANELS`].
    pub(crate) values: [f64; 5],
}

pub(crate) const PANELS: [&str; 5] = [
    "resident memory, MiB",
    "state directory, MiB",
    "open files",
    "answer p99, ms",
    "behind the journal, MiB",
];
const WIDTH: f64 = 700.0;
const HEIGHT: f64 = 90.0;
const MARGIN: f64 = 30.0;

/// A picture of the samples: a panel for each figure, one below the other.
pub(crate) fn svg(samples: &[Sample]) -> String {
    let (width, height) = (WIDTH + 2.0 * MARGIN, PANELS.len() as f64 * (HEIGHT + MARGIN) + MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let end = samples.last().map_or(1.0, |sample| sample.minutes);
    for (panel, title) in PANELS.iter().enumerate() {
        let base = (panel + 1) as f64 * (HEIGHT + MARGIN);
        let values = samples.iter().map(|sample| sample.values[panel]);
        let most = values.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let mut line = String::new();
        for Sample { minutes, values } in samples {
            let (x, y) = (MARGIN + WIDTH * minutes / end, base - HEIGHT * values[panel] / most);
            // Writing to a string cannot fail.
            let _ = write!(line, "{x:.1},{y:.1} ");
        }
        let _ = writeln!(
            out,
            "<text x=\"{MARGIN}\" y=\"{:.0}\">{title}: at most {most:.1}</text>\n\
             <path d=\"M{MARGIN} {:.0}V{base}h{WIDTH}\" fill=\"none\" stroke=\"#888\"/>\n\
             <polyline points=\"{line}\" fill=\"none\" stroke=\"#246\"/>",
            base - HEIGHT - 6.0,
            base - HEIGHT
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{MARGIN}\" y=\"{}\">{end:.0} minutes</text>\n</svg>",
        height - 8.0
    );
    out
}
