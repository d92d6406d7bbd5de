//! The outline of a source file: the items it declares, its imports, and the paths its code names.
//!
//! Items with `#[cfg(test)]` are left out.

use std::collections::BTreeSet;

use crate::tokens::tokens;

const ITEMS: &[&str] =
    &["struct", "enum", "union", "trait", "type", "fn", "const", "static", "mod", "macro_rules"];
const END_WITH_SEMICOLON: &[&str] = &["use", "const", "static", "type", "extern"];
const END_WITH_BLOCK: &[&str] =
    &["fn", "mod", "struct", "enum", "union", "impl", "trait", "async", "unsafe", "macro_rules"];

/// The name of a glob import.
pub(crate) const GLOB: &str = "*";

/// A name imported by a `use`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// The local name, or [`GLOB`].
    pub(crate) name: String,
    /// The path as written, without the `*` of a glob; the first segment is empty if it starts with `::`.
    pub(crate) path: Vec<String>,
    /// True for a re-export.
    pub(crate) public: bool,
    /// True if the import is outside every block, so that other modules can name it.
    pub(crate) at_top: bool,
}

/// The items, imports and paths of a file.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// The items declared at the top of the file, inline modules among them.
    pub(crate) items: BTreeSet<String>,
    /// Every name imported by a `use`.
    pub(crate) imports: Vec<Import>,
    /// The paths of two segments or more in the code, once per occurrence, relative to the top of the file; the first
    /// segment is empty if the path starts with `::`.
    pub(crate) paths: Vec<Vec<String>>,
    /// The single words in the code, except those after a dot.
    pub(crate) words: BTreeSet<String>,
}

impl Outline {
    /// Adds the other file's outline: a package's library and program share their root.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.items.extend(other.items);
        self.imports.extend(other.imports);
        self.paths.extend(other.paths);
        self.words.extend(other.words);
    }

    /// Reads a file's text.
    pub(crate) fn of(text: &str) -> Self {
        let tokens = tokens(text);
        let mut reader =
            Reader { tokens: &tokens, at: 0, depth: 0, inline: Vec::new(), outline: Self::default() };
        while reader.at < tokens.len() {
            reader.step();
        }
        reader.outline
    }
}

struct Reader<'a> {
    tokens: &'a [&'a str],
    at: usize,
    depth: usize,
    /// The depths at which inline modules began.
    inline: Vec<usize>,
    outline: Outline,
}

