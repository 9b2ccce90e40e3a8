//! A run: which stages there are, in what order, and what becomes of their figures.
//!
//! Invariant: the report is there whatever failed, and says why; a stage that failed is the last. What a stage does is
//! the crew's business, and which rate is tried next the search's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cores::can_pin;
use crate::crew::{Crew, Failure, Order, Staged};
use crate::dialect::Dialect;
use crate::inserts::Inserts;
use crate::mix::Mix;
use crate::plan::{Plan, Shared};
use crate::report::{Bound, Phase, Report, SearchReport, Step};
use crate::search::Search;
use crate::settings::{SearchSettings, Settings, Until};
use crate::stop::Stop;
use crate::watch::Watch;

/// Runs all stages that `settings` ask for. The report is there even if they failed.
pub(crate) fn run<D: Dialect>(
    settings: &Settings,
    dialect: &D,
    stop: &Stop,
    watch: &mut Watch<'_>,
) -> Report {
    let mut report = Report {
        label: settings.label.clone(),
        load: settings.load.clone(),
        preload: None,
        measured: None,
        search: None,
        losses: Vec::new(),
        interrupted: false,
        failure: None,
    };
    let shared = Shared { inserts: Inserts::from(settings.load.keys), budget: AtomicU64::new(0) };
    let gets = Mix::gets();
    let mut run = Run { settings, shared: &shared, watch, report: &mut report };
    let crew = can_pin(&settings.pins)
        .map_err(Failure::from)
        .and_then(|()| Crew::connect(settings, dialect, &shared, &gets, stop));
    let outcome = crew.and_then(|mut crew| {
        let outcome = run.stages(&mut crew);
        run.report.losses = crew.losses();
        outcome
    });
    report.interrupted = stop.is_interrupted();
    report.failure = outcome.err().map(|failure| failure.to_string());
    report
}

struct Run<'a, 'w> {
    settings: &'a Settings,
    shared: &'a Shared,
    watch: &'a mut Watch<'w>,
    report: &'a mut Report,
}

impl Run<'_, '_> {
    fn stages<D: Dialect>(&mut self, crew: &mut Crew<'_, D>) -> Result<(), Failure> {
        let Settings { warm_up, .. } = *self.settings;
        let order = Order {
            plan: Plan::Mix,
            rate: self.settings.load.rate_per_second,
            warm_up: Duration::ZERO,
            length: None,
            objective: None,
        };
        if self.settings.preload {
            let staged = crew.run(&Order { plan: Plan::Preload, rate: None, ..order }, self.watch);
            self.report.preload = kept(staged)?;
        }
        if self.settings.preload_only {
            return Ok(());
        }
        if let Some(search) = &self.settings.search {
            return self.search(crew, search);
        }
        let order = match self.settings.until {
            Until::Elapsed(length) => Order { warm_up, length: Some(length), ..order },
            Until::Answered(requests) => {
                if !warm_up.is_zero() {
                    // A stage of its own, of which nothing is counted: replies to the warm-up are not among those
                    // asked for.
                    kept(crew.run(&Order { warm_up, length: Some(Duration::ZERO), ..order }, self.watch))?;
                }
                self.shared.budget.store(requests, Ordering::Relaxed);
                Order { plan: Plan::MixOf, ..order }
            }
        };
        let Staged { phase, failure, .. } = crew.run(&order, self.watch);
        self.report.measured = phase;
        failure.map_or(Ok(()), Err)
    }

    fn search<D: Dialect>(
        &mut self,
        crew: &mut Crew<'_, D>,
        settings: &SearchSettings,
    ) -> Result<(), Failure> {
        let SearchSettings { objective, start_rate, precision } = *settings;
        let length = match self.settings.until {
            Until::Elapsed(length) => Some(length),
            Until::Answered(_) => None,
        };
        let bounds = objective.bounds().map(|(_, percentile, bound)| Bound {
            percentile: percentile.to_owned(),
            latency_us: bound.as_secs_f64() * 1e6,
        });
        let report = self.report.search.insert(SearchReport {
            bounds: bounds.collect(),
            precision,
            steps: Vec::new(),
            found_per_second: None,
        });
        let mut search = Search::new(start_rate, objective.least_rate(length.unwrap_or_default()), precision);
        while let Some(rate) = search.next() {
            let warm_up = self.settings.warm_up;
            let order =
                Order { plan: Plan::Mix, rate: Some(rate), warm_up, length, objective: Some(objective) };
            let Staged { phase, sum, cut_short, failure } = crew.run(&order, self.watch);
            let Some(phase) = phase else { return failure.map_or(Ok(()), Err) };
            let open = phase.open_loop.as_ref();
            let is_met = failure.is_none()
                && phase.operations > 0
                && !cut_short
                && open.is_some_and(|open| !open.short_of_rate)
                && objective.is_met(&sum.all().latency_ns);
            report.steps.push(Step {
                rate_per_second: rate,
                is_met,
                operations_per_second: phase.operations_per_second,
                latency_us: phase.latency_us,
                sent_late: open.map_or(0.0, |open| open.sent_late as f64 / open.due.max(1) as f64),
                cut_short,
            });
            if let Some(failure) = failure {
                return Err(failure);
            }
            search.tell(is_met);
            report.found_per_second = search.found();
            if is_met {
                self.report.measured = Some(phase);
            }
        }
        Ok(())
    }
}

/// The phase of a stage that did not fail; what failed has nothing to measure behind it.
fn kept(staged: Staged) -> Result<Option<Phase>, Failure> {
    match staged.failure {
        Some(failure) => Err(failure),
        None => Ok(staged.phase),
    }
}
