//! The paths that rules match, in the form that requests are compared with.

use std::cmp::Reverse;
use std::fmt;

use thiserror::Error;

/// The maximum length of a path in a rule, in bytes.
pub const MAX_RULE_PATH: usize = 1024;

/// A decoded path that every server reads in the same way: it has no encodings, parameters or query, no empty segment
/// except at its end, and no segment that ends in a dot or a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePath(Box<str>);

/// A text that is not a valid [`RulePath`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRulePathError {
    /// The text does not begin with a slash.
    #[error("`{0}` is not a path: it must begin with `/`")]
    Start(String),
    /// The text is longer than [`MAX_RULE_PATH`].
    #[error("the path has {0} bytes, at most {MAX_RULE_PATH} are allowed")]
    Length(usize),
    /// The path is percent-encoded.
    #[error("the path `{0}` is encoded: write it decoded, such as /café instead of /caf%C3%A9")]
    Encoded(String),
    /// The path has a character that ends or changes a path.
    #[error(
        "the path `{0}` has a `{1}`: a rule's path has no query, fragment, parameters, backslashes or control characters"
    )]
    Character(String, char),
    /// A segment is read differently by different servers.
    #[error(
        "the path `{0}` has an empty segment (`//`), or one that ends in a dot or a space: servers do not agree on these"
    )]
    Segment(String),
}

/// The paths that a rule applies to. Upper and lower case of ASCII letters are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// This path alone. A slash at the end makes another path.
    Exact(RulePath),
    /// This path and everything below it, `/api` and `/api/x`, but not `/apix`. It has no slash at the end.
    Prefix(RulePath),
}

impl RulePath {
    /// Parses a path.
    pub fn parse(text: &str) -> Result<Self, InvalidRulePathError> {
        let Some(below_root) = text.strip_prefix('/') else {
            return Err(InvalidRulePathError::Start(text.to_owned()));
        };
        if text.len() > MAX_RULE_PATH {
            return Err(InvalidRulePathError::Length(text.len()));
        }
        if text.contains('%') {
            return Err(InvalidRulePathError::Encoded(text.to_owned()));
        }
        let is_foreign = |c: char| c.is_control() || matches!(c, '?' | '#' | ';' | '\\');
        if let Some(foreign) = text.chars().find(|c| is_foreign(*c)) {
            return Err(InvalidRulePathError::Character(text.to_owned(), foreign));
        }
        let segments = below_root.strip_suffix('/').unwrap_or(below_root);
        let is_clear = |segment: &str| !segment.is_empty() && !segment.ends_with(['.', ' ']);
        if below_root.is_empty() || segments.split('/').all(is_clear) {
            return Ok(Self(text.into()));
        }
        Err(InvalidRulePathError::Segment(text.to_owned()))
    }

    /// Returns the decoded path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path as it is written in a request (RFC 3986 §3.3).
    #[must_use]
    pub fn encoded(&self) -> String {
        encode(&self.0, "/")
    }

    /// Returns the path without the slash at its end; the root becomes empty.
    fn without_final_slash(self) -> Self {
        match self.0.strip_suffix('/') {
            Some(path) => Self(path.into()),
            None => self,
        }
    }
}

impl PathPattern {
    /// Makes the pattern of one path.
    pub fn exact(text: &str) -> Result<Self, InvalidRulePathError> {
        RulePath::parse(text).map(Self::Exact)
    }

    /// Makes the pattern of a path and everything below it. A slash at the end makes no difference.
    pub fn prefix(text: &str) -> Result<Self, InvalidRulePathError> {
        RulePath::parse(text).map(|path| Self::Prefix(path.without_final_slash()))
    }

