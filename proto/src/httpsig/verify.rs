//! Reading a request's signature and holding it against our requirements.

use std::convert::Infallible;

use http::HeaderMap;
use http::header::DATE;
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored};
use sfv::{Dictionary, InnerList, KeyRef, ListEntry, Parser};
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::base::{Message, UnknownComponent};
use super::key::{Algorithm, PublicKey, PublicKeys};
use crate::model::KeyId;

/// How far `created` may be from now, in seconds, both ways.
pub const FRESHNESS: i64 = 300;
/// The longest nonce taken, in bytes.
const MAX_NONCE: usize = 256;

/// Which requirement a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// No signature at all.
    #[error("the request is not signed")]
    Unsigned,
    /// A header that does not parse.
    #[error("the {0} header cannot be parsed")]
    Malformed(&'static str),
    /// More than one signature, or one label twice.
    #[error("exactly one signature is needed")]
    Several,
    /// Signature-Input and Signature name different labels.
    #[error("Signature and Signature-Input have different labels")]
    Label,
    /// A parameter that is needed.
    #[error("the signature parameter `{0}` is missing or malformed")]
    Param(&'static str),
    /// A component that must be covered.
    #[error("the signature must cover {0}")]
    Uncovered(&'static str),
    /// A covered component that cannot be had.
    #[error(transparent)]
    Component(#[from] UnknownComponent),
    /// Too old, or from the future.
    #[error("the signature was made {0} s from now, at most {FRESHNESS} s are allowed: check the clock")]
    Stale(i64),
    /// `expires` is over.
    #[error("the signature has expired")]
    Expired,
    /// `alg` contradicts the key.
    #[error("the signature's `alg` is not the key's")]
    Algorithm,
    /// No Content-Digest with an algorithm known here.
    #[error("a Content-Digest with sha-256 or sha-512 is needed")]
    DigestMissing,
    /// A Content-Digest that does not parse.
    #[error("the Content-Digest header cannot be parsed")]
    DigestMalformed,
    /// Another body.
    #[error("the Content-Digest does not match the body")]
    DigestMismatch,
    /// Not the key's signature.
    #[error("the signature does not verify with the key")]
    Forged,
}

/// A signature as a request presents it; nothing about it is known to be true yet.
#[derive(Debug, Clone)]
pub struct Presented {
    input: InnerList,
    signature: Vec<u8>,
    key_id: KeyId,
}

/// A signature that was verified.
#[derive(Debug)]
pub struct Signed {
    /// The key that signed.
    pub key: PublicKey,
    /// How.
    pub algorithm: Algorithm,
    /// What (RFC 9421 §2.5).
    pub base: String,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Presented {
    /// Reads the one signature a request has.
    pub fn read(headers: &HeaderMap) -> Result<Self, Failure> {
        let inputs = members(headers, "Signature-Input")?;
        let signatures = members(headers, "Signature")?;
        let (Some((label, input)), Some((signed, signature))) = (inputs, signatures) else {
            return Err(Failure::Unsigned);
        };
        if label != signed {
            return Err(Failure::Label);
        }
        let ListEntry::InnerList(input) = input else { return Err(Failure::Malformed("Signature-Input")) };
        let ListEntry::Item(item) = signature else { return Err(Failure::Malformed("Signature")) };
        let signature = item.bare_item.as_byte_sequence().ok_or(Failure::Malformed("Signature"))?.to_vec();
        let key_id = text(&input, "keyid")?.and_then(|text| text.parse().ok());
        let key_id = key_id.ok_or(Failure::Param("keyid"))?;
        let presented = Self { input, signature, key_id };
        presented.nonce()?;
        Ok(presented)
    }

    /// The key that is said to have signed.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The nonce, if there is one.
    pub fn nonce(&self) -> Result<Option<&str>, Failure> {
        match text(&self.input, "nonce")? {
            Some(nonce) if nonce.is_empty() || nonce.len() > MAX_NONCE => Err(Failure::Param("nonce")),
            nonce => Ok(nonce),
        }
    }

    /// Whether it covers what must be covered and is of `now` (Unix seconds). The digest is checked apart.
    pub fn check(&self, headers: &HeaderMap, now: i64) -> Result<(), Failure> {
        let covers = |name| self.covers(name);
        if !covers("@method") {
            return Err(Failure::Uncovered("@method"));
        }
        let parts = covers("@authority") && (covers("@path") || covers("@request-target"));
        if !covers("@target-uri") && !parts {
            return Err(Failure::Uncovered("@target-uri"));
        }
        if !covers("content-digest") {
            return Err(Failure::Uncovered("content-digest"));
        }
        let age = now.saturating_sub(self.created(headers)?);
        if age.abs() > FRESHNESS {
            return Err(Failure::Stale(age.abs()));
        }
        match integer(&self.input, "expires")? {
            Some(expires) if expires <= now => Err(Failure::Expired),
            Some(_) | None => Ok(()),
        }
    }

    /// What `key` signed over `message`.
    pub fn verify(&self, message: &Message<'_>, key: &PublicKey) -> Result<Signed, Failure> {
        let named = text(&self.input, "alg")?;
        let fits = |algorithm: &&Algorithm| named.is_none_or(|alg| alg == algorithm.as_str());
        let mut algorithms = key.algorithms().iter().filter(fits).peekable();
        algorithms.peek().ok_or(Failure::Algorithm)?;
        let base = message.base(&self.input)?;
        let algorithm = algorithms.find(|algorithm| key.verifies(**algorithm, &base, &self.signature));
        let algorithm = *algorithm.ok_or(Failure::Forged)?;
        Ok(Signed { key: key.clone(), algorithm, base, signature: self.signature.clone() })
    }

    /// Which of `keys` signed this over `message`, and what; else the failure that tells most.
    pub fn verify_any(&self, message: &Message<'_>, keys: &PublicKeys) -> Result<Signed, Failure> {
        let mut failure = Failure::Algorithm;
        for key in keys.iter() {
            match self.verify(message, key) {
                Ok(signed) => return Ok(signed),
                Err(Failure::Algorithm) => {}
                Err(told) => failure = told,
            }
        }
        Err(failure)
    }

    fn covers(&self, name: &str) -> bool {
        let named = |item: &sfv::Item| item.bare_item.as_string().is_some_and(|s| s.as_str() == name);
        self.input.items.iter().any(named)
    }

    /// `created`, else a covered Date field.
    fn created(&self, headers: &HeaderMap) -> Result<i64, Failure> {
        if let Some(created) = integer(&self.input, "created")? {
            return Ok(created);
        }
        let date = headers.get(DATE).filter(|_| self.covers("date")).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
        date.map(OffsetDateTime::unix_timestamp).ok_or(Failure::Param("created"))
    }
}

/// The one member of a dictionary field; more than one, or one twice, is refused.
fn members(headers: &HeaderMap, name: &'static str) -> Result<Option<(String, ListEntry)>, Failure> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Failure::Several);
    }
    let malformed = |_| Failure::Malformed(name);
    let count = Parser::new(line.as_bytes()).parse_dictionary_with_visitor(Count(0)).map_err(malformed)?;
    if count > 1 {
        return Err(Failure::Several);
    }
    let parsed: Dictionary = Parser::new(line.as_bytes()).parse().map_err(malformed)?;
    Ok(parsed.into_iter().next().map(|(label, entry)| (label.as_str().to_owned(), entry)))
}

/// Counts what a [`Dictionary`] would merge: a label that is there twice.
struct Count(usize);

impl<'de> DictionaryVisitor<'de> for Count {
    type Out = usize;
    type Error = Infallible;

    fn entry(&mut self, _: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        self.0 += 1;
        Ok(Ignored)
    }

    fn finish(self) -> Result<usize, Infallible> {
        Ok(self.0)
    }
}

fn text<'a>(input: &'a InnerList, name: &'static str) -> Result<Option<&'a str>, Failure> {
    let Some(value) = input.params.get(name) else { return Ok(None) };
    value.as_string().map(|text| Some(text.as_str())).ok_or(Failure::Param(name))
}

fn integer(input: &InnerList, name: &'static str) -> Result<Option<i64>, Failure> {
    let Some(value) = input.params.get(name) else { return Ok(None) };
    value.as_integer().map(|integer| Some(i64::from(integer))).ok_or(Failure::Param(name))
}

#[cfg(test)]
mod tests;
