//! Host names in canonical form.

use std::borrow::Borrow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The maximum length of a host name, in bytes (RFC 1035 §2.3.4, without the trailing dot).
pub const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// A fully qualified host name: lower-case ASCII (IDNA A-labels), two labels or more, no trailing dot, at most
/// [`MAX_HOST`] bytes; never an IP address, never a wildcard.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(Arc<str>);

/// A text that is not a valid [`Host`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidHostError {
    /// The text is empty.
    #[error("the host is empty")]
    Empty,
    /// The host's ASCII form has more than [`MAX_HOST`] bytes.
    #[error("the host has {0} bytes, at most {MAX_HOST} are allowed")]
    TooLong(usize),
    /// The text is an IP address.
    #[error("`{0}` is an IP address, a host name is needed")]
    IpAddress(String),
    /// The text is a wildcard, such as `*.example.org`.
    #[error("`{0}` is a wildcard, a route has exactly one host")]
    Wildcard(String),
    /// A label is empty, as in `a..b` or `.a`.
    #[error("`{0}` has an empty label")]
    EmptyLabel(String),
    /// A label has more than 63 bytes.
    #[error("a label of `{0}` has more than 63 bytes")]
    LabelTooLong(String),
    /// The host has one label only, such as `localhost`.
    #[error("`{0}` has one label only, a fully qualified name such as app.example.org is needed")]
    SingleLabel(String),
    /// The text has characters that are not allowed in a host name.
    #[error("`{0}` is not a host name: labels are letters, digits and inner hyphens")]
    Forbidden(String),
}

impl Host {
    /// Parses a name in any case, Unicode or ASCII, with or without its trailing dot.
    pub fn parse(text: &str) -> Result<Self, InvalidHostError> {
        if text.is_empty() {
            return Err(InvalidHostError::Empty);
        }
        reject_other_kinds(text)?;
        let ascii = to_ascii(text)?;
        check_labels(&ascii, text)?;
        Ok(Self(ascii.into()))
    }

    /// Returns the name as it is sent in protocols: lower-case ASCII without a trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this name is below `parent`, at any depth.
    #[must_use]
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0.strip_suffix(&*parent.0).is_some_and(|rest| rest.ends_with('.'))
    }

    /// Returns whether this name is exactly one label below `parent`, so that `*.parent` covers it (RFC 9525 §6.3).
    #[must_use]
    pub fn is_child_of(&self, parent: &Self) -> bool {
        self.0.split_once('.').is_some_and(|(_, rest)| rest == &*parent.0)
    }

    /// Returns the name one label below this one.
    pub fn child(&self, label: &str) -> Result<Self, InvalidHostError> {
        if label.contains('.') {
            return Err(InvalidHostError::Forbidden(label.to_owned()));
        }
        if label.is_empty() {
            return Err(InvalidHostError::Empty);
        }
        Self::parse(&format!("{label}.{self}"))
    }
}

fn reject_other_kinds(text: &str) -> Result<(), InvalidHostError> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<Ipv6Addr>().is_ok() || text.trim_end_matches('.').parse::<Ipv4Addr>().is_ok() {
        return Err(InvalidHostError::IpAddress(text.to_owned()));
    }
    if text.contains('*') {
        return Err(InvalidHostError::Wildcard(text.to_owned()));
    }
    // IDNA would report an empty label as a forbidden character. A lone `.` is an empty label, too.
    let undotted = text.strip_suffix('.').unwrap_or(text);
    if undotted.split('.').any(str::is_empty) {
        return Err(InvalidHostError::EmptyLabel(text.to_owned()));
    }
    Ok(())
}

fn to_ascii(text: &str) -> Result<String, InvalidHostError> {
    let undotted = text.strip_suffix('.').unwrap_or(text);
    if undotted.is_ascii() && !undotted.to_ascii_lowercase().contains("xn--") {
        return Ok(undotted.to_ascii_lowercase());
    }
    idna::domain_to_ascii_cow(undotted.as_bytes(), idna::AsciiDenyList::STD3)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| InvalidHostError::Forbidden(text.to_owned()))
}

fn check_labels(ascii: &str, text: &str) -> Result<(), InvalidHostError> {
    if ascii.len() > MAX_HOST {
        return Err(InvalidHostError::TooLong(ascii.len()));
    }
    for label in ascii.split('.') {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if label.is_empty() {
            return Err(InvalidHostError::EmptyLabel(text.to_owned()));
        }
        if label.len() > MAX_LABEL {
            return Err(InvalidHostError::LabelTooLong(text.to_owned()));
        }
        if !label.bytes().all(inner) || label.starts_with('-') || label.ends_with('-') {
            return Err(InvalidHostError::Forbidden(text.to_owned()));
        }
    }
    let Some((_, last)) = ascii.rsplit_once('.') else {
        return Err(InvalidHostError::SingleLabel(text.to_owned()));
    };
    if is_number(last) {
        return Err(InvalidHostError::IpAddress(text.to_owned()));
    }
    Ok(())
}

/// Returns whether URL parsers read a name that ends in this label as an IPv4 address (WHATWG URL, "ends in a number").
fn is_number(last: &str) -> bool {
    let hex = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || last.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Allows lookups by `&str` in maps that are keyed by [`Host`]. The text must be in canonical form.
impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = InvalidHostError;

    fn from_str(text: &str) -> Result<Self, InvalidHostError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Host {
    type Error = InvalidHostError;

    fn try_from(text: String) -> Result<Self, InvalidHostError> {
        Self::parse(&text)
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests;
