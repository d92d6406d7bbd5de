//! The compact form of a rule, on the command line and in descriptions: `PATTERN=TARGET`.
//!
//! A pattern is a prefix, or `exact:` and a path. A target is a list of backends, `strip` and `replace:PATH`, separated
//! by commas, or a redirect `STATUS:TARGET`. Without a target, the backends are those of the route.

use std::fmt;
use std::str::FromStr;

use super::pattern::PathPattern;
use super::rule::{InvalidPathRuleError, PathAction, PathRule, Rewrite, parse_backends};

const EXACT: &str = "exact:";
const STRIP: &str = "strip";
const REPLACE: &str = "replace:";

impl FromStr for PathRule {
    type Err = InvalidPathRuleError;

    fn from_str(text: &str) -> Result<Self, InvalidPathRuleError> {
        let (pattern, target) = match text.split_once('=') {
            Some((pattern, target)) => (pattern, Some(target)),
            None => (text, None),
        };
        let pattern = match pattern.strip_prefix(EXACT) {
            Some(path) => PathPattern::exact(path)?,
            None => PathPattern::prefix(pattern)?,
        };
        let Some(target) = target else { return Self::forward(pattern, None, false, None) };
        if let Some((status, to)) = split_redirect(target) {
            return Self::redirect(pattern, status, to);
        }
        if target.contains("://") {
            return Err(InvalidPathRuleError::Target(target.to_owned()));
        }
        // The replacement is the last word, as it may contain commas.
        let (words, replace) = match target.find(REPLACE).filter(|at| is_word(target, *at)) {
            Some(at) => (target[..at].trim_end_matches(','), target.get(at + REPLACE.len()..)),
            None => (target, None),
        };
        let words: Vec<&str> =
            words.split(',').filter(|word| !(word.is_empty() && replace.is_some())).collect();
        let backends: Vec<&str> = words.iter().copied().filter(|word| *word != STRIP).collect();
        let own = if backends.is_empty() { None } else { Some(parse_backends(&backends)?) };
        Self::forward(pattern, own, backends.len() < words.len(), replace)
    }
}

/// Splits a redirect into its status and its target; `None` if the text is no redirect.
fn split_redirect(text: &str) -> Option<(u16, &str)> {
    let (status, to) = text.split_once(':')?;
    let is_status = status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit());
    // `400::1` is an address, not a status.
    let is_target = to.starts_with('/') || to.contains("://");
    status.parse().ok().filter(|_| is_status && is_target).map(|status| (status, to))
}

/// Returns whether a word of a list that is separated by commas begins at this position.
fn is_word(text: &str, at: usize) -> bool {
    at == 0 || text[..at].ends_with(',')
}

impl fmt::Display for PathRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pattern)?;
        let (backends, rewrite) = match &self.action {
            PathAction::Redirect(redirect) => {
                return write!(f, "={}:{}", redirect.status().as_u16(), redirect.target());
            }
            PathAction::Forward { backends, rewrite } => (backends, rewrite),
        };
        let own = backends.iter().flat_map(|backends| backends.as_slice());
        let mut words: Vec<String> = own.map(ToString::to_string).collect();
        match rewrite {
            Rewrite::Keep => {}
            Rewrite::Strip(_) => words.push(STRIP.to_owned()),
            Rewrite::Replace { path, .. } => words.push(format!("{REPLACE}{}", path.as_str())),
        }
        if words.is_empty() { Ok(()) } else { write!(f, "={}", words.join(",")) }
    }
}
