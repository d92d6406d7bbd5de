//! The import graph of a crate's modules, with edges to the modules that define the imported names.

use std::collections::BTreeMap;
use std::fmt;

use crate::crates::{Crate, ROOT, Target};
use crate::outline::{GLOB, Import, Outline};

/// The modules of a crate and what each imports.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// The modules that each module imports, with one of the names imported from there.
    pub(crate) imports: BTreeMap<String, BTreeMap<String, String>>,
}

impl Graph {
    /// Reads the graph of a crate.
    pub(crate) fn of(krate: &Crate) -> Self {
        let edges =
            |(module, outline): (&String, &Outline)| (module.clone(), imports_of(krate, module, outline));
        Self { imports: krate.modules.iter().map(edges).collect() }
    }

    /// Returns every edge: from, to, and a name imported.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.imports.iter().flat_map(|(from, imported)| {
            imported.iter().map(move |(to, name)| (from.as_str(), to.as_str(), name.as_str()))
        })
    }
}

/// Returns the path of a module for messages: `crate` for the root.
pub(crate) fn shown(module: &str) -> &str {
    if module == ROOT { "crate" } else { module }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (module, imported) in &self.imports {
            let imported: Vec<&str> = imported.keys().map(|module| shown(module)).collect();
            let arrow = if imported.is_empty() { "" } else { " → " };
            writeln!(f, "{}{arrow}{}", shown(module), imported.join(", "))?;
        }
        Ok(())
    }
}

/// Returns the modules that one module imports, with one of the names each. A re-export alone imports nothing.
fn imports_of(krate: &Crate, module: &str, outline: &Outline) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut add = |path: &[String], target: Target<'_>| {
        if let Target::Item(imported) = target
            && imported != module
        {
            let name = path.last().cloned().unwrap_or_default();
            found.entry(imported.to_owned()).or_insert(name);
        }
    };
    let is_used = |import: &&Import| !import.public || outline.words.contains(&import.name);
    for import in outline.imports.iter().filter(is_used) {
        for target in krate.resolve(module, &import.path) {
            if let (Target::Module(opened), true) = (target, import.name == GLOB) {
                add(&import.path, Target::Item(opened));
                re_exported(krate, opened).into_iter().for_each(|target| add(&import.path, target));
            } else {
                add(&import.path, target);
            }
        }
    }
    for path in &outline.paths {
        krate.resolve(module, path).into_iter().for_each(|target| add(path, target));
    }
    found
}

/// Returns the targets of the re-exports of a module: a glob import of it may use all of them.
fn re_exported<'a>(krate: &'a Crate, module: &str) -> Vec<Target<'a>> {
    let imports = krate.modules.get(module).map(|outline| outline.imports.iter());
    let public = imports.into_iter().flatten().filter(|import| import.public);
    public.flat_map(|import| krate.resolve(module, &import.path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crates::crates;
    use crate::source::Source;

    fn graph(files: &[(&str, &str)]) -> String {
        let source =
            |(path, text): &(&str, &str)| Source { path: format!("x/src/{path}"), text: (*text).into() };
        let sources: Vec<Source> = files.iter().map(source).collect();
        Graph::of(&crates(&sources)[0]).to_string()
    }

    #[test]
    fn an_edge_leads_to_the_definition() {
        let shown = graph(&[
            ("lib.rs", "mod a; mod c; pub use a::b::B;"),
            ("a/mod.rs", "mod b; mod d; pub use b::B; pub use d::D as E;"),
            ("a/b.rs", "use super::E; pub struct B;"),
            ("a/d.rs", "pub struct D;"),
            ("c.rs", "use crate::a; fn f(_: a::B, _: crate::a::E) {}"),
        ]);
        assert_eq!(shown, "crate\na\na::b → a::d\na::d\nc → a::b, a::d\n");
    }

    #[test]
    fn a_re_export_that_is_used_is_an_import() {
        let shown = graph(&[
            ("main.rs", "mod a; fn main() { a::run() }"),
            ("a.rs", "mod b; mod c; pub use b::B; pub use c::c; pub fn run(_: B) {}"),
            ("a/b.rs", "pub struct B;"),
            ("a/c.rs", "pub fn c() {}"),
        ]);
        assert_eq!(shown, "crate → a\na → a::b\na::b\na::c\n");
    }

    #[test]
    fn a_glob_imports_all_that_is_re_exported() {
        let shown = graph(&[
            ("lib.rs", "mod a; mod c;"),
            ("a.rs", "mod b; pub use b::B; use std::fmt; pub struct A;"),
            ("a/b.rs", "pub struct B;"),
            ("c.rs", "use crate::a::*;"),
        ]);
        assert_eq!(shown, "crate\na\na::b\nc → a, a::b\n");
    }
}
