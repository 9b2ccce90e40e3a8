//! One page with plots of one result or several: HTML that needs nothing else, no script, no font, no network.
//!
//! Invariant: whatever a label or a failure says is escaped; what marks a result as not to be trusted stands above all
//! figures. Nothing is measured here.

use std::fmt::Write;

use plotters::coord::ranged1d::Ranged;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::comparison::labels;
use crate::report::{Phase, Report};

const WIDTH: u32 = 760;
const HEIGHT: u32 = 340;

/// Colours that the colour-blind tell apart (Okabe and Ito, "Color Universal Design", 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--line:#d0d7de;--bad:#b42318}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--paper:#0d1117;--line:#3d444d;--bad:#ff7b72}}\
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1600px;margin:2rem auto;\
padding:0 1.5rem}h1{font-size:1.6rem}h2{font-size:1.1rem;margin:.2rem 0}p.note{color:var(--soft);margin:.2rem 0 .6rem}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(520px,1fr));gap:1.5rem;margin-top:1.5rem}\
figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:1rem}svg{width:100%;height:auto;background:#fff;\
border-radius:4px}table{border-collapse:collapse;font-variant-numeric:tabular-nums;width:100%}\
th,td{text-align:right;padding:.3rem .7rem;border-bottom:1px solid var(--line)}th:first-child,td:first-child\
{text-align:left}.mark{border-left:4px solid var(--bad);padding:.4rem 1rem;color:var(--bad);font-weight:600}\
.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}code{font-size:.85em}";

/// What makes a result not to be taken at its word.
pub(crate) fn marks(result: &Report) -> Vec<String> {
    let mut marks: Vec<String> = result.failure.iter().cloned().collect();
    for loss in &result.losses {
        marks.push(format!(
            "went on without {} connections to {}: {}",
            loss.connections, loss.target, loss.reason
        ));
    }
    let Some(phase) = &result.measured else { return marks };
    if let Some(open) = phase.open_loop {
        if open.short_of_rate {
            let share = 100.0 * phase.operations as f64 / open.due.max(1) as f64;
            marks.push(format!("short of its rate: {share:.1}% of what was due was answered in time"));
        }
        if open.sent_late * 100 > open.due {
            marks
                .push(format!("{} of {} requests were sent late by the generator", open.sent_late, open.due));
        }
    }
    marks
}

/// The page. `floor_us` is the processor time of the echo floor, to be drawn in.
pub(crate) fn page(results: &[Report], floor_us: Option<f64>) -> String {
    let measured: Vec<Plotted<'_>> = plotted(results);
    let mut body = String::new();
    let title = labels(results).join(" and ");
    let _ = write!(body, "<h1>{}</h1>", escaped(&title));
    for result in results {
        for mark in marks(result) {
            let _ = write!(body, "<p class=mark>{}: {}</p>", escaped(&result.label), escaped(&mark));
        }
    }
    body.push_str(&table(&measured));
    body.push_str("<div class=plots>");
    let kind = if results.iter().any(|result| result.load.rate_per_second.is_some()) {
        "from the moment a request was due"
    } else {
        "from send to reply, in a closed loop: a stall hides the requests that it held up"
    };
    figure(&mut body, "Latency by percentile", &format!("Microseconds, {kind}."), percentiles(&measured));
    figure(
        &mut body,
        "Latency over time",
        "The 99th percentile of each slice, microseconds.",
        over_time(&measured, |slice| slice.p99_us, true, None),
    );
    figure(
        &mut body,
        "Longest latency over time",
        "Of each slice, microseconds.",
        over_time(&measured, |slice| slice.max_us, true, None),
    );
    let rate = results.iter().find_map(|result| result.load.rate_per_second);
    figure(
        &mut body,
        "Throughput over time",
        "Operations a second; grey: what was due.",
        over_time(&measured, |slice| slice.operations_per_second, false, rate),
    );
    figure(
        &mut body,
        "Server CPU per operation",
        "Microseconds; grey: the floor of an echo server, if one was given.",
        processor(&measured, floor_us),
    );
    body.push_str("</div>");
    body.push_str(&settings(results));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>{}</title><style>{STYLE}</style><body>{body}</body></html>\n",
        escaped(&title)
    )
}

/// A result that has something to plot.
struct Plotted<'a> {
    name: String,
    colour: RGBColor,
    phase: &'a Phase,
}