    /// Returns whether a decoded path matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(RulePath(exact)) => path.eq_ignore_ascii_case(exact),
            Self::Prefix(RulePath(prefix)) => {
                let (path, prefix) = (path.as_bytes(), prefix.as_bytes());
                path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
                    && matches!(path.get(prefix.len()), None | Some(b'/'))
            }
        }
    }

    /// Returns the prefix with its leading slash, without a slash at the end; the root is empty.
    #[must_use]
    pub fn as_prefix(&self) -> Option<&RulePath> {
        match self {
            Self::Exact(_) => None,
            Self::Prefix(prefix) => Some(prefix),
        }
    }

    /// Returns the path, as an owner writes it.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Exact(RulePath(path)) => path,
            Self::Prefix(RulePath(path)) if path.is_empty() => "/",
            Self::Prefix(RulePath(path)) => path,
        }
    }

    /// Returns whether both patterns match the same paths.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.as_prefix().is_some() == other.as_prefix().is_some()
            && self.path().eq_ignore_ascii_case(other.path())
    }

    /// Returns the key that sorts patterns so that the first match is the most specific one: exact paths, then prefixes
    /// by their length.
    pub(super) fn order(&self) -> impl Ord + use<> {
        (self.as_prefix().is_some(), Reverse(self.path().len()), self.path().to_ascii_lowercase())
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.as_prefix().is_none() { "exact:" } else { "" };
        write!(f, "{kind}{}", self.path())
    }
}

/// Percent-encodes the bytes of `text` that are neither allowed in a segment of a path nor in `also`.
pub(super) fn encode(text: &str, also: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(c) || also.contains(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_servers_read_differently_is_no_rule() {
        for text in
            ["/", "/api", "/api/", "/a/b.c", "/.well-known/x", "/..a", "/é ü/x", "/a=b,c&d@e:f", "/~u/{id}"]
        {
            assert_eq!(RulePath::parse(text).unwrap().as_str(), text);
        }
        for (text, word) in [
            ("", "must begin"),
            ("api", "must begin"),
            ("https://example.org/", "must begin"),
            ("/a%2fb", "decoded"),
            ("/100%", "decoded"),
            ("/a?b", "`?`"),
            ("/a#b", "`#`"),
            ("/a;b", "`;`"),
            ("/a\\b", "`\\`"),
            ("/a\nb", "control"),
            ("//", "empty segment"),
            ("//a", "empty segment"),
            ("/a//b", "empty segment"),
            ("/a//", "empty segment"),
            ("/.", "dot"),
            ("/a/../b", "dot"),
            ("/a/./", "dot"),
            ("/a./b", "dot"),
            ("/a /b", "space"),
        ] {
            let error = RulePath::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        let long = format!("/{}", "x".repeat(MAX_RULE_PATH));
        assert_eq!(RulePath::parse(&long), Err(InvalidRulePathError::Length(MAX_RULE_PATH + 1)));
    }

    #[test]
    fn prefixes_end_at_segments() {
        for (prefix, path, is_match) in [
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api", "/api/x", true),
            ("/api", "/apix", false),
            ("/api", "/ap", false),
            ("/api", "/", false),
            ("/api", "/x/api", false),
            ("/api/", "/api", true),
            ("/api/", "/api/x", true),
            ("/API", "/api/x", true),
            ("/api", "/Api/X", true),
            ("/a/b", "/a/b/c", true),
            ("/a/b", "/a", false),
            ("/", "/", true),
            ("/", "/x/y", true),
            ("/é", "/é/x", true),
            ("/e", "/é", false),
            ("/api", "*", false),
            ("/", "*", false),
        ] {
            assert_eq!(PathPattern::prefix(prefix).unwrap().matches(path), is_match, "{prefix} {path}");
        }
        for (exact, path, is_match) in [
            ("/a", "/a", true),
            ("/a", "/A", true),
            ("/a", "/a/", false),
            ("/a/", "/a/", true),
            ("/a/", "/a", false),
            ("/a", "/a/b", false),
            ("/", "/", true),
            ("/", "/a", false),
        ] {
            assert_eq!(PathPattern::exact(exact).unwrap().matches(path), is_match, "{exact} {path}");
        }
    }

    #[test]
    fn a_path_is_encoded_for_a_request() {
        for (text, encoded) in [
            ("/a/b", "/a/b"),
            ("/é x", "/%C3%A9%20x"),
            ("/a=b,c&d@e:f", "/a=b,c&d@e:f"),
            ("/{id}|\"", "/%7Bid%7D%7C%22"),
        ] {
            assert_eq!(RulePath::parse(text).unwrap().encoded(), encoded);
        }
    }
}
