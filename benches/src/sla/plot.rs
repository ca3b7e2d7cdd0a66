//! A chart as SVG: two axes, marks, bands, a legend. Just what the bench's pictures need.
//!
//! Invariant: whatever the values, the text is well-formed: numbers are finite, inside the frame, and words are escaped.

use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 215.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 56.0;

/// One of the two directions.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    /// What it shows, with its unit.
    pub(crate) title: String,
    /// What stands at its beginning and at its end.
    pub(crate) range: (f64, f64),
    /// Where lines are drawn, with the words beside them; an empty word draws a faint line.
    pub(crate) ticks: Vec<(f64, String)>,
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Style {
    /// A line of this width.
    Line(f64),
    /// A dashed one.
    Dashed(f64),
    /// Dots of this radius.
    Dots(f64),
}

/// Points of one thing.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// What it is called.
    pub(crate) name: String,
    /// `#rrggbb`.
    pub(crate) colour: &'static str,
    pub(crate) style: Style,
    pub(crate) points: Vec<(f64, f64)>,
    /// Where on the horizontal axis something lies beyond the top.
    pub(crate) beyond: Vec<f64>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Shaded from one place to another on the horizontal axis.
    pub(crate) bands: Vec<(f64, f64)>,
    /// What the bands are.
    pub(crate) band_name: String,
    pub(crate) series: Vec<Series>,
}

impl Axis {
    /// Times in milliseconds on a scale of powers of ten that holds all of `values`: give the chart their logarithms.
    pub(crate) fn times(title: &str, values: impl Iterator<Item = f64>) -> Self {
        let logs = values.filter(|ms| *ms > 0.0).map(f64::log10);
        let (least, most) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), log| (a.min(log), b.max(log)));
        let (least, most) = if least.is_finite() { (least, most) } else { (0.0, 1.0) };
        // At least one decade, beginning and ending at 1, 2 or 5 times a power of ten.
        let steps: Vec<f64> =
            (-4..=7).flat_map(|decade| [1.0_f64, 2.0, 5.0].map(|digit| digit.log10() + f64::from(decade))).collect();
        let from = steps.iter().copied().rfind(|step| *step <= least + 1e-9).unwrap_or(-4.0);
        let to = steps.iter().copied().find(|step| *step >= most.max(from + 1.0) - 1e-9).unwrap_or(8.0);
        let inside = steps.into_iter().filter(|step| *step >= from && *step <= to);
        Self { title: title.to_owned(), range: (from, to), ticks: inside.map(|log| (log, time(log))).collect() }
    }
}

/// `20 ms`, `5 s`.
fn time(log_ms: f64) -> String {
    let ms = 10_f64.powf(log_ms);
    if ms < 999.0 { format!("{} ms", rounded(ms)) } else { format!("{} s", rounded(ms / 1e3)) }
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

impl Chart {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#222222\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
        );
        self.text(&mut out, LEFT, TOP - 20.0, "start", "font-size=\"15\" font-weight=\"bold\"", &self.title);
        for (from, to) in &self.bands {
            let (from, to) = (self.x(*from), self.x(*to));
            // Writing to a String does not fail, here and below.
            let _ = writeln!(
                out,
                "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#e4e4ea\"/>",
                to - from,
                HEIGHT - TOP - BOTTOM
            );
        }
        self.axes(&mut out);
        self.series.iter().for_each(|series| self.draw(&mut out, series));
        self.legend(&mut out);
        out.push_str("</svg>\n");
        out
    }

    /// From a value to its place; values outside stand at the edge.
    fn x(&self, value: f64) -> f64 {
        LEFT + share(value, self.x.range) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - share(value, self.y.range) * (HEIGHT - TOP - BOTTOM)
    }

    fn text(&self, out: &mut String, x: f64, y: f64, anchor: &str, more: &str, words: &str) {
        let words = escaped(words);
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {more}>{words}</text>");
    }

    fn axes(&self, out: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut line = |x1: f64, y1: f64, x2: f64, y2: f64, colour: &str| {
            let _ = writeln!(
                out,
                "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
            );
        };
        for (value, _) in &self.x.ticks {
            line(self.x(*value), TOP, self.x(*value), bottom, "#dddddd");
        }
        for (value, _) in &self.y.ticks {
            line(LEFT, self.y(*value), right, self.y(*value), "#dddddd");
        }
        line(LEFT, bottom, right, bottom, "#222222");
        line(LEFT, TOP, LEFT, bottom, "#222222");
        for (value, words) in &self.x.ticks {
            self.text(out, self.x(*value), bottom + 18.0, "middle", "", words);
        }
        for (value, words) in &self.y.ticks {
            self.text(out, LEFT - 8.0, self.y(*value) + 4.0, "end", "", words);
        }
        self.text(out, f64::midpoint(LEFT, right), HEIGHT - 14.0, "middle", "", &self.x.title);
        let (x, y) = (16.0, f64::midpoint(TOP, bottom));
        self.text(out, x, y, "middle", &format!("transform=\"rotate(-90 {x} {y})\""), &self.y.title);
    }

    fn draw(&self, out: &mut String, series: &Series) {
        let colour = series.colour;
        match series.style {
            Style::Line(width) | Style::Dashed(width) => {
                let dash = if matches!(series.style, Style::Dashed(_)) { " stroke-dasharray=\"6 4\"" } else { "" };
                let points: Vec<String> =
                    series.points.iter().map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y))).collect();
                let _ = writeln!(
                    out,
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
                     stroke-linejoin=\"round\"{dash}/>",
                    points.join(" ")
                );
            }
            Style::Dots(radius) => {
                let _ = writeln!(out, "<g fill=\"{colour}\">");
                for (x, y) in &series.points {
                    let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius}\"/>", self.x(*x), self.y(*y));
                }
                out.push_str("</g>\n");
            }
        }
        for x in &series.beyond {
            self.text(out, self.x(*x), TOP + 4.0, "middle", &format!("fill=\"{colour}\""), "×");
        }
    }

    fn legend(&self, out: &mut String) {
        let left = WIDTH - RIGHT + 14.0;
        let mut y = TOP + 8.0;
        for series in &self.series {
            let sample = Series { points: Vec::new(), beyond: Vec::new(), ..series.clone() };
            let (colour, middle) = (sample.colour, left + 12.0);
            let _ = match sample.style {
                Style::Dots(radius) => {
                    writeln!(out, "<circle cx=\"{middle}\" cy=\"{y}\" r=\"{}\" fill=\"{colour}\"/>", radius + 1.0)
                }
                Style::Line(width) | Style::Dashed(width) => {
                    let dash = if matches!(sample.style, Style::Dashed(_)) { " stroke-dasharray=\"6 4\"" } else { "" };
                    writeln!(
                        out,
                        "<line x1=\"{left}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"{width}\"{dash}/>",
                        left + 24.0
                    )
                }
            };
            self.text(out, left + 30.0, y + 4.0, "start", "", &series.name);
            y += 20.0;
        }
        if !self.bands.is_empty() {
            let _ = writeln!(out, "<rect x=\"{left}\" y=\"{}\" width=\"24\" height=\"12\" fill=\"#e4e4ea\"/>", y - 6.0);
            self.text(out, left + 30.0, y + 4.0, "start", "", &self.band_name);
        }
    }
}

