//! A single path rule.

use http::HeaderValue;
use thiserror::Error;

use super::pattern::{InvalidRulePathError, PathPattern, RulePath};
use super::redirect::{InvalidRedirectError, Redirect};
use crate::model::backend::{Backends, InvalidBackendsError, Prefixes};

/// A rule: a pattern, and what happens to requests whose path matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    pub(super) pattern: PathPattern,
    pub(super) action: PathAction,
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

impl PathRule {
    /// Makes a rule. `strip` removes the prefix of the path and `replace` replaces it.
    pub(super) fn forward(
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
    pub(super) fn redirect(
        pattern: PathPattern,
        status: u16,
        to: &str,
    ) -> Result<Self, InvalidPathRuleError> {
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
pub(super) fn parse_backends<S: AsRef<str>>(texts: &[S]) -> Result<Backends, InvalidPathRuleError> {
    if texts.is_empty() {
        return Err(InvalidPathRuleError::NoBackends);
    }
    Ok(Backends::parse(texts, &Prefixes::all())?)
}