fn plotted(results: &[Report]) -> Vec<Plotted<'_>> {
    let labels = labels(results);
    let mut plotted: Vec<Plotted<'_>> = Vec::new();
    for result in results {
        let Some(phase) = &result.measured else { continue };
        let place = labels.iter().position(|label| *label == result.label).unwrap_or(0);
        plotted.push(Plotted { name: result.label.clone(), colour: COLOURS[place % COLOURS.len()], phase });
    }
    plotted
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn figure(body: &mut String, title: &str, note: &str, plot: Option<String>) {
    let Some(plot) = plot else { return };
    let _ = write!(body, "<figure><h2>{title}</h2><p class=note>{note}</p>{plot}</figure>");
}

fn table(measured: &[Plotted<'_>]) -> String {
    let mut text = String::from(
        "<table><tr><th><th>operations/s<th>p50 us<th>p99 us<th>p99.9 us<th>p99.99 us<th>max us\
         <th>service p99.9 us<th>sent late<th>errors<th>server CPU us/op</tr>",
    );
    for Plotted { name, colour, phase } in measured {
        let latency = &phase.latency_us;
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let _ = write!(
            text,
            "<tr><td><span class=key style='background:rgb({},{},{})'></span>{}<td>{:.0}<td>{:.1}<td>{:.1}<td>{:.1}\
             <td>{:.1}<td>{:.1}<td>{}<td>{}<td>{}<td>{}</tr>",
            colour.0,
            colour.1,
            colour.2,
            escaped(name),
            phase.operations_per_second,
            latency.p50,
            latency.p99,
            latency.p99_9,
            latency.p99_99,
            latency.max,
            or_dash(phase.open_loop.map(|open| format!("{:.1}", open.service_us.p99_9))),
            or_dash(phase.open_loop.map(|open| open.sent_late.to_string())),
            phase.errors,
            or_dash(phase.server_cpu_us_per_operation.map(|cpu_us| format!("{cpu_us:.3}"))),
        );
    }
    text + "</table>"
}

fn settings(results: &[Report]) -> String {
    let mut text = String::from("<h2>What was asked for</h2><ul>");
    for result in results {
        let load = serde_json::to_string(&result.load).unwrap_or_default();
        let _ = write!(text, "<li>{}: <code>{}</code>", escaped(&result.label), escaped(&load));
    }
    text + "</ul>"
}

/// Draws into an SVG of its own; `None` if that fails or there is nothing to draw.
fn drawn<X, Y>(
    x: X,
    y: Y,
    x_label: &dyn Fn(&X::Value) -> String,
    draw: impl FnOnce(
        &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X::CoordDescType, Y::CoordDescType>>,
    ) -> Option<()>,
) -> Option<String>
where
    X: AsRangedCoord,
    Y: AsRangedCoord,
    X::CoordDescType: Ranged<ValueType = X::Value> + ValueFormatter<X::Value>,
    Y::CoordDescType: Ranged<ValueType = Y::Value> + ValueFormatter<Y::Value>,
{
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(32)
            .y_label_area_size(70)
            .build_cartesian_2d(x, y)
            .ok()?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(240, 240, 240))
            .bold_line_style(RGBColor(220, 220, 220))
            .x_label_formatter(x_label)
            .label_style(("sans-serif", 13))
            .draw()
            .ok()?;
        draw(&mut chart)?;
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 13))
            .draw()
            .ok()?;
        area.present().ok()?;
    }
    Some(svg)
}

