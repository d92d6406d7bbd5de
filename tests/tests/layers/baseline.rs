//! Rules with exceptions: a text file lists the number of allowed findings for each place.
//!
//! `make baselines` rewrites these files; their totals may only shrink.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// True if a place with fewer findings than allowed fails the test, so that its number is lowered.
const STRICT: bool = true;

/// The places that break a rule, each with one string per finding.
pub(crate) type Found = BTreeMap<String, Vec<String>>;

/// A list of the allowed findings of a rule.
#[derive(Debug)]
pub(crate) struct Baseline {
    /// The name of the list's file in this folder.
    pub(crate) file: &'static str,
    /// The rule, as printed in messages.
    pub(crate) rule: &'static str,
    /// The comment at the start of the file, without `#`.
    pub(crate) header: &'static str,
    /// True if the places are files: findings may move to another file, unless the rules are strict.
    pub(crate) is_of_files: bool,
}

impl Baseline {
    /// Returns the rule and the places with more findings than the file allows, or nothing. Rewrites the file
    /// first if the environment variable `UPDATE` is set and the total does not grow.
    pub(crate) fn findings(&self, found: &Found) -> io::Result<Vec<String>> {
        let mut text = fs::read_to_string(self.path())?;
        if env::var_os("UPDATE").is_some() && !has_more(&read(&text).map_err(io::Error::other)?, found) {
            text = self.text(found);
            fs::write(self.path(), &text)?;
        }
        let allowed = read(&text).map_err(io::Error::other)?;
        let findings = compare(&allowed, found, STRICT, self.is_of_files && !STRICT);
        let rule = (!findings.is_empty()).then(|| format!("{}, and:", self.rule));
        Ok(rule.into_iter().chain(findings).collect())
    }

    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layers").join(self.file)
    }

    fn text(&self, found: &Found) -> String {
        let comments = self.header.lines().map(|line| format!("# {line}\n"));
        let entries = found.iter().map(|(place, times)| format!("{} {place}\n", times.len()));
        comments.chain(entries).collect()
    }
}

/// Parses lines of a number and a place; lines that begin with `#` are comments.
fn read(text: &str) -> Result<BTreeMap<&str, usize>, String> {
    let mut allowed = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts = line.split_once(' ').and_then(|(number, place)| Some((place, number.parse().ok()?)));
        let (place, number) = parts.ok_or_else(|| format!("`{line}` is not `NUMBER PLACE`"))?;
        allowed.insert(place, number);
    }
    Ok(allowed)
}

/// Returns true if there are more findings in total than allowed.
fn has_more(allowed: &BTreeMap<&str, usize>, found: &Found) -> bool {
    found.values().map(Vec::len).sum::<usize>() > allowed.values().sum()
}

/// Returns the places with more findings than allowed, and if `is_strict` also those with fewer.
///
/// A place without an entry may have no finding, except that with `may_move` findings may move there if the total of
/// the top folder does not grow.
fn compare(allowed: &BTreeMap<&str, usize>, found: &Found, is_strict: bool, may_move: bool) -> Vec<String> {
    let has_grown = |folder: &str| {
        let before: usize =
            allowed.iter().filter(|(place, _)| top(place) == folder).map(|(_, number)| number).sum();
        let now: usize =
            found.iter().filter(|(place, _)| top(place) == folder).map(|(_, times)| times.len()).sum();
        now > before
    };
    let more = found.iter().filter_map(|(place, times)| {
        let (number, entry) = (times.len(), allowed.get(place.as_str()));
        let is_moved = entry.is_none() && may_move && !has_grown(top(place));
        let most = entry.copied().unwrap_or_default();
        (number > most && !is_moved)
            .then(|| format!("{place}: {number} found, at most {most} allowed: {}", times.join(", ")))
    });
    let less = allowed.iter().filter_map(|(place, most)| {
        let number = found.get(*place).map_or(0, Vec::len);
        (is_strict && number < *most)
            .then(|| format!("{place}: {number} found: lower the number from {most}"))
    });
    more.chain(less).collect()
}

/// Returns the top folder of a place.
fn top(place: &str) -> &str {
    place.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(places: &[(&str, usize)]) -> Found {
        let times = |number| (1..=number).map(|line| format!("line {line}")).collect();
        places.iter().map(|(place, number)| ((*place).to_owned(), times(*number))).collect()
    }

    fn compared(allowed: &str, places: &[(&str, usize)], is_strict: bool) -> Vec<String> {
        compare(&read(allowed).unwrap(), &found(places), is_strict, false)
    }

    #[test]
    fn a_written_list_can_be_read() {
        let baseline =
            Baseline { file: "x.txt", rule: "so it is", header: "This is\na list.", is_of_files: false };
        let text = baseline.text(&found(&[("a/b c", 2), ("d", 1)]));
        assert_eq!(text, "# This is\n# a list.\n2 a/b c\n1 d\n");
        assert_eq!(read(&text).unwrap(), BTreeMap::from([("a/b c", 2), ("d", 1)]));
        assert!(read("a b").is_err());
        assert!(read("2").is_err());
    }

    #[test]
    fn a_list_does_not_grow() {
        let allowed = BTreeMap::from([("a/b", 2)]);
        assert!(has_more(&allowed, &found(&[("a/b", 1), ("a/c", 2)])));
        assert!(!has_more(&allowed, &found(&[("a/c", 2)])));
        assert!(!has_more(&allowed, &found(&[])));
    }

    #[test]
    fn more_findings_than_allowed_fail() {
        for is_strict in [false, true] {
            assert!(compared("2 a/b", &[("a/b", 2)], is_strict).is_empty());
            let worse = compared("1 a/b\n5 a/c", &[("a/b", 2), ("a/c", 5)], is_strict);
            assert_eq!(worse, ["a/b: 2 found, at most 1 allowed: line 1, line 2"]);
            assert_eq!(compared("2 a/b", &[("a/b", 2), ("a/c", 1)], is_strict).len(), 1);
            assert_eq!(compared("2 b/b", &[("a/c", 1), ("b/b", 2)], is_strict).len(), 1);
        }
    }

    #[test]
    fn fewer_findings_than_allowed_fail_if_strict() {
        for now in [&[("a/b", 1)][..], &[]] {
            assert!(compared("2 a/b", now, false).is_empty());
            assert_eq!(compared("2 a/b", now, true).len(), 1);
        }
    }

    #[test]
    fn findings_may_move() {
        let allowed = BTreeMap::from([("a/b", 3), ("c", 1)]);
        let moved = found(&[("a/b", 1), ("a/d", 2)]);
        assert!(compare(&allowed, &moved, false, true).is_empty());
        assert_eq!(compare(&allowed, &moved, false, false).len(), 1);
        let worse = found(&[("a/b", 2), ("a/d", 2)]);
        assert_eq!(compare(&allowed, &worse, false, true).len(), 1);
    }
}
