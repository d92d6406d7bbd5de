//! The table of a run, and the check of its figures.

use std::fmt::Write as _;

use crate::sample::{Figures, ProcessFigures};

/// The allowed growth of memory, as a factor and additional bytes: an allocator returns pages at any time.
const FACTOR: f64 = 1.25;
const SLACK: u64 = 8 << 20;
/// The descriptors that may differ: the controlplane opens up to four readers of its database on demand, and
/// closes them after minutes without use; each has two files.
const ON_DEMAND: u64 = 8;

type Column = (&'static str, fn(&ProcessFigures) -> u64);
const COUNTED: [Column; 3] = [
    ("descriptors", |held| held.descriptors),
    ("tasks", |held| held.tasks),
    ("connections", |held| held.connections),
];

/// Returns the table, and a line for each figure that has changed.
pub(crate) fn table(start: &Figures, most: &Figures, end: &Figures) -> (String, Vec<String>) {
    let mut text = format!("| {:<26} | {:>9} | {:>9} | {:>9} |\n", "", "start", "at most", "end");
    let mut differences = Vec::new();
    let none = ProcessFigures::default();
    for (who, of) in [
        ("dataplane", &(|f: &Figures| f.dataplane) as &dyn Fn(&Figures) -> ProcessFigures),
        ("controlplane", &|f: &Figures| f.controlplane.unwrap_or(none)),
    ] {
        let [start, most, end] = [of(start), of(most), of(end)];
        let mebibytes =
            [start, most, end].map(|held| format!("{:.1} MiB", held.memory as f64 / f64::from(1 << 20)));
        let mut row = |what: &str, [a, b, c]: [String; 3]| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {:<26} | {a:>9} | {b:>9} | {c:>9} |", format!("{who}: {what}"));
        };
        row("memory", mebibytes);
        for (what, count) in COUNTED {
            row(what, [start, most, end].map(|held| count(&held).to_string()));
            let allowed = if (who, what) == ("controlplane", "descriptors") { ON_DEMAND } else { 0 };
            if count(&start).abs_diff(count(&end)) > allowed {
                differences.push(format!("{who}: {} {what}, and {} before", count(&end), count(&start)));
            }
        }
        if end.memory as f64 > start.memory as f64 * FACTOR + SLACK as f64 {
            differences
                .push(format!("{who}: memory has grown by {} KiB", (end.memory - start.memory) / 1024));
        }
    }
    (text, differences)
}