impl<'a> Reader<'a> {
    fn token(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).copied().unwrap_or_default()
    }

    fn previous(&self) -> &'a str {
        self.at.checked_sub(1).map_or("", |before| self.tokens[before])
    }

    fn step(&mut self) {
        match self.token(0) {
            "#" if self.is_cfg_test() => self.skip_test_item(),
            "(" | "[" | "{" => self.open(),
            ")" | "]" | "}" => self.close(),
            "pub" => self.visibility(),
            "use" if self.token(1) != "<" => self.import(false),
            word if is_identifier(word) => self.word(word),
            _ => self.at += 1,
        }
    }

    fn open(&mut self) {
        self.depth += 1;
        self.at += 1;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.inline.last() == Some(&self.depth) {
            self.inline.pop();
        }
        self.at += 1;
    }

    fn visibility(&mut self) {
        self.at += 1;
        let is_restricted =
            self.token(0) == "(" && matches!(self.token(1), "crate" | "super" | "self" | "in");
        if is_restricted {
            while !matches!(self.token(0), ")" | "") {
                self.at += 1;
            }
            self.at += 1;
        }
        if self.token(0) == "use" {
            self.import(true);
        }
    }

    fn import(&mut self, public: bool) {
        self.at += 1;
        let mut prefix = Vec::new();
        if self.token(0) == "::" {
            prefix.push(String::new());
            self.at += 1;
        }
        self.use_tree(&prefix, public);
        while !matches!(self.token(0), ";" | "") {
            self.at += 1;
        }
    }

    /// Reads `a::{b::C, d as e, f::*}` and adds an import for every name.
    fn use_tree(&mut self, prefix: &[String], public: bool) {
        let mut path = prefix.to_vec();
        loop {
            match self.token(0) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.token(0), "}" | "") {
                        self.use_tree(&path, public);
                        self.at += usize::from(self.token(0) == ",");
                    }
                    self.at += 1;
                    return;
                }
                GLOB => {
                    self.at += 1;
                    return self.add_import(GLOB, path, public);
                }
                "" | ";" | "," | "}" => return,
                word => path.push(word.to_owned()),
            }
            self.at += 1;
            if self.token(0) != "::" {
                break;
            }
            self.at += 1;
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if self.token(0) == "as" {
            self.token(1).clone_into(&mut name);
            self.at += 2;
        }
        self.add_import(&name, path, public);
    }

    fn add_import(&mut self, name: &str, path: Vec<String>, public: bool) {
        let at_top = self.depth == 0;
        let Some(path) = self.seen_from_the_file(path) else { return };
        self.outline.imports.push(Import { name: name.to_owned(), path, public, at_top });
    }

    /// Returns the path as seen from the top of the file; none if it stays inside an inline module.
    fn seen_from_the_file(&self, mut path: Vec<String>) -> Option<Vec<String>> {
        let inside = self.inline.len();
        let ups = path.iter().take_while(|segment| *segment == "super").count();
        let is_inner = inside > 0 && path.first().is_some_and(|first| first == "self");
        if inside == 0 || ups == 0 {
            return (!is_inner).then_some(path);
        }
        path.drain(..ups.min(inside));
        if ups == inside {
            path.insert(0, "self".to_owned());
        }
        (ups >= inside).then_some(path)
    }

    fn word(&mut self, word: &'a str) {
        if self.depth == self.inline.len() && ITEMS.contains(&word) {
            self.item(word);
        }
        let before = self.previous();
        let is_absolute = before == "::" && !self.follows_a_path();
        let continues = matches!(before, "." | "::") && !is_absolute || before == "$" && word != "crate";
        let head = is_absolute.then(String::new);
        let mut path: Vec<String> = head.into_iter().chain([word.to_owned()]).collect();
        self.at += 1;
        while self.token(0) == "::" && is_identifier(self.token(1)) {
            path.push(self.token(1).to_owned());
            self.at += 2;
        }
        if continues {
            return;
        }
        if path.len() == 1 {
            self.outline.words.insert(word.to_owned());
        } else if let Some(path) = self.seen_from_the_file(path) {
            self.outline.paths.push(path);
        }
    }

    /// Returns true if the `::` just read follows a name or a `>`.
    fn follows_a_path(&self) -> bool {
        let before = self.at.checked_sub(2).map_or("", |before| self.tokens[before]);
        before == ">" || is_identifier(before)
    }

    /// Notes the item that the keyword declares, if it declares one.
    fn item(&mut self, keyword: &str) {
        let name = if self.token(1) == "!" { self.token(2) } else { self.token(1) };
        if !is_identifier(name) || ITEMS.contains(&name) {
            return;
        }
        if keyword == "mod" && self.token(2) != "{" {
            // Its name is no use of a function that is called the same.
            self.at += 1;
            return;
        }
        if self.depth == 0 {
            self.outline.items.insert(name.to_owned());
        }
        if keyword == "mod" {
            self.inline.push(self.depth);
        }
    }

    fn is_cfg_test(&self) -> bool {
        self.tokens[self.at..].starts_with(&["#", "[", "cfg", "(", "test", ")", "]"])
    }

    /// Skips a `#[cfg(test)]` and the item, field or statement after it.
    fn skip_test_item(&mut self) {
        self.at += 7;
        while self.token(0) == "#" {
            self.at += 1;
            self.skip_brackets();
        }
        if self.token(0) == "pub" {
            self.at += 1;
            if self.token(0) == "(" {
                self.skip_brackets();
            }
        }
        let keyword = self.token(0);
        let ends_with_semicolon = END_WITH_SEMICOLON.contains(&keyword) && self.token(1) != "fn";
        let ends_with_block =
            !ends_with_semicolon && (END_WITH_BLOCK.contains(&keyword) || keyword == "const");
        loop {
            match self.token(0) {
                "" | ")" | "]" | "}" => return,
                ";" => break,
                "," if !ends_with_semicolon && !ends_with_block => break,
                "{" if ends_with_block => return self.skip_brackets(),
                "(" | "[" | "{" => self.skip_brackets(),
                _ => self.at += 1,
            }
        }
        self.at += 1;
    }

    /// Skips from an opening bracket past the matching closing one.
    fn skip_brackets(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            match self.token(0) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}

