//! Changes of header fields in one direction.

use http::{HeaderName, HeaderValue};
use thiserror::Error;

/// The maximum number of changes in one direction.
pub const MAX_HEADER_CHANGES: usize = 64;
/// The maximum size of the names and values in one direction, in bytes.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

/// The changes of header fields in one direction: first fields are removed, then set, then added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderChanges {
    remove: Box<[HeaderName]>,
    set: Box<[HeaderField]>,
    add: Box<[HeaderField]>,
}

/// The name and value of a header field.
pub type HeaderField = (HeaderName, HeaderValue);

/// An invalid change of header fields.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidHeaderError {
    /// The name is not that of a field.
    #[error("`{0}` is not the name of a header field")]
    Name(String),
    /// The gateway itself sets or interprets the field.
    #[error("`{0}` cannot be changed: {1}")]
    Owned(HeaderName, &'static str),
    /// The value is not valid.
    #[error(
        "the value of `{0}` must be printable ASCII characters, spaces and tabs, without white space at its ends"
    )]
    Value(HeaderName),
    /// A field is set or removed twice.
    #[error("`{0}` is given twice; upper and lower case are the same")]
    Duplicate(HeaderName),
    /// There are too many changes.
    #[error("{0} changes of header fields given, at most {MAX_HEADER_CHANGES} are allowed in each direction")]
    TooMany(usize),
    /// The names and values are too long.
    #[error(
        "the changes of header fields have {0} bytes, at most {MAX_HEADER_BYTES} are allowed in each direction"
    )]
    TooLong(usize),
}

impl HeaderChanges {
    /// Parses the names to remove, and the fields to set and to add.
    pub fn parse(
        remove: &[&str],
        set: &[(&str, &str)],
        add: &[(&str, &str)],
    ) -> Result<Self, InvalidHeaderError> {
        let count = remove.len() + set.len() + add.len();
        if count > MAX_HEADER_CHANGES {
            return Err(InvalidHeaderError::TooMany(count));
        }
        let remove: Vec<HeaderName> = remove.iter().copied().map(parse_name).collect::<Result<_, _>>()?;
        let set: Vec<HeaderField> = set.iter().copied().map(parse_field).collect::<Result<_, _>>()?;
        let add: Vec<HeaderField> = add.iter().copied().map(parse_field).collect::<Result<_, _>>()?;
        refuse_duplicates(remove.iter())?;
        refuse_duplicates(set.iter().map(|(name, _)| name))?;
        let names: usize = remove.iter().map(|name| name.as_str().len()).sum();
        let fields = set.iter().chain(&add).map(|(name, value)| name.as_str().len() + value.len());
        let bytes = names + fields.sum::<usize>();
        if bytes > MAX_HEADER_BYTES {
            return Err(InvalidHeaderError::TooLong(bytes));
        }
        Ok(Self { remove: remove.into(), set: set.into(), add: add.into() })
    }

    /// Returns whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Returns the fields that are removed first.
    #[must_use]
    pub fn remove(&self) -> &[HeaderName] {
        &self.remove
    }

    /// Returns the fields that are set next, each replacing all fields of the same name.
    #[must_use]
    pub fn set(&self) -> &[HeaderField] {
        &self.set
    }

    /// Returns the fields that are added last, to those of the same name.
    #[must_use]
    pub fn add(&self) -> &[HeaderField] {
        &self.add
    }

    /// Returns the fields of which the sender's values are dropped.
    pub fn replaced(&self) -> impl Iterator<Item = &HeaderName> {
        self.remove.iter().chain(self.set.iter().map(|(name, _)| name))
    }

    /// Returns a short description of the changes.
    pub(super) fn describe(&self) -> String {
        let field = |verb: &str, (name, value): &HeaderField| {
            format!("{verb} {name}: {}", value.to_str().unwrap_or_default())
        };
        let removed = self.remove.iter().map(|name| format!("remove {name}"));
        let set = self.set.iter().map(|one| field("set", one));
        removed.chain(set).chain(self.add.iter().map(|one| field("add", one))).collect::<Vec<_>>().join(", ")
    }
}

/// Parses the name of a field that may be changed.
fn parse_name(text: &str) -> Result<HeaderName, InvalidHeaderError> {
    let name: HeaderName = text.parse().map_err(|_| InvalidHeaderError::Name(text.to_owned()))?;
    match owned(name.as_str()) {
        Some(reason) => Err(InvalidHeaderError::Owned(name, reason)),
        None => Ok(name),
    }
}

fn parse_field((name, text): (&str, &str)) -> Result<HeaderField, InvalidHeaderError> {
    let name = parse_name(name)?;
    // RFC 9113 §8.2.1: a value with white space at its ends is malformed.
    let value = HeaderValue::from_str(text).ok().filter(|_| text.trim_matches([' ', '\t']) == text);
    match value.filter(|value| value.to_str().is_ok()) {
        Some(value) => Ok((name, value)),
        None => Err(InvalidHeaderError::Value(name)),
    }
}

fn refuse_duplicates<'a>(names: impl Iterator<Item = &'a HeaderName>) -> Result<(), InvalidHeaderError> {
    let mut names: Vec<&HeaderName> = names.collect();
    names.sort_unstable_by_key(|name| name.as_str());
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(InvalidHeaderError::Duplicate(pair[0].clone())),
        None => Ok(()),
    }
}

/// Returns why a field cannot be changed, if the gateway owns it. Servers like those of CGI read `_` as `-`.
fn owned(name: &str) -> Option<&'static str> {
    let name = name.replace('_', "-");
    let starts = |prefix| name.starts_with(prefix);
    match name.as_str() {
        "host" => Some("the option `host_header` decides about it"),
        "connection" | "keep-alive" | "te" | "upgrade" | "http2-settings" => {
            Some("it concerns one connection only (RFC 9110 §7.6.1)")
        }
        "content-length" | "transfer-encoding" | "trailer" | "expect" => {
            Some("the gateway frames messages itself")
        }
        "forwarded" | "via" | "cdn-loop" | "x-real-ip" | "x-request-id" | "max-forwards" | "date" => {
            Some("the gateway sets it itself")
        }
        _ if starts("x-forwarded-") => Some("the gateway sets it itself"),
        _ if starts("proxy-") => Some("it is between the gateway and its clients"),
        _ if starts("sec-websocket-") => Some("it belongs to the handshake of WebSocket"),
        _ => None,
    }
}
