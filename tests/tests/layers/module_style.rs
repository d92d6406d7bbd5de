//! A module with children is `x.rs` beside the folder `x`, never `x/mod.rs`.

use crate::baseline::{Baseline, Found};
use crate::source::Source;

pub(crate) const BASELINE: Baseline = Baseline {
    file: "mod_rs.txt",
    rule: "a module with children is `x.rs` beside the folder `x`, never `x/mod.rs`",
    header: "The crates that still have a `mod.rs`: the number, and the crate. To be emptied.\n\
             `make baselines` rewrites this.",
    is_of_files: false,
};

/// Returns the `mod.rs` files of a tree, for each crate.
pub(crate) fn found(sources: &[Source]) -> Found {
    let mut found = Found::new();
    for source in sources.iter().filter(|source| source.path.ends_with("/mod.rs")) {
        let folder = source.path.split_once("/src/").or_else(|| source.path.split_once("/tests/"));
        let name = folder.map_or(source.path.as_str(), |(name, _)| name);
        found.entry(name.to_owned()).or_default().push(source.path.clone());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mod_rs_is_found() {
        let source = |path: &str| Source { path: path.into(), text: String::new() };
        let paths = [
            "a/src/b/mod.rs",
            "a/src/c.rs",
            "a/src/c/d.rs",
            "a/b/src/e/mod.rs",
            "a/tests/f/mod.rs",
            "a/src/g_mod.rs",
        ];
        let found = found(&paths.map(source));
        let expected = [("a", vec!["a/src/b/mod.rs", "a/tests/f/mod.rs"]), ("a/b", vec!["a/b/src/e/mod.rs"])];
        let owned = |(name, paths): (&str, Vec<&str>)| {
            (name.to_owned(), paths.into_iter().map(str::to_owned).collect())
        };
        assert_eq!(found, Found::from(expected.map(owned)));
    }
}
