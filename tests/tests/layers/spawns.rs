//! Supervision of tasks: only supervisors call tokio's `spawn` and `spawn_local`.
//!
//! A set of tasks that its owner holds, such as a `JoinSet`, is supervised by that owner.

use crate::baseline::{Baseline, Found};
use crate::outline::Outline;
use crate::source::Source;

/// The places that supervise tasks, and so may spawn them.
const SUPERVISORS: &[&str] = &["proto/process/src/tasks.rs", "proto/process/src/local.rs"];

/// The functions that spawn a task.
const STARTS: &[&str] = &["tokio::spawn", "tokio::task::spawn", "tokio::task::spawn_local"];

pub(crate) const BASELINE: Baseline = Baseline {
    file: "spawns.txt",
    rule: "a task is spawned by `webgateway_process`, which supervises it, or in a set that its owner holds",
    header: "The files that spawn tasks without a supervisor: the number, and the file. To be emptied.\n\
             `make baselines` rewrites this.",
    is_of_files: false,
};

/// Returns the spawns outside supervisors and tests, for each file.
pub(crate) fn found(sources: &[Source]) -> Found {
    let mut found = Found::new();
    for source in sources {
        let may_spawn = SUPERVISORS.iter().any(|place| source.is_in(place));
        if !may_spawn && !source.is_test() && !source.is_in("tests") {
            let spawns = spawns(&Outline::of(&source.text));
            if !spawns.is_empty() {
                found.insert(source.path.clone(), spawns);
            }
        }
    }
    found
}

/// Returns the full paths in the code and the imports that refer to tokio's spawn functions.
fn spawns(outline: &Outline) -> Vec<String> {
    let written_out = |path: &Vec<String>| {
        let (head, rest) = path.split_first()?;
        let import = outline.imports.iter().find(|import| import.name == *head);
        let head = import.map_or(vec![head], |import| import.path.iter().collect());
        let segments: Vec<&str> = head.into_iter().chain(rest).map(String::as_str).collect();
        Some(segments.join("::").trim_start_matches("::").to_owned())
    };
    let imported = outline.imports.iter().map(|import| &import.path);
    let paths = outline.paths.iter().chain(imported).filter_map(written_out);
    paths.filter(|path| STARTS.contains(&path.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        found(&[Source { path: path.into(), text: text.into() }]).values().map(Vec::len).sum()
    }

    #[test]
    fn an_unsupervised_spawn_is_found() {
        for text in [
            "fn f() { tokio::spawn(g()); }",
            "fn f() { ::tokio::task::spawn_local(g()); }",
            "use tokio::task; fn f() { task::spawn(g()) }",
            "use tokio::task::spawn_local; fn f() { spawn_local(g()) }",
            "use tokio::{task as t, net}; fn f() { t::spawn_local(g()) }",
        ] {
            assert_eq!(count("a/src/b.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn every_spawn_counts() {
        assert_eq!(count("a/src/b.rs", "fn f() { tokio::spawn(g()); tokio::spawn(h()); }"), 2);
    }

    #[test]
    fn spawns_in_a_task_set_and_threads_are_allowed() {
        for text in [
            "fn f(set: &mut JoinSet<()>) { set.spawn(g()); set.spawn_local(h()); }",
            "use std::thread; fn f() { thread::spawn(g) }",
            "use tokio::task::{self, spawn_blocking}; fn f() { spawn_blocking(g); task::spawn_blocking(g) }",
            "#[cfg(test)]\nmod tests { fn f() { tokio::spawn(g()); } }",
            "// tokio::spawn(g())",
        ] {
            assert_eq!(count("a/src/b.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn supervisors_and_tests_may_spawn() {
        let text = "fn f() { tokio::spawn(g()); }";
        for path in [SUPERVISORS[0], "a/src/b/tests.rs", "a/tests/b.rs", "tests/src/b.rs"] {
            assert_eq!(count(path, text), 0, "{path}");
        }
    }
}
