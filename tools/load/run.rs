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
use crate::report::{Bound, OpenLoop, Phase, Report, SearchReport, Step, Verdict};
use crate::search::{Objective, Search};
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
            self.report.preload = staged.phase;
            staged.failure.map_or(Ok(()), Err)?;
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
                    let warm_up = Order { warm_up, length: Some(Duration::ZERO), ..order };
                    crew.run(&warm_up, self.watch).failure.map_or(Ok(()), Err)?;
                }
                self.shared.budget.store(requests, Ordering::Relaxed);
                Order { plan: Plan::MixOf, ..order }
            }
        };
        let staged = crew.run(&order, self.watch);
        self.report.measured = staged.phase;
        staged.failure.map_or(Ok(()), Err)
    }

    fn search<D: Dialect>(
        &mut self,
        crew: &mut Crew<'_, D>,
        settings: &SearchSettings,
    ) -> Result<(), Failure> {
        let SearchSettings { objective, length, start_rate, precision } = *settings;
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
        let mut search = Search::new(start_rate, objective.least_rate(length), precision);
        while let Some(rate) = search.next() {
            let order = Order {
                plan: Plan::Mix,
                rate: Some(rate),
                warm_up: self.settings.warm_up,
                length: Some(length),
                objective: Some(objective),
            };
            let staged = crew.run(&order, self.watch);
            let verdict = verdict(&staged, &objective);
            if let Some(phase) = &staged.phase {
                report.steps.push(step(rate, phase, verdict, staged.cut_short));
            }
            if let Some(failure) = staged.failure {
                return Err(failure);
            }
            search.tell(verdict == Verdict::Met);
            report.found_per_second = search.found();
            if verdict == Verdict::Met {
                self.report.measured = staged.phase;
            }
        }
        Ok(())
    }
}

fn verdict(staged: &Staged, objective: &Objective) -> Verdict {
    if staged.failure.is_some() {
        return Verdict::Unfinished;
    }
    let open = staged.phase.as_ref().and_then(|phase| phase.open_loop);
    let kept_up = open.is_some_and(|open| open.due > 0 && !open.short_of_rate) && !staged.cut_short;
    if kept_up && objective.is_met(&staged.sum.all().latency_ns) { Verdict::Met } else { Verdict::Missed }
}

fn step(rate: f64, phase: &Phase, verdict: Verdict, cut_short: bool) -> Step {
    let late = |open: OpenLoop| open.sent_late as f64 / open.due.max(1) as f64;
    Step {
        rate_per_second: rate,
        verdict,
        operations_per_second: phase.operations_per_second,
        latency_us: phase.latency_us,
        sent_late: phase.open_loop.map_or(0.0, late),
        cut_short,
    }
}