/// Where in `range` a value is, from 0 to 1.
fn share(value: f64, (from, to): (f64, f64)) -> f64 {
    let share = (value - from) / (to - from);
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        let series =
            Series { name: "a & <b>".into(), colour: "#123456", style: Style::Dots(2.0), points, beyond: vec![5.0] };
        let line = Series { style: Style::Dashed(1.5), ..series.clone() };
        Chart {
            title: "\"t\"".into(),
            x: Axis { title: "x".into(), range: (0.0, 10.0), ticks: vec![(0.0, "0".into()), (10.0, "10".into())] },
            y: Axis::times("y", [30.0, 2_500.0].into_iter()),
            bands: vec![(2.0, 4.0)],
            band_name: "dark".into(),
            series: vec![series, line],
        }
    }

    #[test]
    fn axes_of_times_hold_their_values_between_round_ones() {
        let axis = Axis::times("y", [30.0, 2_500.0].into_iter());
        let words: Vec<&str> = axis.ticks.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(words, ["20 ms", "50 ms", "100 ms", "200 ms", "500 ms", "1 s", "2 s", "5 s"]);
        let narrow = Axis::times("y", std::iter::once(0.3));
        assert_eq!((narrow.ticks[0].1.as_str(), narrow.ticks.last().unwrap().1.as_str()), ("0.2 ms", "2 ms"));
        assert_eq!(Axis::times("y", std::iter::empty()).range, (0.0, 1.0));
        assert!(Axis::times("y", [f64::MAX, 1.0].into_iter()).range.1.is_finite());
    }

    #[test]
    fn values_stand_where_the_axes_say() {
        let chart = chart(vec![]);
        assert_eq!((chart.x(0.0), chart.x(10.0), chart.x(99.0)), (LEFT, WIDTH - RIGHT, WIDTH - RIGHT));
        let middle = f64::midpoint(chart.y.range.0, chart.y.range.1);
        assert!((chart.y(middle) - f64::midpoint(TOP, HEIGHT - BOTTOM)).abs() < 0.01);
        assert_eq!(chart.y(f64::NAN), HEIGHT - BOTTOM);
    }

    #[test]
    fn a_picture_is_well_formed() {
        let svg = chart(vec![(1.0, 2.0), (f64::INFINITY, f64::NAN)]).svg();
        for part in [
            "a &amp; &lt;b&gt;",
            "&quot;t&quot;",
            "<circle cx=",
            "<polyline points=",
            "stroke-dasharray",
            ">×<",
            ">dark<",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let opened = svg.matches("<g ").count() + svg.matches("<svg ").count();
        assert_eq!(svg.matches("</g>").count() + svg.matches("</svg>").count(), opened);
    }
}
