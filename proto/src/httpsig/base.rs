//! The signature base (RFC 9421 §2.5) and the derived components (§2.2).

use std::fmt::Write;

use http::{HeaderMap, HeaderName, Method, Uri};
use sfv::{FieldType, InnerList, Item, ListEntry};
use thiserror::Error;

/// The head of the message that is signed or verified. The URI is absolute, as the client sent it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The method, for the component `@method`.
    pub method: &'a Method,
    /// The URI, for `@target-uri` and the components that are parts of it.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// A covered component that cannot be derived from the message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ComponentError {
    /// The derived component, or a parameter of a component, is not supported.
    #[error("the component {0} is not supported")]
    Unsupported(String),
    /// The message does not have the covered field or query parameter.
    #[error("the covered component `{0}` is not in the request")]
    Absent(String),
    /// The component is covered twice, which RFC 9421 §2 forbids.
    #[error("the component {0} is covered twice")]
    Twice(String),
}

impl Message<'_> {
    /// Returns the signature base over the covered components of `input`, with its parameters in their original order.
    pub fn base(&self, input: &InnerList) -> Result<String, ComponentError> {
        let mut base = String::with_capacity(512);
        let mut seen: Vec<String> = Vec::with_capacity(input.items.len());
        for item in &input.items {
            let identifier = item.serialize();
            if seen.contains(&identifier) {
                return Err(ComponentError::Twice(identifier));
            }
            let value = self.component(item, &identifier)?;
            // Writing to a String cannot fail.
            let _ = writeln!(base, "{identifier}: {value}");
            seen.push(identifier);
        }
        let _ = write!(base, "\"@signature-params\": {}", write_input(input));
        Ok(base)
    }

    fn component(&self, item: &Item, identifier: &str) -> Result<String, ComponentError> {
        let unsupported = || ComponentError::Unsupported(identifier.to_owned());
        let name = item.bare_item.as_string().ok_or_else(unsupported)?.as_str();
        if name == "@query-param" {
            return self.query_param(item, identifier);
        }
        if !item.params.is_empty() {
            return Err(unsupported());
        }
        match name {
            "@method" => Ok(self.method.to_string()),
            "@target-uri" => Ok(self.uri.to_string()),
            "@scheme" => Ok(self.scheme().to_owned()),
            "@authority" => Ok(self.authority()),
            "@path" => Ok(self.uri.path().to_owned()),
            "@query" => Ok(format!("?{}", self.uri.query().unwrap_or_default())),
            "@request-target" => {
                Ok(self.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string))
            }
            _ if name.starts_with('@') => Err(unsupported()),
            _ => self.field(name),
        }
    }

    /// Returns one query parameter by its name (RFC 9421 §2.2.8). One that occurs twice cannot be covered.
    fn query_param(&self, item: &Item, identifier: &str) -> Result<String, ComponentError> {
        let unsupported = || ComponentError::Unsupported(identifier.to_owned());
        let name = item.params.get("name").filter(|_| item.params.len() == 1);
        let name = name.and_then(|name| name.as_string()).ok_or_else(unsupported)?.as_str();
        let query = self.uri.query().unwrap_or_default();
        let mut values = form_urlencoded::parse(query.as_bytes())
            .filter(|(found, _)| encode(found) == name)
            .map(|(_, value)| encode(&value));
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(ComponentError::Absent(identifier.to_owned())),
            (Some(_), Some(_)) => Err(ComponentError::Twice(identifier.to_owned())),
        }
    }

    /// Returns the field's values, trimmed and joined (RFC 9421 §2.1).
    fn field(&self, name: &str) -> Result<String, ComponentError> {
        let absent = || ComponentError::Absent(name.to_owned());
        let header: HeaderName = name.parse().map_err(|_| absent())?;
        if header.as_str() != name {
            return Err(ComponentError::Unsupported(format!("\"{name}\"")));
        }
        let mut values = self.headers.get_all(header).iter().peekable();
        values.peek().ok_or_else(absent)?;
        let texts: Result<Vec<&str>, _> = values.map(|value| value.to_str().map(str::trim)).collect();
        Ok(texts.map_err(|_| absent())?.join(", "))
    }

    fn scheme(&self) -> &str {
        self.uri.scheme_str().unwrap_or("https")
    }

    /// Returns the authority in lower case, without the scheme's default port (RFC 9421 §2.2.3).
    #[must_use]
    pub fn authority(&self) -> String {
        let authority = self.uri.authority().map_or("", |a| a.as_str()).to_ascii_lowercase();
        let default_port = if self.scheme() == "http" { ":80" } else { ":443" };
        authority.strip_suffix(default_port).map_or(authority.clone(), str::to_owned)
    }
}

/// Encodes a text as in a form, but a space as `%20` (RFC 9421 §2.2.8).
fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Serializes an inner list with its parameters, in their original order.
pub(super) fn write_input(input: &InnerList) -> String {
    vec![ListEntry::InnerList(input.clone())].serialize().unwrap_or_default()
}
