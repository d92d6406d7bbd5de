//! Rules for paths: to other backends, with another path, or redirects.

mod compact;
mod pattern;
mod redirect;
mod spec;

use http::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::pattern::{InvalidRulePathError, MAX_RULE_PATH, PathPattern, RulePath};
pub use self::redirect::{InvalidRedirectError, MAX_TARGET, Redirect};
use self::spec::{RuleObject, RuleSpec};
use crate::model::backend::{Backend, Backends, InvalidBackendsError, Prefixes};
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

/// A rule: a pattern, and what happens to requests whose path matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    pattern: PathPattern,
    action: PathAction,
}

/// The action of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathAction {
    /// The request is forwarded.
    Forward {
        /// The backends to choose from; `None` for those of the route.
        backends: Option<Backends>,
        /// The change of the path.
        rewrite: Rewrite,
    },
    /// The request is redirected.
    Redirect(Redirect),
}

/// The change of the path of a forwarded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// The path stays as it is.
    Keep,
    /// The prefix is removed, and sent as X-Forwarded-Prefix.
    Strip(HeaderValue),
    /// The prefix is replaced.
    Replace {
        /// The path that replaces it, as the owner wrote it.
        path: RulePath,
        /// The same path as it is written in a request, without a slash at its end; the root is empty.
        encoded: Box<str>,
    },
}

/// An invalid rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPathRuleError {
    /// The rule has no pattern, or two.
    #[error("give either `prefix` or `exact`")]
    Pattern,
    /// A path is invalid.
    #[error(transparent)]
    Path(#[from] InvalidRulePathError),
    /// The list of backends is empty.
    #[error("its list of backends is empty: leave `backends` out to use those of the route")]
    NoBackends,
    /// The backends are invalid.
    #[error(transparent)]
    Backends(#[from] InvalidBackendsError),
    /// The prefix is both stripped and replaced.
    #[error("`strip_prefix` and `replace_prefix` exclude each other")]
    TwoRewrites,
    /// The rule has no prefix that could be stripped or replaced.
    #[error(
        "`strip_prefix`, `replace_prefix` and {{path}} need `prefix`: an exact path has nothing after it"
    )]
    ExactRewrite,
    /// The prefix is the root.
    #[error("nothing can be stripped from the prefix `/`")]
    StripRoot,
    /// The rule redirects, and has properties of a forwarded request.
    #[error("a redirect has no `backends`, `strip_prefix` or `replace_prefix`")]
    RedirectOnly,
    /// The redirect is invalid.
    #[error(transparent)]
    Redirect(#[from] InvalidRedirectError),
    /// The redirect leads to a path that has the same rule.
    #[error("it redirects to itself: `{0}` has the same rule")]
    Loop(String),
    /// The compact form has a URL that is no redirect.
    #[error(
        "`{0}` is no target: write a backend as [400::1]:8080, or a redirect with its status, such as 302:https://example.org/"
    )]
    Target(String),
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

impl PathRule {
    /// Makes a rule. `strip` removes the prefix of the path and `replace` replaces it.
    fn forward(
        pattern: PathPattern,
        backends: Option<Backends>,
        strip: bool,
        replace: Option<&str>,
    ) -> Result<Self, InvalidPathRuleError> {
        let rewrite = match (pattern.as_prefix(), strip, replace) {
            (_, false, None) => Rewrite::Keep,
            (_, true, Some(_)) => return Err(InvalidPathRuleError::TwoRewrites),
            (None, ..) => return Err(InvalidPathRuleError::ExactRewrite),
            (Some(_), false, Some(replace)) => {
                let path = RulePath::parse(replace)?;
                let encoded = path.encoded();
                Rewrite::Replace { path, encoded: encoded.strip_suffix('/').unwrap_or(&encoded).into() }
            }
            (Some(prefix), true, None) if prefix.as_str().is_empty() => {
                return Err(InvalidPathRuleError::StripRoot);
            }
            (Some(prefix), true, None) => {
                // An encoded path is always a valid field value.
                let value = HeaderValue::try_from(prefix.encoded());
                Rewrite::Strip(value.unwrap_or_else(|_| HeaderValue::from_static("/")))
            }
        };
        Ok(Self { pattern, action: PathAction::Forward { backends, rewrite } })
    }

    /// Makes a rule that redirects.
    fn redirect(pattern: PathPattern, status: u16, to: &str) -> Result<Self, InvalidPathRuleError> {
        let redirect = Redirect::new(status, to)?;
        if redirect.keeps_path() && pattern.as_prefix().is_none() {
            return Err(InvalidPathRuleError::ExactRewrite);
        }
        Ok(Self { pattern, action: PathAction::Redirect(redirect) })
    }

    /// Returns the pattern of the paths that the rule applies to.
    #[must_use]
    pub const fn pattern(&self) -> &PathPattern {
        &self.pattern
    }

    /// Returns what happens to requests.
    #[must_use]
    pub const fn action(&self) -> &PathAction {
        &self.action
    }

    /// Returns the rule's own backends, if it has any.
    #[must_use]
    pub const fn backends(&self) -> Option<&Backends> {
        match &self.action {
            PathAction::Forward { backends, .. } => backends.as_ref(),
            PathAction::Redirect(_) => None,
        }
    }
}

/// Parses backends at any address. The allowed prefixes are checked where they are known.
fn parse_backends<S: AsRef<str>>(texts: &[S]) -> Result<Backends, InvalidPathRuleError> {
    if texts.is_empty() {
        return Err(InvalidPathRuleError::NoBackends);
    }
    Ok(Backends::parse(texts, &Prefixes::all())?)
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
