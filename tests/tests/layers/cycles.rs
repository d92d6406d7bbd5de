//! Import cycles: no two files of a crate, and no two folders, import each other, directly or indirectly.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::crates::{ROOT, is_below, parent};
use crate::graph::{Graph, shown};

/// An import: from, to, and a name imported.
type Edge<'a> = (&'a str, &'a str, &'a str);

/// The places that each place imports from, with one of these imports.
type Places<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Edge<'a>>>;

/// A known import cycle, listed by the import that is to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownCycle {
    /// The crate's folder of sources.
    pub(crate) src: String,
    /// The module that imports.
    pub(crate) from: String,
    /// The module that should not be imported.
    pub(crate) to: String,
}

impl KnownCycle {
    /// Reads the list: lines such as `dataplane/src: proxy -> http::body`, and comments after `#`.
    pub(crate) fn list(text: &str) -> Result<Vec<Self>, String> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let read = |line: &str| {
            let (src, edge) = line.split_once(": ")?;
            let (from, to) = edge.split_once(" -> ")?;
            Some(Self { src: src.to_owned(), from: from.to_owned(), to: to.to_owned() })
        };
        let entries = lines.filter(|line| !line.is_empty());
        entries.map(|line| read(line).ok_or_else(|| format!("`{line}` is not `SRC: FROM -> TO`"))).collect()
    }

    fn is(&self, from: &str, to: &str) -> bool {
        shown(from) == self.from && shown(to) == self.to
    }
}

/// Returns the cycles of a crate that are not listed, and the listed ones that no longer exist.
pub(crate) fn findings(src: &str, graph: &Graph, known: &[KnownCycle]) -> Vec<String> {
    let known: Vec<&KnownCycle> = known.iter().filter(|known| known.src == src).collect();
    let mut findings = cycles(graph, |from, to| known.iter().any(|known| known.is(from, to)));
    for entry in &known {
        let others = |from: &str, to: &str| known.iter().any(|known| known != entry && known.is(from, to));
        let is_alike = cycles(graph, others).iter().all(|cycle| findings.contains(cycle));
        if is_alike {
            findings.push(format!(
                "`{} -> {}` is in no cycle any more: remove it from known_cycles.txt",
                entry.from, entry.to
            ));
        }
    }
    findings
}

/// Returns one sentence for each set of files or folders that import each other, without the ignored imports.
fn cycles(graph: &Graph, is_ignored: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let edges: Vec<Edge<'_>> = graph.edges().filter(|(from, to, _)| !is_ignored(from, to)).collect();
    let files = places(&edges, Some);
    let of_files = components(&files);
    let mut found: Vec<String> = of_files
        .iter()
        .map(|component| text("file", &shortest_cycle(&files, component), component))
        .collect();
    let parents: BTreeSet<&str> = graph.imports.keys().map(|module| parent(module)).collect();
    for above in parents {
        let folders = places(&edges, |module| part_below(module, above));
        for component in components(&folders) {
            let cycle = shortest_cycle(&folders, &component);
            let is_shown_already = |(from, to, _): &Edge<'_>| {
                of_files.iter().any(|component| component.contains(from) && component.contains(to))
            };
            if !cycle.iter().all(is_shown_already) {
                found.push(text("folder", &cycle, &component));
            }
        }
    }
    found
}

/// Returns the imports between places, where `place_of` maps a module to its place.
fn places<'a>(edges: &[Edge<'a>], place_of: impl Fn(&'a str) -> Option<&'a str>) -> Places<'a> {
    let mut places = Places::new();
    for edge in edges {
        if let (Some(from), Some(to)) = (place_of(edge.0), place_of(edge.1))
            && from != to
        {
            places.entry(from).or_default().entry(to).or_insert(*edge);
        }
    }
    places
}

/// Returns the child of `above` that is or contains the module.
fn part_below<'a>(module: &'a str, above: &str) -> Option<&'a str> {
    let start = if above == ROOT { 0 } else { above.len() + "::".len() };
    let end = || module[start..].find("::").map_or(module.len(), |length| start + length);
    is_below(module, above).then(|| &module[..end()])
}

/// Returns the strongly connected components of two places or more.
fn components<'a>(places: &Places<'a>) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        places.keys().map(|start| (*start, reached_from(places, start).into_keys().collect())).collect();
    let leads_to = |from: &str, to: &str| reached.get(from).is_some_and(|reached| reached.contains(to));
    let component = |start: &&'a str| -> BTreeSet<&'a str> {
        let both_ways = places.keys().filter(|other| leads_to(start, other) && leads_to(other, start));
        both_ways.copied().collect()
    };
    let found: BTreeSet<BTreeSet<&str>> =
        places.keys().map(component).filter(|component| !component.is_empty()).collect();
    found.into_iter().collect()
}

