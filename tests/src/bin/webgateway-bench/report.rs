//! The table of the measurements.

use std::fmt::Write as _;
use std::time::Duration;

use webgateway_tests::quantiles::{millis, quantiles};

use crate::drive::PhaseResult;
use crate::requests::Kind;

/// The measurements of one phase.
#[derive(Debug)]
pub(crate) struct Phase {
    /// The name of the phase.
    pub(crate) what: &'static str,
    /// The results of each kind of call.
    pub(crate) outcomes: Vec<(Kind, PhaseResult)>,
    /// The CPU time of the controlplane and of this client.
    pub(crate) cpu: [Duration; 2],
    /// The duration of the phase.
    pub(crate) took: Duration,
}

/// The measurements of all phases.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Phase>);

impl Report {
    /// Adds a phase.
    pub(crate) fn add(&mut self, phase: Phase) {
        self.0.push(phase);
    }

    /// Returns the table: a line for each kind of call of each phase, and one for its CPU time.
    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "| {:<15} | {:<9} | {:>7} | {:>30} | {:>6} |\n",
            "", "", "per s", "p50 / p99 / max", "failed"
        );
        for Phase { what, outcomes, cpu: [theirs, ours], took } in &self.0 {
            let mut calls = 0;
            for (kind, outcome) in outcomes.iter().filter(|(_, outcome)| !outcome.took.is_empty()) {
                calls += outcome.took.len();
                let name = match kind {
                    Kind::Read => "reads",
                    Kind::Mutation => "mutations",
                };
                let rate = outcome.took.len() as f64 / outcome.over.as_secs_f64();
                let times = quantiles(&outcome.took);
                // Writing to a String cannot fail.
                let _ = writeln!(
                    table,
                    "| {what:<15} | {name:<9} | {rate:>7.0} | {times:>30} | {:>6} |",
                    outcome.failed
                );
                if let Some(failure) = &outcome.first_failure {
                    let _ = writeln!(table, "  the first failure: {failure}");
                }
            }
            let share = |cpu: &Duration| cpu.as_secs_f64() / took.as_secs_f64() * 100.0;
            let _ = writeln!(
                table,
                "  controlplane: {:.0} µs of CPU a call, {:.0} % of a core; asking took {:.0} %",
                millis(*theirs) * 1000.0 / calls.max(1) as f64,
                share(theirs),
                share(ours),
            );
        }
        table
    }
}
