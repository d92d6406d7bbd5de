//! A host name in its one normal form.

use std::borrow::Borrow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest host name, in bytes (RFC 1035 §2.3.4, without the trailing dot).
pub const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// A fully qualified host name: lower-case ASCII (IDNA A-labels), two labels or more, no trailing dot,
/// at most [`MAX_HOST`] bytes; never an IP address, never a wildcard.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(Arc<str>);

/// Why a text is not a [`Host`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidHostError {
    /// Nothing was given.
    #[error("the host is empty")]
    Empty,
    /// Over [`MAX_HOST`] bytes in its ASCII form.
    #[error("the host has {0} bytes, at most {MAX_HOST} are allowed")]
    TooLong(usize),
    /// An IP address.
    #[error("`{0}` is an IP address, a host name is needed")]
    IpAddress(String),
    /// `*.example.org`.
    #[error("`{0}` is a wildcard, routes are for one host each")]
    Wildcard(String),
    /// `a..b`, `.a`.
    #[error("`{0}` has an empty label")]
    EmptyLabel(String),
    /// A label over 63 bytes.
    #[error("a label of `{0}` has more than 63 bytes")]
    LabelTooLong(String),
    /// `localhost`.
    #[error("`{0}` has one label only, a fully qualified name such as app.example.org is needed")]
    SingleLabel(String),
    /// Something no host name has.
    #[error("`{0}` is not a host name: labels are letters, digits and inner hyphens")]
    Forbidden(String),
}

impl Host {
    /// Parses a name in any case, Unicode or ASCII, with or without its trailing dot.
    pub fn parse(text: &str) -> Result<Self, InvalidHostError> {
        if text.is_empty() {
            return Err(InvalidHostError::Empty);
        }
        refuse_other_kinds(text)?;
        let ascii = to_ascii(text)?;
        check_labels(&ascii, text)?;
        Ok(Self(ascii.into()))
    }

    /// The name, as it goes on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name lies below `parent`, at any depth.
    #[must_use]
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0.strip_suffix(&*parent.0).is_some_and(|rest| rest.ends_with('.'))
    }

    /// Whether this name lies exactly one label below `parent`: what the wildcard `*.parent` covers (RFC 9525 §6.3).
    #[must_use]
    pub fn is_child_of(&self, parent: &Self) -> bool {
        self.0.split_once('.').is_some_and(|(_, rest)| rest == &*parent.0)
    }

    /// The name one label below `self`.
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

fn refuse_other_kinds(text: &str) -> Result<(), InvalidHostError> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<Ipv6Addr>().is_ok() || text.trim_end_matches('.').parse::<Ipv4Addr>().is_ok() {
        return Err(InvalidHostError::IpAddress(text.to_owned()));
    }
    if text.contains('*') {
        return Err(InvalidHostError::Wildcard(text.to_owned()));
    }
    // Said before IDNA, which has no word for it; `.` alone is what is left of an empty name.
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

/// Whether URL parsers read a name that ends in this label as an IPv4 address (WHATWG URL, "ends in a number").
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

/// Lets a map keyed by hosts be asked with a borrowed, already lower-case name.
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
