//! The names of error types end in `Error`.

use crate::baseline::{Baseline, Found};
use crate::source::Source;
use crate::tokens::tokens;

pub(crate) const BASELINE: Baseline = Baseline {
    file: "error_names.txt",
    rule: "the name of an error type ends in `Error`",
    header: "The error types whose names do not end in `Error` yet: the number, the folder, and the name.\n\
             `make baselines` rewrites this.",
    is_of_files: false,
};

/// Returns the types that derive `Error` and whose names do not end in it, except in tests.
pub(crate) fn found(sources: &[Source]) -> Found {
    let mut found = Found::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        let folder = source.path.split('/').next().unwrap_or_default();
        for name in errors(&source.code()) {
            if !name.ends_with("Error") {
                found.entry(format!("{folder} {name}")).or_default().push(source.path.clone());
            }
        }
    }
    found
}

/// Returns the names of the types that derive `Error`.
fn errors(text: &str) -> Vec<&str> {
    let tokens = tokens(text);
    let derives = tokens.windows(4).enumerate().filter(|(_, four)| *four == ["#", "[", "derive", "("]);
    let name = |(at, _): (usize, &[&str])| {
        let after = &tokens[at + 4..];
        let end = after.iter().position(|token| *token == ")")?;
        after[..end].contains(&"Error").then_some(())?;
        let keyword = after.iter().position(|token| matches!(*token, "struct" | "enum" | "union"))?;
        after.get(keyword + 1).copied()
    };
    derives.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_derive_error_are_found() {
        let text = "#[derive(Debug, thiserror::Error)]\n#[error(\"a struct X\")]\npub(crate) struct A;\n\
                    #[derive(Debug)]\nstruct B;\n/// A struct.\n#[derive(Error)]\n#[non_exhaustive]\nenum CError {}\n\
                    #[derive(MyError)]\nstruct D;\n// #[derive(Error)] struct E;\n";
        assert_eq!(errors(text), ["A", "CError"]);
    }

    #[test]
    fn names_without_error_are_found() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let found = found(&[
            source("a/src/b.rs", "#[derive(Error)] struct Refused; #[derive(Error)] struct DialError;"),
            source("a/src/c.rs", "#[derive(Error)] struct Refused;"),
            source("a/src/d.rs", "#[cfg(test)]\nmod tests { #[derive(Error)] struct Made; }"),
            source("a/src/d/tests.rs", "#[derive(Error)] struct Made;"),
        ]);
        assert_eq!(
            found,
            Found::from([("a Refused".into(), vec!["a/src/b.rs".into(), "a/src/c.rs".into()])])
        );
    }
}
