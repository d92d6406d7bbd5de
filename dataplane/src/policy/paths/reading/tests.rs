//! Readings of single paths, and that two of them decide about all others.

use proptest::prelude::*;
use webgateway_proto::model::options::PathRules;

use super::*;

#[test]
fn a_path_is_read_strictly_and_leniently() {
    for path in ["/", "/a", "/a/", "/a.b/.well-known/x~y", "/a=b,c&d@e:f/(x)'*+!$"] {
        assert_eq!(read(path), Some(Readings::Same(path)));
    }
    for (path, strict, lenient) in [
        ("/%61pi", "/api", "/api"),
        ("/%C3%A9/\u{e9}", "/\u{e9}/\u{e9}", "/\u{e9}/\u{e9}"),
        ("//api", "//api", "/api"),
        ("/api//x/", "/api//x/", "/api/x/"),
        ("/api//", "/api//", "/api/"),
        ("/a%2fb", "/a%2Fb", "/a/b"),
        ("/a%2F", "/a%2F", "/a/"),
        ("/a%252fb", "/a%2fb", "/a/b"),
        ("/a\\b%5cc", "/a\\b\\c", "/a/b/c"),
        ("/a;x=1/b", "/a;x=1/b", "/a/b"),
        ("/a%3bx/b", "/a;x/b", "/a/b"),
        ("/;x/a", "/;x/a", "/a"),
        ("/a%3fb/c", "/a?b/c", "/a"),
        ("/a%23/b", "/a#/b", "/a"),
        ("/a./b.%20", "/a./b. ", "/a/b"),
        ("/%20/a", "/ /a", "/a"),
        ("/100%25", "/100%", "/100%"),
        ("/{a}|\"", "/{a}|\"", "/{a}|\""),
    ] {
        let expected = Readings::Different { strict: strict.to_owned(), lenient: lenient.to_owned() };
        assert_eq!(read(path), Some(expected), "{path}");
    }
}

#[test]
fn an_ambiguous_path_has_no_readings() {
    for path in [
        "*",
        "",
        "api",
        "/.",
        "/..",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/...",
        "/%2e%2e/a",
        "/.%2E/a",
        "/a%2f..",
        "/a%2f%2e%2e%2fb",
        "/a%252f..%252fb",
        "/%252e%252e/a",
        "/..\\a",
        "/a\\..\\b",
        "/..;/a",
        "/..;x=1/a",
        "/.;/a",
        "/..%3b/a",
        "/..%20/a",
        "/%20../a",
        "/..%3fx",
        "/a%3f/../b",
        "/a%3f%2f..",
        "/a%00",
        "/a%0a",
        "/a%0d%0aX: y",
        "/a%7f",
        "/a%c2%85",
        "/%zz",
        "/%",
        "/a%2",
        "/%u002e",
        "/%c0%ae%c0%ae/a",
        "/%e0%80%af",
        "/%ff",
        "/a;b%2fc",
        "/a;b\\c",
        "/a;b%3fc",
        "/a%25252525252f",
    ] {
        assert_eq!(read(path), None, "{path}");
    }
}

/// A server, by what it does to a path.
#[derive(Debug, Clone, Copy)]
struct Server {
    decodings: usize,
    splits_slashes: bool,
    splits_backslashes: bool,
    ends_at_query: bool,
    drops_parameters: Option<bool>,
    merges_slashes: bool,
    trims: bool,
    resolves_dots: bool,
}

fn servers() -> impl Strategy<Value = Server> {
    let flags = (any::<[bool; 5]>(), 1..4usize, any::<Option<bool>>(), any::<bool>());
    flags.prop_map(|([a, b, c, d, e], decodings, drops_parameters, resolves_dots)| Server {
        decodings,
        splits_slashes: a,
        splits_backslashes: b,
        ends_at_query: c,
        drops_parameters,
        merges_slashes: d,
        trims: e,
        resolves_dots,
    })
}

impl Server {
    /// Returns the path that this server finds. A slash inside a segment is shown as `%2F`.
    fn find(self, path: &str) -> String {
        let mut segments: Vec<String> = path[1..].split('/').map(str::to_owned).collect();
        // Some servers drop parameters before they decode, others after that.
        let drop_parameters = |segments: &mut Vec<String>| {
            segments.iter_mut().for_each(|segment| *segment = without_parameters(segment).to_owned());
        };
        if self.drops_parameters == Some(true) {
            drop_parameters(&mut segments);
        }
        for segment in &mut segments {
            for level in 0..self.decodings {
                *segment = decode(segment, level == 0).unwrap().into_owned();
            }
        }
        let split = |segments: &mut Vec<String>, separator: char| {
            *segments = segments.iter().flat_map(|one| one.split(separator).map(str::to_owned)).collect();
        };
        if self.ends_at_query
            && let Some(at) = segments.iter().position(|segment| segment.contains(['?', '#']))
        {
            segments.truncate(at + 1);
            let last = segments[at].find(['?', '#']).unwrap();
            segments[at].truncate(last);
        }
        if self.splits_slashes {
            split(&mut segments, '/');
        }
        if self.splits_backslashes {
            split(&mut segments, '\\');
        }
        if self.drops_parameters == Some(false) {
            drop_parameters(&mut segments);
        }
        if self.trims {
            let trim = |one: &mut String| *one = one.trim_end_matches(['.', ' ']).to_owned();
            segments.iter_mut().for_each(trim);
        }
        if self.merges_slashes {
            let ends_in_slash = segments.last().is_some_and(String::is_empty);
            segments.retain(|segment| !segment.is_empty());
            segments.extend(ends_in_slash.then(String::new));
        }
        if self.resolves_dots {
            let mut resolved = Vec::new();
            for segment in segments {
                match segment.as_str() {
                    "." => {}
                    ".." => drop(resolved.pop()),
                    _ => resolved.push(segment),
                }
            }
            segments = resolved;
        }
        segments.iter().map(|segment| format!("/{}", segment.replace('/', "%2F"))).collect()
    }
}

fn paths() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "/", "/", "/", "a", "a", "b", "c", "A", "%61", "%2561", "%2f", "%252F", "\\", "%5c", ";", "%3b", "x",
        ".", "..", "%2e", "%20", " ", "%3f", "%23", "=", "\u{e9}", "%25",
    ];
    let part = proptest::sample::select(PARTS);
    proptest::collection::vec(part, 0..9).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_server_finds_the_same_rule(path in paths(), servers in proptest::collection::vec(servers(), 20)) {
        let texts = ["/a", "exact:/a", "exact:/a/", "/a/b", "exact:/a/b", "/a/b/c", "/b", "exact:/c", "exact:/"];
        let rules = PathRules::new(texts.iter().map(|text| text.parse().unwrap()).collect()).unwrap();
        let found = match read(&path) {
            None => return Ok(()),
            Some(Readings::Same(path)) => rules.position(path),
            Some(Readings::Different { strict, lenient }) => {
                let found = rules.position(&strict);
                if found != rules.position(&lenient) {
                    return Ok(());
                }
                found
            }
        };
        for server in servers {
            let read = server.find(&path);
            prop_assert_eq!(rules.position(&read), found, "{} is {} for {:?}", path, read, server);
        }
    }
}
