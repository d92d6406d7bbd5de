//! Rules for paths: to other backends, with another path, or redirects.

mod compact;
mod pattern;
mod redirect;
mod rule;
mod spec;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::pattern::{InvalidRulePathError, MAX_RULE_PATH, PathPattern, RulePath};
pub use self::redirect::{InvalidRedirectError, MAX_TARGET, Redirect};
pub use self::rule::{InvalidPathRuleError, PathAction, PathRule, Rewrite};
use self::spec::{RuleObject, RuleSpec};
use crate::model::backend::Backend;
use crate::model::words::Describe;

/// The maximum number of rules of a route.
pub const MAX_PATH_RULES: usize = 64;
/// The maximum number of different backends in all rules of a route together.
pub const MAX_RULE_BACKENDS: usize = 128;

/// At most [`MAX_PATH_RULES`] rules, sorted so that the first match is the most specific one: exact paths, then prefixes
/// by their length. The order in which they were given makes no difference.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<RuleObject>", into = "Vec<RuleSpec>")]
#[schemars(with = "Vec<RuleSpec>")]
pub struct PathRules {
    rules: Box<[PathRule]>,
    /// The different backends of all rules.
    backends: Box<[Backend]>,
}

/// A list that is not a valid [`PathRules`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPathRulesError {
    /// There are too many rules.
    #[error("{0} path rules given, at most {MAX_PATH_RULES} are allowed")]
    TooMany(usize),
    /// There are too many backends.
    #[error("the path rules have {0} different backends, at most {MAX_RULE_BACKENDS} are allowed")]
    TooManyBackends(usize),
    /// Two rules match the same paths.
    #[error("two path rules are for `{0}`; upper and lower case are the same")]
    Duplicate(String),
    /// A rule is invalid.
    #[error("path rule {0}: {1}")]
    Rule(String, InvalidPathRuleError),
}

impl PathRules {
    /// Makes a list of these rules.
    pub fn new(mut rules: Vec<PathRule>) -> Result<Self, InvalidPathRulesError> {
        if rules.len() > MAX_PATH_RULES {
            return Err(InvalidPathRulesError::TooMany(rules.len()));
        }
        rules.sort_by_cached_key(|rule| rule.pattern.order());
        for (i, rule) in rules.iter().enumerate() {
            if rules.iter().skip(i + 1).any(|other| rule.pattern.is_same(&other.pattern)) {
                return Err(InvalidPathRulesError::Duplicate(rule.pattern.to_string()));
            }
        }
        let mut backends: Vec<Backend> =
            rules.iter().filter_map(PathRule::backends).flat_map(|own| own.as_slice().to_vec()).collect();
        backends.sort_unstable();
        backends.dedup();
        if backends.len() > MAX_RULE_BACKENDS {
            return Err(InvalidPathRulesError::TooManyBackends(backends.len()));
        }
        let rules = Self { rules: rules.into(), backends: backends.into() };
        rules.refuse_loops()?;
        Ok(rules)
    }

    /// Refuses a redirect to a path of the same host that has the same rule.
    fn refuse_loops(&self) -> Result<(), InvalidPathRulesError> {
        for (i, rule) in self.rules.iter().enumerate() {
            let PathAction::Redirect(redirect) = &rule.action else { continue };
            if redirect.own_path().is_some_and(|path| self.position(path) == Some(i)) {
                let reason = InvalidPathRuleError::Loop(redirect.target().to_owned());
                return Err(InvalidPathRulesError::Rule(format!("`{}`", rule.pattern), reason));
            }
        }
        Ok(())
    }

    /// Returns whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns the position of the most specific rule that matches a decoded path.
    #[must_use]
    pub fn position(&self, path: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.pattern.matches(path))
    }

    /// Returns the rules, the most specific ones first.
    #[must_use]
    pub fn as_slice(&self) -> &[PathRule] {
        &self.rules
    }

    /// Returns the backends of all rules, each once.
    #[must_use]
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    pub(super) fn sample() -> Self {
        let text = ["/api=[400::2]:8080,strip", "exact:/old=301:https://www.example.org/new"];
        let rules = text.iter().filter_map(|text| text.parse().ok()).collect();
        Self::new(rules).unwrap_or_default()
    }
}

impl TryFrom<Vec<RuleObject>> for PathRules {
    type Error = InvalidPathRulesError;

    fn try_from(specs: Vec<RuleObject>) -> Result<Self, InvalidPathRulesError> {
        if specs.len() > MAX_PATH_RULES {
            return Err(InvalidPathRulesError::TooMany(specs.len()));
        }
        let parse = |(index, RuleObject(spec)): (usize, RuleObject)| {
            let path = spec.prefix.as_ref().or(spec.exact.as_ref());
            let name = path.map_or_else(|| (index + 1).to_string(), |path| format!("`{path}`"));
            PathRule::try_from(spec).map_err(|error| InvalidPathRulesError::Rule(name, error))
        };
        Self::new(specs.into_iter().enumerate().map(parse).collect::<Result<_, _>>()?)
    }
}

impl From<PathRules> for Vec<RuleSpec> {
    fn from(rules: PathRules) -> Self {
        rules.rules.into_iter().map(RuleSpec::from).collect()
    }
}

impl Describe for PathRules {
    fn describe(&self) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        self.rules.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests;
