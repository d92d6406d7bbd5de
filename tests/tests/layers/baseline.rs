//! Rules that today's code does not keep everywhere: a text file says how often each place may break one.
//!
//! `make baselines` writes these files anew. They may only get better.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Makes a place that has become better a finding until its number is lowered. Off while many branches are merged.
const STRICT: bool = true;

/// The places that break a rule, each with one string for every time that it does.
pub(crate) type Found = BTreeMap<String, Vec<String>>;

/// A list of how often each place may break a rule.
#[derive(Debug)]
pub(crate) struct Baseline {
    /// The name of its file, beside this one.
    pub(crate) file: &'static str,
    /// The rule, as findings say it.
    pub(crate) rule: &'static str,
    /// The text of the file's first lines, without `#`.
    pub(crate) header: &'static str,
    /// True if the places are files: code may move from one to another, unless the rules are strict.
    pub(crate) is_of_files: bool,
}

impl Baseline {
    /// Returns the rule and the places that break it more often than the file allows, or nothing. Writes the file
    /// anew first if the environment has `UPDATE`.
    pub(crate) fn findings(&self, found: &Found) -> io::Result<Vec<String>> {
        if env::var_os("UPDATE").is_some() {
            fs::write(self.path(), self.text(found))?;
        }
        let text = fs::read_to_string(self.path())?;
        let allowed = read(&text).map_err(io::Error::other)?;
        let findings = judge(&allowed, found, STRICT, self.is_of_files && !STRICT);
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

/// Reads lines of a number and a place; lines that begin with `#` are comments.
fn read(text: &str) -> Result<BTreeMap<&str, usize>, String> {
    let mut allowed = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let parts = line.split_once(' ').and_then(|(number, place)| Some((place, number.parse().ok()?)));
        let (place, number) = parts.ok_or_else(|| format!("`{line}` is not `NUMBER PLACE`"))?;
        allowed.insert(place, number);
    }
    Ok(allowed)
}

/// Returns the places that break the rule more often than they may, if `is_strict` also those that do so less often.
///
/// A place without an entry may not break it at all; but if `may_move`, code may have moved there, as long as the
/// top folder has not become worse.
fn judge(allowed: &BTreeMap<&str, usize>, found: &Found, is_strict: bool, may_move: bool) -> Vec<String> {
    let is_worse = |folder: &str| {
        let before: usize =
            allowed.iter().filter(|(place, _)| top(place) == folder).map(|(_, number)| number).sum();
        let now: usize =
            found.iter().filter(|(place, _)| top(place) == folder).map(|(_, times)| times.len()).sum();
        now > before
    };
    let more = found.iter().filter_map(|(place, times)| {
        let (number, entry) = (times.len(), allowed.get(place.as_str()));
        let is_moved = entry.is_none() && may_move && !is_worse(top(place));
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

    fn judged(allowed: &str, places: &[(&str, usize)], is_strict: bool) -> Vec<String> {
        judge(&read(allowed).unwrap(), &found(places), is_strict, false)
    }

    #[test]
    fn what_is_written_is_read() {
        let baseline =
            Baseline { file: "x.txt", rule: "so it is", header: "This is\na list.", is_of_files: false };
        let text = baseline.text(&found(&[("a/b c", 2), ("d", 1)]));
        assert_eq!(text, "# This is\n# a list.\n2 a/b c\n1 d\n");
        assert_eq!(read(&text).unwrap(), BTreeMap::from([("a/b c", 2), ("d", 1)]));
        assert!(read("a b").is_err());
        assert!(read("2").is_err());
    }

    #[test]
    fn a_place_does_not_become_worse() {
        for is_strict in [false, true] {
            assert!(judged("2 a/b", &[("a/b", 2)], is_strict).is_empty());
            let worse = judged("1 a/b\n5 a/c", &[("a/b", 2), ("a/c", 5)], is_strict);
            assert_eq!(worse, ["a/b: 2 found, at most 1 allowed: line 1, line 2"]);
            assert_eq!(judged("2 a/b", &[("a/b", 2), ("a/c", 1)], is_strict).len(), 1);
            assert_eq!(judged("2 b/b", &[("a/c", 1), ("b/b", 2)], is_strict).len(), 1);
        }
    }

    #[test]
    fn a_better_place_is_corrected_if_strict() {
        for now in [&[("a/b", 1)][..], &[]] {
            assert!(judged("2 a/b", now, false).is_empty());
            assert_eq!(judged("2 a/b", now, true).len(), 1);
        }
    }

    #[test]
    fn code_may_move() {
        let allowed = BTreeMap::from([("a/b", 3), ("c", 1)]);
        let moved = found(&[("a/b", 1), ("a/d", 2)]);
        assert!(judge(&allowed, &moved, false, true).is_empty());
        assert_eq!(judge(&allowed, &moved, false, false).len(), 1);
        let worse = found(&[("a/b", 2), ("a/d", 2)]);
        assert_eq!(judge(&allowed, &worse, false, true).len(), 1);
    }
}
