//! The documents as a test: they name what exists, and every command in them is tested or says why it is not.

mod blocks;
mod links;
mod names;

use webgateway_tests::document::Document;

/// The longest that documents may be which are to be read in one go, in lines.
const LONGEST: [(&str, usize); 3] = [("README.md", 200), ("ARCHITECTURE.md", 150), ("SECURITY.md", 100)];

fn findings(find: impl Fn(&Document) -> Vec<String>) {
    let documents = Document::all().unwrap();
    assert!(documents.len() >= 10, "only {} documents found", documents.len());
    let findings = documents.iter().flat_map(|document| {
        find(document).into_iter().map(|finding| format!("{}: {finding}", document.path))
    });
    let findings: Vec<String> = findings.collect();
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn every_command_says_how_it_is_tested() {
    findings(blocks::findings);
}

#[test]
fn links_lead_somewhere() {
    findings(links::findings);
}

#[test]
fn paths_and_names_exist() {
    findings(names::findings);
}

#[test]
fn short_documents_stay_short() {
    for (path, longest) in LONGEST {
        let lines = Document::read(path).unwrap().lines();
        assert!(lines <= longest, "{path} has {lines} lines, at most {longest} are allowed");
    }
}
