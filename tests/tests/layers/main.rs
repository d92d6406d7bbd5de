//! The house rules as a test: what a file looks like, what it may name, and which way imports point.

mod files;
mod imports;
mod order;
mod source;

use std::path::Path;

/// Every finding of every rule over the whole tree.
#[test]
fn the_tree_keeps_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sources = source::all(root).unwrap();
    assert!(sources.len() > 30, "only {} files found under {}", sources.len(), root.display());
    let mut findings: Vec<String> = Vec::new();
    for source in &sources {
        let found = files::findings(source).into_iter().chain(imports::findings(source));
        findings.extend(found.map(|finding| format!("{}: {finding}", source.path)));
    }
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// A module that is gone must not stay in the order.
#[test]
fn the_order_names_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for layers in order::CRATES {
        for module in layers.modules {
            let stem = root.join(layers.src).join(module.replace("::", "/"));
            let exists = stem.with_extension("rs").is_file() || stem.join("mod.rs").is_file();
            assert!(exists, "{}: `{module}` is in the order, but not in the tree", layers.src);
        }
    }
}
