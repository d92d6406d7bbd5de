//! The JSON form of path rules.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::pattern::PathPattern;
use super::rule::{InvalidPathRuleError, PathAction, PathRule, Rewrite, parse_backends};
use crate::model::backend::Backend;
use crate::model::options::object::object;

/// A rule for paths, in JSON.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleSpec {
    /// The decoded path that the rule applies to, with everything below it. Either `prefix` or `exact` is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<String>,
    /// The only decoded path that the rule applies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) exact: Option<String>,
    /// The backends for these paths; if absent, those of the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backends: Option<Vec<String>>,
    /// True if backends get the path without the prefix, and the prefix as X-Forwarded-Prefix.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    strip_prefix: bool,
    /// A path that replaces the prefix in requests to backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replace_prefix: Option<String>,
    /// A redirect, instead of backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redirect: Option<RedirectObject>,
}

/// A redirect, in JSON.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RedirectSpec {
    /// The status: 301, 302, 303, 307 or 308.
    status: u16,
    /// An http or https URL, or a path. `{path}` at the end of its path stands for the rest of the request's path after
    /// the prefix. The request's query is kept unless the target has one.
    to: String,
}

/// A [`RedirectSpec`] that is deserialized from objects only.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct RedirectObject(RedirectSpec);

/// A [`RuleSpec`] that is deserialized from objects only.
pub(super) struct RuleObject(pub(super) RuleSpec);

impl<'de> Deserialize<'de> for RedirectObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for RuleObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

impl TryFrom<RuleSpec> for PathRule {
    type Error = InvalidPathRuleError;

    fn try_from(spec: RuleSpec) -> Result<Self, InvalidPathRuleError> {
        let pattern = match (&spec.prefix, &spec.exact) {
            (Some(prefix), None) => PathPattern::prefix(prefix)?,
            (None, Some(exact)) => PathPattern::exact(exact)?,
            (Some(_), Some(_)) | (None, None) => return Err(InvalidPathRuleError::Pattern),
        };
        let RuleSpec { backends, strip_prefix, replace_prefix, redirect, .. } = spec;
        if let Some(RedirectObject(RedirectSpec { status, to })) = redirect {
            if backends.is_some() || strip_prefix || replace_prefix.is_some() {
                return Err(InvalidPathRuleError::RedirectOnly);
            }
            return Self::redirect(pattern, status, &to);
        }
        let backends = backends.map(|texts| parse_backends(&texts)).transpose()?;
        Self::forward(pattern, backends, strip_prefix, replace_prefix.as_deref())
    }
}

impl From<PathRule> for RuleSpec {
    fn from(PathRule { pattern, action }: PathRule) -> Self {
        let path = pattern.path().to_owned();
        let mut spec = match pattern {
            PathPattern::Exact(_) => Self { exact: Some(path), ..Self::default() },
            PathPattern::Prefix(_) => Self { prefix: Some(path), ..Self::default() },
        };
        match action {
            PathAction::Forward { backends, rewrite } => {
                spec.backends =
                    backends.map(|backends| backends.as_slice().iter().map(Backend::to_string).collect());
                match rewrite {
                    Rewrite::Keep => {}
                    Rewrite::Strip(_) => spec.strip_prefix = true,
                    Rewrite::Replace { path, .. } => spec.replace_prefix = Some(path.as_str().to_owned()),
                }
            }
            PathAction::Redirect(redirect) => {
                let (status, to) = (redirect.status().as_u16(), redirect.target().to_owned());
                spec.redirect = Some(RedirectObject(RedirectSpec { status, to }));
            }
        }
        spec
    }
}