/// Returns the places reachable from `start`, each with its predecessor on a shortest path.
fn reached_from<'a>(places: &Places<'a>, start: &'a str) -> BTreeMap<&'a str, &'a str> {
    let mut before = BTreeMap::new();
    let mut next = VecDeque::from([start]);
    while let Some(place) = next.pop_front() {
        for imported in places.get(place).into_iter().flat_map(BTreeMap::keys) {
            before.entry(*imported).or_insert_with(|| {
                next.push_back(imported);
                place
            });
        }
    }
    before
}

/// Returns the imports of the shortest cycle among these places.
fn shortest_cycle<'a>(places: &Places<'a>, component: &BTreeSet<&'a str>) -> Vec<Edge<'a>> {
    let around = |start: &&'a str| {
        let before = reached_from(places, start);
        let mut cycle = Vec::new();
        let mut place = *start;
        while let Some(from) = before.get(place) {
            cycle.extend(places.get(from).and_then(|imports| imports.get(place)));
            place = from;
            if place == *start {
                break;
            }
        }
        cycle.reverse();
        cycle
    };
    component.iter().map(around).min_by_key(Vec::len).unwrap_or_default()
}

fn text(what: &str, cycle: &[Edge<'_>], component: &BTreeSet<&str>) -> String {
    let import = |(from, to, name): &Edge<'_>| format!("`{}` imports `{}` ({name})", shown(from), shown(to));
    let imports: Vec<String> = cycle.iter().map(import).collect();
    let mut text = format!("a {what} cycle: {}", imports.join(", "));
    if component.len() > cycle.len() {
        let all: Vec<&str> = component.iter().map(|place| shown(place)).collect();
        text.push_str(&format!("; the cycles contain {}", all.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            graph.imports.entry((*to).to_owned()).or_default();
            graph.imports.entry((*from).to_owned()).or_default().insert((*to).to_owned(), "X".to_owned());
        }
        graph
    }

    fn cycles_of(edges: &[(&str, &str)], known: &str) -> Vec<String> {
        findings("x/src", &graph(edges), &KnownCycle::list(known).unwrap())
    }

    #[test]
    fn a_tree_has_no_cycle() {
        assert!(cycles_of(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d::e", "d")], "").is_empty());
    }

    #[test]
    fn a_cycle_of_files_is_shown() {
        let found = cycles_of(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")], "");
        assert_eq!(found, ["a file cycle: `a` imports `b` (X), `b` imports `c` (X), `c` imports `a` (X)"]);
    }

    #[test]
    fn the_shortest_cycle_is_shown_and_the_others_are_named() {
        let found = cycles_of(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "b")], "");
        let expected = "a file cycle: `b` imports `c` (X), `c` imports `b` (X); the cycles contain a, b, c";
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_parent_and_its_child_are_a_cycle() {
        assert_eq!(cycles_of(&[("a", "a::b"), ("a::b", "a")], "").len(), 1);
        assert_eq!(
            cycles_of(&[(ROOT, "a"), ("a", ROOT)], "")[0],
            "a file cycle: `crate` imports `a` (X), `a` imports `crate` (X)"
        );
    }

    #[test]
    fn a_cycle_of_folders_is_shown() {
        let found = cycles_of(&[("proxy", "http::body"), ("http::forward", "proxy")], "");
        let expected =
            "a folder cycle: `http::forward` imports `proxy` (X), `proxy` imports `http::body` (X)";
        assert_eq!(found, [expected]);
        assert_eq!(cycles_of(&[("a::b::c", "a::d"), ("a::d::e", "a::b::f")], "").len(), 1);
        assert!(cycles_of(&[("a::b", "a"), ("a", "a::c")], "").is_empty());
    }

    #[test]
    fn a_known_cycle_is_ignored_until_it_is_gone() {
        let cycle = [("a", "b"), ("b", "a"), ("b", "c")];
        assert!(cycles_of(&cycle, "# KnownCycle.\nx/src: b -> a # why\n").is_empty());
        assert!(cycles_of(&cycle, "x/src: a -> b").is_empty());
        assert_eq!(cycles_of(&cycle, "y/src: b -> a").len(), 1);
        assert_eq!(cycles_of(&cycle, "x/src: b -> c").len(), 2);
        assert_eq!(cycles_of(&cycle, "x/src: a -> b\nx/src: b -> c").len(), 1);
        assert_eq!(cycles_of(&[("a", "b")], "x/src: b -> a").len(), 1);
    }

    #[test]
    fn malformed_lists_are_refused() {
        assert!(KnownCycle::list("x/src: a").is_err());
        assert!(KnownCycle::list("a -> b").is_err());
    }
}
