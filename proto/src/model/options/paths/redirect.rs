//! Redirects: a status, and a target that may keep the rest of the path.

use std::net::Ipv6Addr;

use http::StatusCode;
use http::uri::Authority;
use thiserror::Error;

use super::pattern::encode;

/// The maximum length of a redirect's target, in bytes.
pub const MAX_TARGET: usize = 2048;
/// The placeholder for the rest of the path.
const PATH: &str = "{path}";
/// The statuses of redirects to one target (RFC 9110 §15.4).
const STATUSES: [StatusCode; 5] = [
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    status: StatusCode,
    target: RedirectTarget,
}

/// The target of a redirect: an absolute http or https URL, or an absolute path of the same host.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RedirectTarget {
    /// The target, as the owner wrote it.
    text: Box<str>,
    /// The target up to the rest of the path, the query or the fragment.
    base: Box<str>,
    /// Appends the rest of the path.
    keeps_path: bool,
    /// The target's own query, without `?`.
    query: Option<Box<str>>,
    /// The target's fragment with `#`, or nothing.
    fragment: Box<str>,
}

/// An invalid redirect.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRedirectError {
    /// The status is not that of a redirect.
    #[error(
        "{0} is not the status of a redirect: 301 and 308 are permanent, 302, 303 and 307 temporary; 307 and 308 keep the method"
    )]
    Status(u16),
    /// The target is too long.
    #[error("the target of the redirect has {0} bytes, at most {MAX_TARGET} are allowed")]
    Length(usize),
    /// The target is neither an absolute URL nor an absolute path.
    #[error("`{0}` is not a target: write a URL such as https://example.org/new, or a path such as /new")]
    Form(String),
    /// The target has a character that no URL has.
    #[error(
        "the target `{0}` has a character that no URL has: write it percent-encoded, such as %C3%A9 for é"
    )]
    Character(String),
    /// The target's host or port is invalid, or it has a user name.
    #[error("the target `{0}` has no valid host and port")]
    Authority(String),
    /// The placeholder is not at the end of the path, or occurs twice.
    #[error("the target `{0}` has {PATH} inside its host, its path or its query: it can only end the path")]
    Placeholder(String),
}

impl Redirect {
    /// Makes a redirect to `target`, whose `{path}` stands for the rest of the path after the rule's prefix.
    pub fn new(status: u16, target: &str) -> Result<Self, InvalidRedirectError> {
        let known = STATUSES.into_iter().find(|known| known.as_u16() == status);
        let status = known.ok_or(InvalidRedirectError::Status(status))?;
        Ok(Self { status, target: RedirectTarget::parse(target)? })
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the target, as the owner wrote it.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target.text
    }

    /// Returns whether the target contains the rest of the path.
    #[must_use]
    pub const fn keeps_path(&self) -> bool {
        self.target.keeps_path
    }

    /// Returns the path of the target, if it is on the same host.
    pub(super) fn own_path(&self) -> Option<&str> {
        let base = &*self.target.base;
        if base.is_empty() { Some("/") } else { Some(base).filter(|base| base.starts_with('/')) }
    }

    /// Returns the value of Location for a request. `rest` is the rest of its path after the prefix, empty or with a
    /// leading slash; `query` is its query without `?`, which is kept unless the target has one. The value is ASCII
    /// without control characters and leads to no other host than the target.
    #[must_use]
    pub fn location(&self, rest: &str, query: Option<&str>) -> String {
        let RedirectTarget { base, keeps_path, query: own, fragment, .. } = &self.target;
        let mut location = base.to_string();
        if *keeps_path {
            location.push_str(&encode(rest, "/%"));
        }
        if location.is_empty() || location.starts_with("//") {
            // Browsers take `//` for the beginning of another host.
            location = format!("/{}", location.trim_start_matches('/'));
        }
        let query = own
            .as_deref()
            .map_or_else(|| query.map(|query| encode(query, "/?%")), |own| Some(own.to_owned()));
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            location.push('?');
            location.push_str(&query);
        }
        location + fragment
    }
}

impl RedirectTarget {
    fn parse(text: &str) -> Result<Self, InvalidRedirectError> {
        if text.len() > MAX_TARGET {
            return Err(InvalidRedirectError::Length(text.len()));
        }
        let is_end = |after: &str| after.is_empty() || after.starts_with(['?', '#']);
        let (base, after, keeps_path) = match text.split_once(PATH) {
            Some((base, after)) if base.contains(['?', '#']) || after.contains(PATH) || !is_end(after) => {
                return Err(InvalidRedirectError::Placeholder(text.to_owned()));
            }
            Some((base, after)) => (base, after, true),
            None => {
                let (base, after) = split_before(text, ['?', '#']);
                (base, after, false)
            }
        };
        let is_foreign = |b: u8| !b.is_ascii_graphic() || b"\"<>\\^`{|}".contains(&b);
        if base.bytes().chain(after.bytes()).any(is_foreign) {
            return Err(InvalidRedirectError::Character(text.to_owned()));
        }
        check_base(base, text)?;
        let (query, fragment) = split_before(after, ['#']);
        Ok(Self {
            text: text.into(),
            // The rest of the path begins with a slash.
            base: base.strip_suffix('/').filter(|_| keeps_path).unwrap_or(base).into(),
            keeps_path,
            query: query.strip_prefix('?').map(Into::into),
            fragment: fragment.into(),
        })
    }
}

/// Splits a text before the first of these characters.
fn split_before<const N: usize>(text: &str, marks: [char; N]) -> (&str, &str) {
    text.split_at(text.find(marks).unwrap_or(text.len()))
}

