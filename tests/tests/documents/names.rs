//! Names in code spans of documents: paths exist, and files contain the names that the text places in them.

use std::fs;

use webgateway_tests::document::{Document, root};

/// The top folders; a code span that begins with one of them is a path.
const FOLDERS: [&str; 8] =
    ["proto/", "controlplane/", "dataplane/", "gwctl/", "tests/", "deploy/", "docs/", ".ci/"];

/// The words between a name and its file.
const BETWEEN: [&str; 4] = [" in ", " (", " of ", " from "];

/// Returns the names in a document that do not exist.
pub(crate) fn findings(document: &Document) -> Vec<String> {
    let spans = document.spans();
    let code: Vec<&str> = spans.iter().skip(1).step_by(2).map(String::as_str).collect();
    let paths = code.iter().filter(|span| is_path(span) && !exists(span));
    let paths = paths.map(|path| format!("`{path}` does not exist"));
    let placed = spans.windows(3).skip(1).step_by(2).filter_map(|window| {
        let [name, between, file] = window else { return None };
        let is_placed = BETWEEN.contains(&between.as_str()) && is_path(file) && file.ends_with(".rs");
        (is_placed && is_name(name) && exists(file) && !is_in(name, file))
            .then(|| format!("`{name}` is not in `{file}`"))
    });
    paths.chain(placed).collect()
}

fn is_path(span: &str) -> bool {
    FOLDERS.iter().any(|folder| span.starts_with(folder)) && !span.contains(char::is_whitespace)
}

/// Returns true if a path exists; a `*` in the last part matches any text.
fn exists(path: &str) -> bool {
    let Some((before, after)) = path.split_once('*') else { return root().join(path).exists() };
    let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(root().join(folder)).into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.any(|name| name.starts_with(start) && name.ends_with(after))
}

fn is_name(span: &str) -> bool {
    let is_word =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    span.split("::").all(is_word)
}

/// Returns true if each part of a name is a word of the file.
fn is_in(name: &str, file: &str) -> bool {
    let source = fs::read_to_string(root().join(file)).unwrap_or_default();
    let words: Vec<&str> = source.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    name.split("::").all(|part| words.contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_exists() {
        for (text, count) in [
            ("See `tests/src/document.rs`, `docs/` and `tests/tests/layers/*.txt`.", 0),
            ("`Document` in `tests/src/document.rs`", 0),
            ("`Document::all` (`tests/src/document.rs`)", 0),
            ("`gwctl` and `something` in `else`", 0),
            ("`tests/src/nothing.rs`", 1),
            ("`tests/tests/layers/*.nothing`", 1),
            ("`Nothing` in\n  `tests/src/document.rs`", 1),
            ("`Document::nothing` in `tests/src/document.rs`", 1),
        ] {
            let document = Document::of(text);
            assert_eq!(findings(&document).len(), count, "{text}: {:?}", findings(&document));
        }
    }
}
