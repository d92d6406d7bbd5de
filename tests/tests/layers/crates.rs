//! The modules of each crate, and the resolution of paths in them.

use std::collections::BTreeMap;

use crate::outline::{GLOB, Import, Outline};
use crate::source::Source;

/// The name of the crate root among the modules.
pub(crate) const ROOT: &str = "";

/// A folder with a `lib.rs` or `main.rs`, and the modules descendants_are_recognised it, except test modules.
#[derive(Debug)]
pub(crate) struct Crate {
    /// The folder, from the root of the tree.
    pub(crate) src: String,
    /// The outline of every module by its path from the crate's root, such as `feed::cache`.
    pub(crate) modules: BTreeMap<String, Outline>,
}

/// The target of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// A module.
    Module(&'a str),
    /// An item that the module defines.
    Item(&'a str),
}

/// Returns the crates of a tree.
pub(crate) fn crates(sources: &[Source]) -> Vec<Crate> {
    let folder = |source: &Source| Some(source.path.rsplit_once('/')?.0.to_owned());
    let is_root = |source: &&Source| source.path.ends_with("/lib.rs") || source.path.ends_with("/main.rs");
    let mut roots: Vec<String> = sources.iter().filter(is_root).filter_map(folder).collect();
    roots.sort_unstable();
    roots.dedup();
    let of = |src: &String| {
        let is_inner = |source: &Source| {
            roots.iter().any(|root| root.len() > src.len() && source.is_in(root)) || !source.is_in(src)
        };
        Crate::new(src, sources.iter().filter(|source| !is_inner(source)))
    };
    roots.iter().map(of).collect()
}

/// Returns the parent of `module`; the root is its own parent.
pub(crate) fn parent(module: &str) -> &str {
    module.rsplit_once("::").map_or(ROOT, |(parent, _)| parent)
}

/// Returns true if the module is a descendant of `ancestor`.
pub(crate) fn is_below(module: &str, ancestor: &str) -> bool {
    let rest = if ancestor == ROOT { Some(module) } else { module.strip_prefix(ancestor) };
    rest.is_some_and(|rest| rest.starts_with("::") || ancestor == ROOT && !rest.is_empty())
}

fn child(module: &str, name: &str) -> String {
    if module == ROOT { name.to_owned() } else { format!("{module}::{name}") }
}

impl Crate {
    fn new<'a>(src: &str, files: impl Iterator<Item = &'a Source>) -> Self {
        let mut modules: BTreeMap<String, Outline> = BTreeMap::new();
        for source in files {
            let inner = source.path[src.len()..].trim_start_matches('/');
            let is_test =
                inner.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "fuzz" | "fuzz.rs"));
            if !is_test {
                let stem = inner.trim_end_matches(".rs").trim_end_matches("/mod");
                let is_root = matches!(stem, "lib" | "main");
                let name = if is_root { ROOT.to_owned() } else { stem.replace('/', "::") };
                modules.entry(name).or_default().absorb(Outline::of(&source.text));
            }
        }
        Self { src: src.to_owned(), modules }
    }

    /// Returns the targets of a path in the code of `module`: none if it is outside the crate, two if a name
    /// is both a module and an item.
    pub(crate) fn resolve(&self, module: &str, path: &[String]) -> Vec<Target<'_>> {
        self.start(module, path, &mut Vec::new())
    }

    fn start<'a>(
        &'a self,
        module: &str,
        path: &[String],
        seen: &mut Vec<(String, String)>,
    ) -> Vec<Target<'a>> {
        let Some((head, rest)) = path.split_first() else { return Vec::new() };
        match head.as_str() {
            "crate" => self.inside(ROOT, rest, seen),
            "self" => self.inside(module, rest, seen),
            "super" => self.inside(parent(module), rest, seen),
            name => match self.resolve_name(module, name, false, seen) {
                Some(found) => self.resolve_rest(found, rest, seen),
                None if self.is_library_name(name) => self.inside(ROOT, rest, seen),
                None => Vec::new(),
            },
        }
    }

    /// Follows the path from within `module`. An unknown name counts as an item that a macro defines.
    fn inside<'a>(
        &'a self,
        module: &str,
        path: &[String],
        seen: &mut Vec<(String, String)>,
    ) -> Vec<Target<'a>> {
        let Some((module, _)) = self.modules.get_key_value(module) else { return Vec::new() };
        let Some((head, rest)) = path.split_first() else { return vec![Target::Module(module)] };
        if head == "super" {
            return self.inside(parent(module), rest, seen);
        }
        match self.resolve_name(module, head, true, seen) {
            Some(found) => self.resolve_rest(found, rest, seen),
            None => vec![Target::Item(module)],
        }
    }

    fn resolve_rest<'a>(
        &'a self,
        found: Vec<Target<'a>>,
        rest: &[String],
        seen: &mut Vec<(String, String)>,
    ) -> Vec<Target<'a>> {
        let module = found.iter().find_map(|target| match target {
            Target::Module(module) => Some(*module),
            Target::Item(_) => None,
        });
        match module {
            Some(module) if !rest.is_empty() => self.inside(module, rest, seen),
            _ => found,
        }
    }

    /// Returns the targets of a name in `module`: `None` if it has no such name, no targets if the name comes
    /// from another crate.
    fn resolve_name<'a>(
        &'a self,
        module: &str,
        name: &str,
        from_outside: bool,
        seen: &mut Vec<(String, String)>,
    ) -> Option<Vec<Target<'a>>> {
        let (module, outline) = self.modules.get_key_value(module)?;
        let inner = self.modules.get_key_value(&child(module, name)).map(|(inner, _)| Target::Module(inner));
        let item = outline.items.contains(name).then_some(Target::Item(module));
        let mut found = inner.into_iter().chain(item).map(|target| vec![target]).reduce(joined);
        let key = (module.to_owned(), name.to_owned());
        if seen.contains(&key) {
            return found;
        }
        seen.push(key);
        let is_visible = |import: &&Import| import.at_top || !from_outside;
        for import in outline.imports.iter().filter(is_visible) {
            let named = if import.name == name {
                Some(self.start(module, &import.path, seen))
            } else if import.name == GLOB {
                self.resolve_glob(module, &import.path, name, seen)
            } else {
                None
            };
            found = found.into_iter().chain(named).reduce(joined);
        }
        seen.pop();
        found
    }

    fn resolve_glob<'a>(
        &'a self,
        module: &str,
        glob: &[String],
        name: &str,
        seen: &mut Vec<(String, String)>,
    ) -> Option<Vec<Target<'a>>> {
        let opened = self.start(module, glob, seen);
        opened.into_iter().find_map(|target| match target {
            Target::Module(opened) => self.resolve_name(opened, name, true, seen),
            Target::Item(_) => None,
        })
    }

    /// Returns true if a package's binary imports its library by this name.
    fn is_library_name(&self, name: &str) -> bool {
        let package = self.src.trim_end_matches("/src").rsplit('/').next().unwrap_or_default();
        name == package || name.strip_prefix("webgateway_") == Some(package)
    }
}

