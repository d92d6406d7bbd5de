//! Tasks are started where they are supervised: nothing else calls tokio's `spawn` and `spawn_local`.
//!
//! A set of tasks that its owner holds, such as a `JoinSet`, is supervised by that owner.

use crate::outline::Outline;
use crate::source::Source;

/// The places that supervise tasks, and so may start one.
const SUPERVISORS: &[&str] = &["proto/process/src/tasks.rs"];

/// The files that start tasks without supervision and are still to be changed.
const UNSUPERVISED: &[&str] = &[
    "proto/process/src/signals.rs",
    "dataplane/src/backend/pool.rs",
    "dataplane/src/edge/worker.rs",
    "dataplane/src/http/serve.rs",
    "dataplane/src/http/upgrade.rs",
];

/// The spawns in the file that are not allowed there.
pub(crate) fn findings(source: &Source) -> Vec<String> {
    let is_allowed = SUPERVISORS.iter().chain(UNSUPERVISED).any(|place| source.is_in(place));
    if is_allowed || source.is_test() || source.is_in("tests") {
        return Vec::new();
    }
    let found = spawns(&Outline::of(&source.text));
    found.iter().map(|path| format!("names `{path}`, which only {} may", SUPERVISORS.join(", "))).collect()
}

/// The paths in the code that lead to tokio's functions, written out.
fn spawns(outline: &Outline) -> Vec<String> {
    let written_out = |path: &Vec<String>| {
        let import = outline.imports.iter().find(|import| import.name == path[0]);
        let head = import.map_or(&path[..1], |import| &import.path);
        head.iter().chain(&path[1..]).filter(|segment| !segment.is_empty()).cloned().collect::<Vec<_>>()
    };
    let imported = outline.imports.iter().map(|import| &import.path);
    let mut found: Vec<String> = outline
        .paths
        .iter()
        .chain(imported)
        .filter(|path| !path.is_empty())
        .map(written_out)
        .filter(|path| {
            path[0] == "tokio" && path.last().is_some_and(|last| last == "spawn" || last == "spawn_local")
        })
        .map(|path| path.join("::"))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(path: &str, text: &str) -> usize {
        findings(&Source { path: path.into(), text: text.into() }).len()
    }

    #[test]
    fn a_naked_spawn_is_found() {
        for text in [
            "fn f() { tokio::spawn(g()); }",
            "fn f() { ::tokio::task::spawn_local(g()); }",
            "use tokio::task; fn f() { task::spawn(g()) }",
            "use tokio::task::spawn_local; fn f() { spawn_local(g()) }",
            "use tokio::{task as t, net}; fn f() { t::spawn_local(g()) }",
        ] {
            assert_eq!(judge("a/src/b.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn what_is_held_or_no_task_is_free() {
        for text in [
            "fn f(set: &mut JoinSet<()>) { set.spawn(g()); set.spawn_local(h()); }",
            "use std::thread; fn f() { thread::spawn(g) }",
            "use tokio::task::{self, spawn_blocking}; fn f() { spawn_blocking(g); task::spawn_blocking(g) }",
            "#[cfg(test)]\nmod tests { fn f() { tokio::spawn(g()); } }",
            "// tokio::spawn(g())",
        ] {
            assert_eq!(judge("a/src/b.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn supervisors_and_tests_may_spawn() {
        let text = "fn f() { tokio::spawn(g()); }";
        for path in [SUPERVISORS[0], "a/src/b/tests.rs", "a/tests/b.rs", "tests/src/b.rs"] {
            assert_eq!(judge(path, text), 0, "{path}");
        }
    }
}
