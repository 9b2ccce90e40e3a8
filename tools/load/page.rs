//! One page with plots of one result or several: HTML that needs nothing else, no script, no font, no network.
//!
//! Invariant: whatever a label or a failure says is escaped; what marks a result as not to be trusted stands above all
//! figures. Nothing is measured here.

mod plots;

use std::fmt::Write;

use crate::comparison::labels;
use crate::report::{Part, Report};

use plots::{Plotted, over_time, percentiles, plotted, processor, searches};

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
.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}\
code{font-size:.85em;overflow-wrap:anywhere}";

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
    let measured = plotted(results);
    let mut body = String::new();
    let title = labels(results).join(" and ");
    let _ = write!(body, "<h1>{}</h1>", escaped(&title));
    for result in results {
        for mark in marks(result) {
            let _ = write!(body, "<p class=mark>{}: {}</p>", escaped(&result.label), escaped(&mark));
        }
    }
    body.push_str(&table(&measured));
    for result in results {
        let found = result.search.as_ref().and_then(|search| search.found_per_second);
        if let Some(rate) = found {
            let label = escaped(&result.label);
            let _ = write!(body, "<p>{label}: the objective was met up to <b>{rate:.0} a second</b>.</p>");
        }
    }
    body.push_str("<div class=plots>");
    figure(
        &mut body,
        "Search for the highest rate",
        "Microseconds by rate; filled: the objective was met, hollow: it was missed; lines: its bounds.",
        searches(results),
    );
    let kind = if results.iter().any(|result| result.load.arrivals.is_some()) {
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
    let rate = results
        .iter()
        .find_map(|result| result.load.rate_per_second.or(result.search.as_ref()?.found_per_second));
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
    body.push_str(&parts(&measured));
    body.push_str(&settings(results));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>{}</title><style>{STYLE}</style><body>{body}</body></html>\n",
        escaped(&title)
    )
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

/// What the operations and the targets of each result had of it, and the probe beside it.
fn parts(measured: &[Plotted<'_>]) -> String {
    let mut text = String::from(
        "<h2>By operation, target and probe</h2><table><tr><th><th>operations<th>operations/s<th>p50 us<th>p99 us\
         <th>p99.9 us<th>p99.99 us<th>max us<th>misses<th>errors</tr>",
    );
    for Plotted { name, phase, .. } in measured {
        let probe = phase.probe.iter().map(|probe| Part {
            name: "probe".to_owned(),
            operations: probe.operations,
            hits: 0,
            misses: 0,
            stored: 0,
            errors: probe.errors,
            operations_per_second: probe.operations as f64 / (phase.duration_ms / 1e3).max(1e-9),
            latency_us: probe.latency_us,
        });
        for part in phase.by_operation.iter().chain(&phase.by_target).cloned().chain(probe) {
            let latency = &part.latency_us;
            let _ = write!(
                text,
                "<tr><td>{}: {}<td>{}<td>{:.0}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>{}<td>{}</tr>",
                escaped(name),
                escaped(&part.name),
                part.operations,
                part.operations_per_second,
                latency.p50,
                latency.p99,
                latency.p99_9,
                latency.p99_99,
                latency.max,
                part.misses,
                part.errors
            );
        }
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
        assert_eq!(page.matches("<figure>").count(), 6, "every plot is there");
        assert!(page.contains("met up to <b>20000 a second"));
        assert!(page.contains(": rmw<td>79<") && page.contains(": probe<td>40<"));
    }
}
