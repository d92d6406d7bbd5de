//! Openings of doc comments: the item itself, not a question word or a pronoun.

use crate::baseline::{Baseline, Found};
use crate::source::Source;

/// The words that no doc comment may open with.
const OPENINGS: &[&str] = &[
    "Who", "Whose", "Whoever", "What", "Whatever", "Where", "How many", "Whether", "Which", "It", "They",
    "Those", "This one", "One that",
];

pub(crate) const BASELINE: Baseline = Baseline {
    file: "doc_openings.txt",
    rule: "a doc comment opens with the item itself, not with a question word or a pronoun",
    header: "The doc comments that open with a question word or a pronoun: the number, and the file without `.rs`.\n\
             `make baselines` rewrites this.",
    is_of_files: true,
};

/// Returns the doc comments of each file that open with one of the words. A `mod.rs` counts as `x.rs`.
pub(crate) fn found(sources: &[Source]) -> Found {
    let mut found = Found::new();
    for source in sources {
        let openings = openings(&source.text);
        if !openings.is_empty() {
            let stem = source.path.trim_end_matches(".rs").trim_end_matches("/mod").to_owned();
            found.insert(stem, openings);
        }
    }
    found
}

/// Returns the lines at which a doc comment opens with one of the words, with their text.
fn openings(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = None;
    for (number, line) in (1..).zip(text.lines()) {
        let doc = doc(line);
        if let (None, Some(words)) = (before, doc)
            && OPENINGS.iter().any(|opening| opens_with(words, opening))
        {
            found.push(format!("line {number} \"{words}\""));
        }
        before = doc;
    }
    found
}

/// Returns the text of a line of documentation.
fn doc(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let text = line.strip_prefix("///").filter(|text| !text.starts_with('/'));
    text.or_else(|| line.strip_prefix("//!")).map(str::trim)
}

fn opens_with(text: &str, opening: &str) -> bool {
    let rest = text.get(..opening.len()).filter(|start| start.eq_ignore_ascii_case(opening));
    rest.is_some() && !text[opening.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_opening_counts() {
        let text = "//! What is here.\n\n/// Returns it.\n/// What follows is free.\nfn f() {}\n\
                    // What is no doc comment.\n//// Nor is what this is.\n    /// Who it is.\n    x: u8,\n";
        assert_eq!(openings(text), ["line 1 \"What is here.\"", "line 8 \"Who it is.\""]);
    }

    #[test]
    fn every_word_counts_and_no_longer_one() {
        for opening in OPENINGS {
            assert_eq!(openings(&format!("/// {opening} is so.\n")).len(), 1, "{opening}");
            assert_eq!(openings(&format!("/// {opening}ed.\n")).len(), 0, "{opening}");
        }
        for words in ["Its size.", "However it is.", "How long.", "Iterates.", "A host.", "`What`"] {
            assert_eq!(openings(&format!("/// {words}\n")).len(), 0, "{words}");
        }
        assert_eq!(openings("/// it's small.\n").len(), 1);
        assert_eq!(openings("/// Who.\nx: u8,\n/// Who.\ny: u8,\n").len(), 2);
    }

    #[test]
    fn a_file_keeps_its_count_when_it_is_moved() {
        let source = |path: &str| Source { path: path.into(), text: "/// Who.\n".into() };
        assert_eq!(found(&[source("a/src/b/mod.rs")]), found(&[source("a/src/b.rs")]));
        assert!(found(&[Source { path: "a.rs".into(), text: String::new() }]).is_empty());
    }
}
