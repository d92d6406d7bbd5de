//! Tests of the documents: the names in them exist, and every command is tested or says why it is not.

mod blocks;
mod links;
mod names;

use std::fs;

use anyhow::Result;
use webgateway_tests::document::{Document, root};

/// The maximum lengths of short documents, in lines.
const MAX_LINES: [(&str, usize); 3] = [("README.md", 200), ("ARCHITECTURE.md", 150), ("SECURITY.md", 100)];

const INDEX: &str = "docs/README.md";
/// The documents that the index does not link: the README, which links the index, and the index itself.
const NOT_INDEXED: [&str; 2] = ["README.md", INDEX];

/// Returns the findings in all documents.
fn found(find: impl Fn(&Document) -> Result<Vec<String>>) -> Result<String> {
    let mut findings = String::new();
    for document in Document::all()? {
        for finding in find(&document)? {
            findings.extend(["\n", &document.path, ": ", &finding]);
        }
    }
    Ok(findings)
}

#[test]
fn there_are_documents() {
    assert!(Document::all().unwrap().len() >= 10);
}

#[test]
fn every_command_says_how_it_is_tested() {
    assert_eq!(found(blocks::findings).unwrap(), "");
}

#[test]
fn links_have_targets() {
    assert_eq!(found(links::findings).unwrap(), "");
}

#[test]
fn paths_and_names_exist() {
    assert_eq!(found(|document| Ok(names::findings(document))).unwrap(), "");
}

#[test]
fn the_index_has_every_document() {
    let links = Document::read(INDEX).unwrap().links();
    for document in Document::all().unwrap().iter().filter(|document| !NOT_INDEXED.contains(&&*document.path))
    {
        let path = &document.path;
        let link = path.strip_prefix("docs/").map_or_else(|| format!("../{path}"), str::to_owned);
        assert!(links.contains(&link), "{INDEX} has no link to {link}");
    }
}

/// Compares with the snapshot of `gwctl --help`.
#[test]
fn exit_codes_are_those_of_the_help() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let (help, guide) = (read("gwctl/tests/snapshots/help.txt"), read("docs/owners-guide.md"));
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    for line in codes.lines().take_while(|line| !line.is_empty()) {
        let (code, meaning) = line.trim().split_once("  ").unwrap();
        let row = format!("| {code} | {meaning} |");
        assert!(guide.contains(&row), "docs/owners-guide.md has no row {row}");
    }
}

#[test]
fn short_documents_stay_short() {
    for (path, longest) in MAX_LINES {
        let lines = Document::read(path).unwrap().lines();
        assert!(lines <= longest, "{path} has {lines} lines, at most {longest} are allowed");
    }
}
