//! Imports point one way: a module names only those that stand before it.

use crate::order::{CRATES, Layers};
use crate::source::Source;

/// Which of its imports point the wrong way.
pub(crate) fn findings(source: &Source) -> Vec<String> {
    let Some((layers, module)) = CRATES.iter().find_map(|layers| Some((layers, module_of(source, layers)?)))
    else {
        return Vec::new();
    };
    judge(&source.code(), &module, layers)
}

/// The module a file is; none for roots, which wire the others, and for tests.
fn module_of(source: &Source, layers: &Layers) -> Option<String> {
    let inner = source.path.strip_prefix(layers.src)?.strip_prefix('/')?;
    let is_root = matches!(inner, "lib.rs" | "main.rs") || inner.starts_with("bin/");
    if is_root || source.is_test() && !layers.src.starts_with("tests") {
        return None;
    }
    let stem = inner.trim_end_matches(".rs").trim_end_matches("/mod");
    Some(stem.replace('/', "::"))
}

fn judge(code: &str, module: &str, layers: &Layers) -> Vec<String> {
    let Some((own_rank, _)) = layers.rank(module) else {
        return vec![format!("`{module}` has no place in the order of {} yet", layers.src)];
    };
    let mut findings = Vec::new();
    for path in paths(code, module) {
        let Some((rank, target)) = layers.rank(&path) else { continue };
        // A child may use what its ancestors re-export.
        let is_ancestor = module.strip_prefix(target).is_some_and(|rest| rest.starts_with("::"));
        if rank > own_rank && !is_ancestor {
            findings.push(format!("`{module}` imports `{target}`, which stands after it"));
        }
    }
    findings.dedup();
    findings
}

/// Every path of this crate that the code names, from the crate's root.
fn paths(code: &str, module: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let preceded =
            code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
        if !preceded {
            let mut base: Vec<&str> = module.split("::").collect();
            let mut rest = &code[at..];
            if let Some(after) = rest.strip_prefix("crate::") {
                base.clear();
                rest = after;
            }
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            expand(&base.join("::"), rest, &mut found);
        }
    }
    found
}

/// Reads `a::{b::C, d}` and adds `a::b::C` and `a::d`; returns what follows it.
fn expand<'a>(base: &str, text: &'a str, found: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(base, rest, found).trim_start();
            match rest.strip_prefix(',') {
                Some(after) if !after.trim_start().starts_with('}') => rest = after,
                Some(after) => return after.trim_start().trim_start_matches('}'),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let path = if base.is_empty() { word.to_owned() } else { format!("{base}::{word}") };
    if let Some(inner) = rest.strip_prefix("::") {
        return expand(&path, inner, found);
    }
    found.push(path);
    rest.strip_prefix(" as ")
        .map_or(rest, |alias| alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: Layers = Layers {
        src: "x/src",
        modules: &["config", "snapshot::table", "snapshot", "feed::apply", "feed", "app"],
    };

    #[test]
    fn reads_paths() {
        let code = "use crate::{config::Config, feed::{self, apply as a, backoff::Backoff,},\n};\nuse std::fs;\n\
                    let x = crate::snapshot::table::new(super::sibling::y);";
        let found = paths(code, "feed::client");
        let expected =
            ["config::Config", "feed::self", "feed::apply", "feed::backoff::Backoff", "snapshot::table::new"];
        assert_eq!(found[..5], expected.map(str::to_owned));
        assert_eq!(found[5], "feed::sibling::y");
        assert_eq!(paths("use other_crate::x; mycrate::y", "a"), Vec::<String>::new());
    }

    #[test]
    fn leaf_first() {
        assert!(judge("use crate::config::Config;", "feed::apply", &LAYERS).is_empty());
        assert!(judge("use crate::snapshot::Snapshot;", "feed::apply", &LAYERS).is_empty());
        assert_eq!(judge("use crate::feed::Feed;", "config", &LAYERS).len(), 1);
        assert_eq!(judge("use crate::{config, app};", "feed", &LAYERS).len(), 1);
        assert_eq!(judge("fn f() { crate::feed::apply::run() }", "snapshot::table", &LAYERS).len(), 1);
    }

    #[test]
    fn a_child_may_use_its_parent() {
        assert!(judge("use super::Snapshot;", "snapshot::table", &LAYERS).is_empty());
        assert!(judge("use crate::snapshot::Snapshot;", "snapshot::table", &LAYERS).is_empty());
    }

    #[test]
    fn a_module_has_a_place() {
        assert_eq!(judge("", "surprise", &LAYERS).len(), 1);
    }
}