fn is_identifier(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(name: &str, path: &str) -> Import {
        let path = path.split("::").map(str::to_owned).collect();
        Import { name: name.to_owned(), path, public: false, at_top: true }
    }

    fn paths(text: &str) -> Vec<String> {
        let mut paths: Vec<String> = Outline::of(text).paths.iter().map(|path| path.join("::")).collect();
        paths.sort();
        paths
    }

    fn words(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(String::as_str).collect()
    }

    #[test]
    fn imports_are_read() {
        let outline = Outline::of("use a::{self, b::C as D, e::{f, g}, h::*};\nuse i as _;\nuse ::j::k;");
        let expected = [
            import("a", "a"),
            import("D", "a::b::C"),
            import("f", "a::e::f"),
            import("g", "a::e::g"),
            import(GLOB, "a::h"),
            import("_", "i"),
            import("k", "::j::k"),
        ];
        assert_eq!(outline.imports, expected);
    }

    #[test]
    fn re_exports_are_marked() {
        let text = "pub use a::b; pub(super) use c::d; pub(in crate::x) use e::f; fn g() { use h::i; }";
        let imports = Outline::of(text).imports;
        let marks: Vec<_> = imports.iter().map(|i| (i.name.as_str(), i.public, i.at_top)).collect();
        assert_eq!(marks, [("b", true, true), ("d", true, true), ("f", true, true), ("i", false, false)]);
    }

    #[test]
    fn items_are_those_at_the_top() {
        let text = "pub struct A<T>(fn(T)); const B: u8 = 1; const fn c() { struct D; } macro_rules! e { () => {} }\n\
                    mod f; mod g { pub fn h() {} } impl A { fn i() {} const _J: u8 = 2; } pub(crate) type K = u8;";
        assert_eq!(words(&Outline::of(text).items), ["A", "B", "K", "c", "e", "g"]);
    }

    #[test]
    fn paths_and_words_are_read() {
        let text =
            "fn f(a: b::C<crate::d::E>) { a.g::<h::I>(); <J as k::L>::m(); n!(\"o::p\", q::r); super::s(t) }";
        assert_eq!(paths(text), ["b::C", "crate::d::E", "h::I", "k::L", "q::r", "super::s"]);
        let outline = Outline::of("mod a; fn b() { c.d(e) }");
        assert_eq!(words(&outline.words), ["b", "c", "e", "fn", "mod"]);
        assert_eq!(paths("fn f() { (::a::b, <C>::d, $e::f) }"), ["::a::b"]);
        assert_eq!(paths("macro_rules! a { ($b:ident) => { $b::c; $crate::d::e } }"), ["crate::d::e"]);
    }

    #[test]
    fn paths_in_inline_modules_are_seen_from_the_file() {
        let text = "mod a { use super::B; use self::c; fn d() { super::super::e(); super::f::g(); h::i() } }\n\
                    fn j() { super::k() }";
        assert_eq!(Outline::of(text).imports[0].path, ["self", "B"]);
        assert_eq!(Outline::of(text).imports.len(), 1);
        assert_eq!(paths(text), ["h::i", "self::f::g", "super::e", "super::k"]);
    }

    #[test]
    fn tests_are_left_out() {
        let text = "#[cfg(test)]\nmod a { b::c }\n#[cfg(test)] pub(crate) mod d;\n#[cfg(test)]\n#[expect(x)]\n\
                    fn e<T, U>(f: [u8; 2]) { g::h }\n#[cfg(test)] use i::{j, k};\n\
                    struct L { #[cfg(test)] m: fn(n::O), p: q::R }\nconst S: [u8; 1] = t::u;";
        let outline = Outline::of(text);
        assert_eq!(paths(text), ["q::R", "t::u"]);
        assert_eq!(words(&outline.items), ["L", "S"]);
        assert!(outline.imports.is_empty());
    }
}
