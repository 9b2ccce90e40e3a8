//! The plots of a page, each an SVG of its own.
//!
//! Invariant: a plot that has nothing to show is left out, and one curve of each label is named. It writes no HTML.

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::comparison::labels;
use crate::report::{Phase, Report, SearchReport, Slice, Step, Verdict};

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

/// A result that has something to plot.
pub(super) struct Plotted<'a> {
    pub(super) name: String,
    pub(super) colour: RGBColor,
    pub(super) phase: &'a Phase,
}

pub(super) fn plotted(results: &[Report]) -> Vec<Plotted<'_>> {
    let labels = labels(results);
    let mut plotted: Vec<Plotted<'_>> = Vec::new();
    for result in results {
        let Some(phase) = &result.measured else { continue };
        let place = labels.iter().position(|label| *label == result.label).unwrap_or(0);
        plotted.push(Plotted { name: result.label.clone(), colour: COLOURS[place % COLOURS.len()], phase });
    }
    plotted
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
pub(super) fn percentiles(measured: &[Plotted<'_>]) -> Option<String> {
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

pub(super) fn over_time(
    measured: &[Plotted<'_>],
    value: impl Fn(&Slice) -> f64,
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
pub(super) fn processor(measured: &[Plotted<'_>], floor_us: Option<f64>) -> Option<String> {
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

/// The latency of a step that a bound is about.
fn bounded(step: &Step, percentile: &str) -> f64 {
    match percentile {
        "p50" => step.latency_us.p50,
        "p99" => step.latency_us.p99,
        _ => step.latency_us.p99_9,
    }
}

/// Every step of every search, latency by rate, a colour for each bound.
pub(super) fn searches(results: &[Report]) -> Option<String> {
    let searches: Vec<&SearchReport> = results.iter().filter_map(|result| result.search.as_ref()).collect();
    let mut points: Vec<(RGBColor, f64, f64, bool)> = Vec::new();
    let mut lines: Vec<(RGBColor, String, f64)> = Vec::new();
    for search in &searches {
        for (bound, colour) in search.bounds.iter().zip(COLOURS) {
            let named = format!("{} within {} us", bound.percentile, bound.latency_us);
            if lines.iter().all(|(_, line, _)| *line != named) {
                lines.push((colour, named, bound.latency_us));
            }
            points.extend(search.steps.iter().map(|step| {
                (
                    colour,
                    step.rate_per_second,
                    bounded(step, &bound.percentile).max(0.1),
                    step.verdict == Verdict::Met,
                )
            }));
        }
    }
    let latencies = || points.iter().map(|point| point.2).chain(lines.iter().map(|line| line.2));
    let (least, most) = (latencies().fold(f64::INFINITY, f64::min), latencies().fold(0.0, f64::max));
    let left = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min) * 0.8;
    let right = points.iter().map(|point| point.1).fold(0.0, f64::max) * 1.25;
    if points.is_empty() || least <= 0.0 {
        return None;
    }
    let label = |rate: &f64| format!("{rate:.0}/s");
    drawn((left..right).log_scale(), (least * 0.8..most * 1.25).log_scale(), &label, |chart| {
        for (colour, name, bound_us) in lines {
            let line = [(left, bound_us), (right, bound_us)];
            let series = chart.draw_series(LineSeries::new(line, colour.stroke_width(1))).ok()?;
            named(series, Some(name), colour);
        }
        let point = |(colour, rate, us, is_met): (RGBColor, f64, f64, bool)| {
            let style = if is_met { colour.filled() } else { colour.stroke_width(2) };
            Circle::new((rate, us), 5, style)
        };
        chart.draw_series(points.into_iter().map(point)).ok()?;
        Some(())
    })
}
