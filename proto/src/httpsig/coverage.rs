//! The components that a signature must cover: the request's target, its body, and those that the operator requires.

use std::fmt;
use std::str::FromStr;

use http::{HeaderName, HeaderValue, Uri};
use serde::Deserialize;
use sfv::InnerList;
use thiserror::Error;

use super::error::SignatureError;

/// The derived components that can be required (RFC 9421 §2.2).
const DERIVED: [&str; 7] =
    ["@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"];

/// A component that the operator requires every signature to cover.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RequiredComponent(String);

/// A text that is not a valid [`RequiredComponent`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a component: one of {derived}, or a field's name in lower case, is needed", derived = DERIVED.join(", "))]
pub struct InvalidComponentError(String);

impl FromStr for RequiredComponent {
    type Err = InvalidComponentError;

    fn from_str(text: &str) -> Result<Self, InvalidComponentError> {
        let is_field = || HeaderName::from_str(text).is_ok_and(|name| name.as_str() == text);
        let is_component = if text.starts_with('@') { DERIVED.contains(&text) } else { is_field() };
        if is_component { Ok(Self(text.to_owned())) } else { Err(InvalidComponentError(text.to_owned())) }
    }
}

impl TryFrom<String> for RequiredComponent {
    type Error = InvalidComponentError;

    fn try_from(text: String) -> Result<Self, InvalidComponentError> {
        text.parse()
    }
}

impl fmt::Display for RequiredComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RequiredComponent {
    fn is_part_of(&self, whole: &str) -> bool {
        match whole {
            "@target-uri" => {
                matches!(self.0.as_str(), "@authority" | "@scheme" | "@path" | "@query" | "@request-target")
            }
            "@request-target" => matches!(self.0.as_str(), "@path" | "@query"),
            _ => false,
        }
    }

    /// Returns whether a signature covers this component, or one that contains it.
    fn is_covered(&self, input: &InnerList) -> bool {
        let wholes = ["@target-uri", "@request-target"];
        covers(input, &self.0) || wholes.iter().any(|whole| self.is_part_of(whole) && covers(input, whole))
    }
}

/// Returns the value of an Accept-Signature field (RFC 9421 §5.1), which lists the components for a client to cover. It
/// names no algorithm, because the key determines that.
#[must_use]
pub fn accept_signature(required: &[RequiredComponent]) -> HeaderValue {
    let mut covered = vec!["@method", "@target-uri", "content-digest"];
    for component in required {
        if !covered.contains(&component.0.as_str()) && !component.is_part_of("@target-uri") {
            covered.push(&component.0);
        }
    }
    let covered = covered.join("\" \"");
    let text = format!(r#"sig1=("{covered}");created;keyid;nonce"#);
    // Component names are valid in a field value.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Returns whether a signature covers the component with this name, without parameters.
pub(super) fn covers(input: &InnerList, name: &str) -> bool {
    let is_named = |item: &sfv::Item| {
        item.params.is_empty() && item.bare_item.as_string().is_some_and(|text| text.as_str() == name)
    };
    input.items.iter().any(is_named)
}

/// Checks that a signature covers the target of a request to `uri`, its body, and the `required` components.
///
/// `@request-target` suffices without `@method`, because every path accepts a single method.
pub(super) fn check(
    input: &InnerList,
    uri: &Uri,
    required: &[RequiredComponent],
) -> Result<(), SignatureError> {
    let covers = |name| covers(input, name);
    let uncovered = |name: &str| Err(SignatureError::Uncovered(name.to_owned()));
    if !covers("@request-target") {
        if !covers("@method") {
            return uncovered("@method");
        }
        if !covers("@target-uri") && !covers("@path") {
            return uncovered("@target-uri");
        }
        if !covers("@target-uri") && uri.query().is_some() && !covers("@query") {
            return uncovered("@query");
        }
    }
    if !covers("content-digest") {
        return uncovered("content-digest");
    }
    match required.iter().find(|component| !component.is_covered(input)) {
        Some(component) => uncovered(&component.0),
        None => Ok(()),
    }
}