fn joined<'a>(mut all: Vec<Target<'a>>, more: Vec<Target<'a>>) -> Vec<Target<'a>> {
    all.extend(more);
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn krate(files: &[(&str, &str)]) -> Crate {
        let source =
            |(path, text): &(&str, &str)| Source { path: format!("x/src/{path}"), text: (*text).into() };
        let sources: Vec<Source> = files.iter().map(source).collect();
        Crate::new("x/src", sources.iter())
    }

    fn resolved<'a>(krate: &'a Crate, module: &str, path: &str) -> Vec<Target<'a>> {
        krate.resolve(module, &path.split("::").map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_path_resolves_to_the_module_that_defines_the_item() {
        let krate = krate(&[
            ("lib.rs", "mod a; mod d; pub use a::b::B; pub use serde::Serialize;"),
            ("a/mod.rs", "mod b; mod c; pub(crate) use b::B; pub use self::c::Long as Short; pub struct A;"),
            ("a/b.rs", "pub struct B;"),
            ("a/c.rs", "pub struct Long; pub use super::b::*;"),
            ("d.rs", "use crate::a::c; use crate::a::{self as first, Short};"),
        ]);
        for (module, path, expected) in [
            ("d", "crate::a::B", "a::b"),
            ("d", "crate::a::B::new", "a::b"),
            ("d", "crate::B", "a::b"),
            ("d", "super::B", "a::b"),
            ("d", "crate::a::Short", "a::c"),
            ("d", "Short", "a::c"),
            ("d", "c::B", "a::b"),
            ("d", "c::Long", "a::c"),
            ("d", "first::B", "a::b"),
            ("d", "crate::a::A", "a"),
            ("d", "crate::a::made_by_a_macro", "a"),
            ("a::b", "super::Short", "a::c"),
            ("a::b", "super::super::d::x", "d"),
            ("a::b", "super::super::a::A", "a"),
            ("", "x::B", "a::b"),
            ("", "webgateway_x::a::A", "a"),
        ] {
            assert_eq!(resolved(&krate, module, path), [Target::Item(expected)], "{module}: {path}");
        }
        assert_eq!(resolved(&krate, "d", "c"), [Target::Module("a::c")]);
        assert_eq!(resolved(&krate, "d", "crate::a"), [Target::Module("a")]);
    }

    #[test]
    fn names_of_other_crates_have_no_target() {
        let krate = krate(&[("lib.rs", "pub use serde::Serialize;"), ("a.rs", "use std::fmt;")]);
        for path in ["crate::Serialize", "fmt::Display", "Vec::new", "std::fs", "::a::x"] {
            assert_eq!(resolved(&krate, "a", path), [], "{path}");
        }
    }

    #[test]
    fn a_name_can_be_a_module_and_an_item() {
        let krate = krate(&[
            ("lib.rs", ""),
            ("a.rs", "mod b; pub use b::b;"),
            ("a/b.rs", "pub fn b() {}"),
            ("c.rs", ""),
        ]);
        assert_eq!(resolved(&krate, "c", "crate::a::b"), [Target::Module("a::b"), Target::Item("a::b")]);
        assert_eq!(resolved(&krate, "c", "crate::a::b::b"), [Target::Item("a::b")]);
    }

    #[test]
    fn resolution_ends_in_a_cycle_of_re_exports() {
        let krate = krate(&[
            ("lib.rs", ""),
            ("a.rs", "pub use crate::b::*;"),
            ("b.rs", "pub use crate::a::*; pub use y::y;"),
        ]);
        assert_eq!(resolved(&krate, "a", "crate::b::z"), [Target::Item("b")]);
        assert_eq!(resolved(&krate, "b", "crate::b::y"), []);
    }

    #[test]
    fn a_folder_with_a_root_is_a_crate() {
        let paths = [
            "x/src/lib.rs",
            "x/src/a.rs",
            "x/src/a/tests.rs",
            "x/src/bin/y/main.rs",
            "x/src/bin/y/b.rs",
            "x/build.rs",
        ];
        let source = |path: &str| Source { path: path.into(), text: String::new() };
        let found = crates(&paths.map(source));
        let shown: Vec<_> = found
            .iter()
            .map(|c| (c.src.as_str(), c.modules.keys().map(String::as_str).collect::<Vec<_>>()))
            .collect();
        assert_eq!(shown.len(), 2);
        assert_eq!((shown[0].0, shown[1].0), ("x/src", "x/src/bin/y"));
        assert_eq!((&shown[0].1, &shown[1].1), (&vec![ROOT, "a"], &vec![ROOT, "b"]));
    }

    #[test]
    fn descendants_are_recognised() {
        assert!(is_below("a::b::c", "a") && is_below("a", ROOT));
        assert!(!is_below("ab", "a") && !is_below("a", "a") && !is_below(ROOT, ROOT));
        assert_eq!((parent("a::b"), parent("a"), parent(ROOT)), ("a", ROOT, ROOT));
    }
}
