//! The house rules as a test: what a file looks like, what it may name, and which way imports point.

mod baseline;
mod circles;
mod crates;
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

use crate::circles::Known;
use crate::graph::Graph;
use crate::source::Source;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn tree() -> io::Result<Vec<Source>> {
    let sources = source::all(Path::new(ROOT))?;
    assert!(sources.len() > 30, "only {} files found under {ROOT}", sources.len());
    Ok(sources)
}

fn none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// Every finding of the rules that need one file alone.
#[test]
fn every_file_keeps_the_rules() {
    let mut findings: Vec<String> = Vec::new();
    for source in &tree().unwrap() {
        findings.extend(files::findings(source).iter().map(|finding| format!("{}: {finding}", source.path)));
    }
    none(&findings);
}

#[test]
fn imports_point_one_way() {
    let crates = crates::crates(&tree().unwrap());
    let findings = order::CRATES.iter().flat_map(|layers| {
        let krate = crates.iter().find(|krate| krate.src == layers.src);
        let krate = krate.unwrap_or_else(|| panic!("{} is in the order, but not in the tree", layers.src));
        let findings = imports::findings(krate, &Graph::of(krate), layers);
        findings.into_iter().map(|finding| format!("{}: {finding}", layers.src))
    });
    none(&findings.collect::<Vec<_>>());
}

#[test]
fn there_are_no_circles() {
    let known = Known::list(include_str!("known_circles.txt")).unwrap();
    let crates = crates::crates(&tree().unwrap());
    let mut findings: Vec<String> = Vec::new();
    for krate in &crates {
        let found = circles::findings(&krate.src, &Graph::of(krate), &known);
        findings.extend(found.iter().map(|finding| format!("{}: {finding}", krate.src)));
    }
    let is_lost = |known: &&Known| !crates.iter().any(|krate| krate.src == known.src);
    findings
        .extend(known.iter().filter(is_lost).map(|known| format!("{}: there is no such crate", known.src)));
    none(&findings);
}

/// `make graph` prints what this writes.
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
    none(&spawns::BASELINE.findings(&spawns::found(&tree().unwrap())).unwrap());
}

#[test]
fn errors_are_called_so() {
    none(&error_names::BASELINE.findings(&error_names::found(&tree().unwrap())).unwrap());
}

#[test]
fn doc_comments_open_with_the_item() {
    none(&doc_openings::BASELINE.findings(&doc_openings::found(&tree().unwrap())).unwrap());
}

#[test]
fn modules_have_one_style() {
    none(&module_style::BASELINE.findings(&module_style::found(&tree().unwrap())).unwrap());
}

/// A module that is gone must not stay in the order.
#[test]
fn the_order_names_what_exists() {
    for layers in order::CRATES {
        for module in layers.modules {
            let stem = Path::new(ROOT).join(layers.src).join(module.replace("::", "/"));
            let exists = stem.with_extension("rs").is_file() || stem.join("mod.rs").is_file();
            assert!(exists, "{}: `{module}` is in the order, but not in the tree", layers.src);
        }
    }
}