/// Checks that `base` is an absolute URL with a valid authority, or an absolute path.
fn check_base(base: &str, text: &str) -> Result<(), InvalidRedirectError> {
    let form = || InvalidRedirectError::Form(text.to_owned());
    if base.starts_with('/') {
        // `//host` is a URL without a scheme.
        return if base.starts_with("//") { Err(form()) } else { Ok(()) };
    }
    let (scheme, rest) = base.split_once("://").ok_or_else(form)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(form());
    }
    let (authority, _) = split_before(rest, ['/']);
    let invalid = || InvalidRedirectError::Authority(text.to_owned());
    let parsed: Authority = authority.parse().map_err(|_| invalid())?;
    let host = parsed.host();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    let is_port = authority.len() == host.len() || parsed.port_u16().is_some_and(|port| port > 0);
    // With a user name, the host does not begin the authority.
    if is_host && is_port && authority.starts_with(host) { Ok(()) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_keeps_the_query_and_if_wanted_the_path() {
        for (target, rest, query, location) in [
            ("https://x.example/new", "/a", None, "https://x.example/new"),
            ("https://x.example/new", "", Some("q=1"), "https://x.example/new?q=1"),
            ("https://x.example/new?own=1", "", Some("q=1"), "https://x.example/new?own=1"),
            ("https://x.example/new?", "", Some("q=1"), "https://x.example/new"),
            ("https://x.example/new#part", "", Some("q=1"), "https://x.example/new?q=1#part"),
            ("https://x.example/new{path}", "/a/b", Some("q=1"), "https://x.example/new/a/b?q=1"),
            ("https://x.example/new{path}", "", None, "https://x.example/new"),
            ("https://x.example{path}", "/a", None, "https://x.example/a"),
            ("https://x.example{path}", "", None, "https://x.example"),
            ("https://x.example/{path}", "/a", None, "https://x.example/a"),
            ("https://x.example{path}?own=1#part", "/a", Some("q"), "https://x.example/a?own=1#part"),
            ("HTTP://[2001:db8::1]:8080{path}", "/a", None, "HTTP://[2001:db8::1]:8080/a"),
            ("/new{path}", "/a", Some("q"), "/new/a?q"),
            ("/new", "/a", None, "/new"),
            ("/", "/a", None, "/"),
            ("/{path}", "", None, "/"),
        ] {
            let got = Redirect::new(301, target).unwrap().location(rest, query);
            assert_eq!(got, location, "{target} {rest} {query:?}");
        }
    }

    #[test]
    fn a_request_cannot_change_the_host_or_inject_fields() {
        for (target, rest, query, location) in [
            ("/{path}", "//evil.example", None, "/evil.example"),
            ("/{path}", "///evil.example", None, "/evil.example"),
            ("/{path}", "/\\evil.example", None, "/%5Cevil.example"),
            ("/{path}", "/%5cevil.example", None, "/%5cevil.example"),
            ("/new{path}", "//evil.example", None, "/new//evil.example"),
            ("https://x.example{path}", "//evil.example", None, "https://x.example//evil.example"),
            ("https://x.example{path}", "/@evil.example", None, "https://x.example/@evil.example"),
            ("/new{path}", "/\u{e9}\"<>", Some("\u{e9}\\{}"), "/new/%C3%A9%22%3C%3E?%C3%A9%5C%7B%7D"),
            ("/new{path}", "/%0d%0aX:%20y", Some("%0d%0a"), "/new/%0d%0aX:%20y?%0d%0a"),
        ] {
            let got = Redirect::new(308, target).unwrap().location(rest, query);
            assert_eq!(got, location, "{target} {rest}");
            assert!(http::HeaderValue::from_str(&got).is_ok());
        }
    }

    #[test]
    fn an_invalid_redirect_is_refused() {
        for status in [0, 200, 300, 304, 305, 306, 309, 404] {
            assert_eq!(Redirect::new(status, "/"), Err(InvalidRedirectError::Status(status)));
        }
        for target in [
            "",
            "new",
            "{path}",
            "example.org/new",
            "//evil.example/",
            "ftp://x.example/",
            "javascript://x",
            "mailto:a",
        ] {
            assert!(matches!(Redirect::new(302, target), Err(InvalidRedirectError::Form(_))), "{target}");
        }
        for target in [
            "https://",
            "https:///x",
            "https://user@x.example/",
            "https://user:pw@x.example/",
            "https://x.example:99999/",
            "https://x.example:0/",
            "https://x.example:/",
            "https://x.example:port/",
            "https://x$y/",
            "https://[2001:db8::/",
            "https://[x]/",
            "https://{path}",
        ] {
            assert!(
                matches!(Redirect::new(302, target), Err(InvalidRedirectError::Authority(_))),
                "{target}"
            );
        }
        for target in
            ["/\r\nX: y", "/\n", "/a b", "/\u{e9}", "/\\evil.example", "/a\"", "/{query}", "/<x>", "/\u{7f}"]
        {
            assert!(
                matches!(Redirect::new(302, target), Err(InvalidRedirectError::Character(_))),
                "{target}"
            );
        }
        for target in [
            "/a{path}b",
            "/{path}{path}",
            "/a?b={path}",
            "/a#{path}",
            "https://{path}.example/",
            "/{path}?x={path}",
        ] {
            assert!(
                matches!(Redirect::new(302, target), Err(InvalidRedirectError::Placeholder(_))),
                "{target}"
            );
        }
        let long = format!("/{}", "x".repeat(MAX_TARGET));
        assert_eq!(Redirect::new(302, &long), Err(InvalidRedirectError::Length(MAX_TARGET + 1)));
    }
}