/// Names the first curve of a label.
fn names(measured: &[Plotted<'_>]) -> Vec<Option<String>> {
    let first = |(index, plot): (usize, &Plotted<'_>)| {
        measured[..index].iter().all(|before| before.name != plot.name).then(|| plot.name.clone())
    };
    measured.iter().enumerate().map(first).collect()
}

/// Latency by percentile: each step to the right is one more nine.
fn percentiles(measured: &[Plotted<'_>]) -> Option<String> {
    let nines = |quantile: f64| -(1.0 - quantile).log10();
    let points = || measured.iter().flat_map(|plot| &plot.phase.percentiles_us);
    let right = points().map(|&(quantile, _)| nines(quantile)).fold(0.0, f64::max);
    let least = points().map(|&(_, us)| us).fold(f64::INFINITY, f64::min).max(0.1);
    let most = points().map(|&(_, us)| us).fold(0.0, f64::max);
    if right <= 0.0 || most <= least {
        return None;
    }
    let label = |nines: &f64| {
        let decimals = (nines.round() as usize).saturating_sub(2);
        format!("{:.decimals$}%", 100.0 * (1.0 - 10_f64.powf(-nines)))
    };
    let names = names(measured);
    drawn(0.0..right, (least * 0.9..most * 1.1).log_scale(), &label, |chart| {
        for (plot, name) in measured.iter().zip(names) {
            let curve = plot.phase.percentiles_us.iter().map(|&(quantile, us)| (nines(quantile), us));
            let series = chart.draw_series(LineSeries::new(curve, plot.colour.stroke_width(2))).ok()?;
            named(series, name, plot.colour);
        }
        Some(())
    })
}

fn named(
    series: &mut plotters::chart::SeriesAnno<'_, SVGBackend<'_>>,
    name: Option<String>,
    colour: RGBColor,
) {
    if let Some(name) = name {
        series
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
}

fn over_time(
    measured: &[Plotted<'_>],
    value: impl Fn(&crate::report::Slice) -> f64,
    logarithmic: bool,
    level: Option<f64>,
) -> Option<String> {
    let slices = || measured.iter().flat_map(|plot| &plot.phase.series);
    let right = slices().map(|slice| slice.at_ms / 1e3).fold(0.0, f64::max);
    let most = slices().map(&value).chain(level).fold(0.0, f64::max);
    let least = slices().map(&value).filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    if right <= 0.0 || most <= 0.0 {
        return None;
    }
    let names = names(measured);
    let label = |seconds: &f64| format!("{seconds} s");
    let curves = measured.iter().zip(names).map(|(plot, name)| {
        let points: Vec<(f64, f64)> =
            plot.phase.series.iter().map(|slice| (slice.at_ms / 1e3, value(slice))).collect();
        (plot.colour, name, points)
    });
    let curves: Vec<_> = curves.collect();
    if logarithmic {
        drawn(0.0..right, (least * 0.9..most * 1.1).log_scale(), &label, |chart| {
            for (colour, name, points) in curves {
                let series = chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).ok()?;
                named(series, name, colour);
            }
            Some(())
        })
    } else {
        drawn(0.0..right, 0.0..most * 1.1, &label, |chart| {
            if let Some(level) = level {
                let line = [(0.0, level), (right, level)];
                let grey = RGBColor(140, 140, 140);
                chart.draw_series(LineSeries::new(line, grey.stroke_width(1))).ok()?;
            }
            for (colour, name, points) in curves {
                let series = chart.draw_series(LineSeries::new(points, colour.stroke_width(2))).ok()?;
                named(series, name, colour);
            }
            Some(())
        })
    }
}

/// A bar for each result, and the floor as a line.
fn processor(measured: &[Plotted<'_>], floor_us: Option<f64>) -> Option<String> {
    let bars: Vec<(RGBColor, String, f64)> = measured
        .iter()
        .filter_map(|plot| Some((plot.colour, plot.name.clone(), plot.phase.server_cpu_us_per_operation?)))
        .collect();
    let most = bars.iter().map(|(.., cpu_us)| *cpu_us).chain(floor_us).fold(0.0, f64::max);
    if bars.is_empty() || most <= 0.0 {
        return None;
    }
    let right = bars.len() as f64;
    let named_bar = |place: &f64| {
        let whole = (place - 0.5).round();
        let at = if (place - 0.5 - whole).abs() < 0.01 && whole >= 0.0 { whole as usize } else { usize::MAX };
        bars.get(at).map_or(String::new(), |(_, name, cpu_us)| format!("{name}: {cpu_us:.2}"))
    };
    drawn(0.0..right, 0.0..most * 1.15, &named_bar, |chart| {
        let bar = |(index, (colour, _, cpu_us)): (usize, &(RGBColor, String, f64))| {
            let left = index as f64;
            Rectangle::new([(left + 0.2, 0.0), (left + 0.8, *cpu_us)], colour.filled())
        };
        chart.draw_series(bars.iter().enumerate().map(bar)).ok()?;
        if let Some(floor_us) = floor_us {
            let grey = RGBColor(110, 110, 110);
            let line = [(0.0, floor_us), (right, floor_us)];
            chart.draw_series(LineSeries::new(line, grey.stroke_width(2))).ok()?;
        }
        Some(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_needs_nothing_from_outside_and_escapes_what_it_is_told() {
        let text = include_str!("page_example.json");
        let mut result: Report = serde_json::from_str(text).expect("an example");
        result.label = "<script>alert('x')</script>".to_owned();
        result.failure = Some("died \"half-way\" & more".to_owned());
        let page = page(&[result], Some(1.0));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        assert!(page.contains("died &quot;half-way&quot; &amp; more"));
        for outside in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<figure>").count(), 5, "every plot is there");
    }
}
