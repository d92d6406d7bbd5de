//! The house rules as tests: the form of files, the names they may use, and the direction of imports.

mod baseline;
mod crates;
mod cycles;
mod doc_openings;
mod error_names;
mod files;
mod graph;
mod imports;
mod module_style;
mod order;
mod outline;
mod source;
mod spawns;
mod tokens;

use std::path::Path;
use std::{env, fs, io};

use crate::cycles::KnownCycle;
use crate::graph::Graph;
use crate::source::Source;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn tree() -> io::Result<Vec<Source>> {
    let sources = source::all(Path::new(ROOT))?;
    assert!(sources.len() > 30, "only {} files found under {ROOT}", sources.len());
    Ok(sources)
}

fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// The rules for single files.
#[test]
fn every_file_keeps_the_rules() {
    let mut findings: Vec<String> = Vec::new();
    for source in &tree().unwrap() {
        findings.extend(files::findings(source).iter().map(|finding| format!("{}: {finding}", source.path)));
    }
    assert_none(&findings);
}

#[test]
fn imports_follow_the_order() {
    let crates = crates::crates(&tree().unwrap());
    let findings = order::CRATES.iter().flat_map(|layers| {
        let krate = crates.iter().find(|krate| krate.src == layers.src);
        let krate = krate.unwrap_or_else(|| panic!("{} is in the order, but not in the tree", layers.src));
        let findings = imports::findings(krate, &Graph::of(krate), layers);
        findings.into_iter().map(|finding| format!("{}: {finding}", layers.src))
    });
    assert_none(&findings.collect::<Vec<_>>());
}

#[test]
fn there_are_no_import_cycles() {
    let known = KnownCycle::list(include_str!("known_cycles.txt")).unwrap();
    let crates = crates::crates(&tree().unwrap());
    let mut findings: Vec<String> = Vec::new();
    for krate in &crates {
        let found = cycles::findings(&krate.src, &Graph::of(krate), &known);
        findings.extend(found.iter().map(|finding| format!("{}: {finding}", krate.src)));
    }
    let is_lost = |known: &&KnownCycle| !crates.iter().any(|krate| krate.src == known.src);
    findings
        .extend(known.iter().filter(is_lost).map(|known| format!("{}: there is no such crate", known.src)));
    assert_none(&findings);
}

/// Writes the graphs for `make graph`.
#[test]
fn every_crate_has_a_graph() {
    let crates = crates::crates(&tree().unwrap());
    assert!(order::CRATES.iter().all(|layers| crates.iter().any(|krate| krate.src == layers.src)));
    let graphs = crates.iter().map(|krate| format!("# {}\n{}", krate.src, Graph::of(krate)));
    let text = graphs.collect::<Vec<_>>().join("\n");
    assert!(text.contains(" → "), "no module imports another:\n{text}");
    if let Some(file) = env::var_os("GRAPH") {
        fs::write(file, text).unwrap();
    }
}

#[test]
fn tasks_have_a_supervisor() {
    assert_none(&spawns::BASELINE.findings(&spawns::found(&tree().unwrap())).unwrap());
}

#[test]
fn error_types_end_in_error() {
    assert_none(&error_names::BASELINE.findings(&error_names::found(&tree().unwrap())).unwrap());
}

#[test]
fn doc_comments_open_with_the_item() {
    assert_none(&doc_openings::BASELINE.findings(&doc_openings::found(&tree().unwrap())).unwrap());
}

#[test]
fn modules_have_one_style() {
    assert_none(&module_style::BASELINE.findings(&module_style::found(&tree().unwrap())).unwrap());
}

/// The order has no entry for a removed module.
#[test]
fn the_order_lists_existing_modules() {
    for layers in order::CRATES {
        for module in layers.modules {
            let stem = Path::new(ROOT).join(layers.src).join(module.replace("::", "/"));
            let exists = stem.with_extension("rs").is_file() || stem.join("mod.rs").is_file();
            assert!(exists, "{}: `{module}` is in the order, but not in the tree", layers.src);
        }
    }
}
