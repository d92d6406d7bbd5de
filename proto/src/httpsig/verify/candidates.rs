//! The signatures of a request, by their labels (RFC 9421 §4): a proxy on the way may have added its own.

use std::collections::HashSet;
use std::convert::Infallible;

use http::HeaderMap;
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored};
use sfv::{Dictionary, KeyRef, ListEntry, Parser};

use super::RequestSignature;
use crate::httpsig::error::SignatureError;

/// The most signatures of one request that are looked at.
pub const MAX_SIGNATURES: usize = 8;

/// One of a request's signatures.
#[derive(Debug)]
pub struct Candidate {
    /// Its label; empty for a field line that cannot be read.
    pub label: String,
    /// The signature, or why it cannot count.
    pub signature: Result<RequestSignature, SignatureError>,
}

/// The signatures a request has, in the order of Signature-Input: at least one.
///
/// # Errors
/// There is none, there is no pair of Signature-Input and Signature, or there are more than [`MAX_SIGNATURES`].
pub fn candidates(headers: &HeaderMap) -> Result<Vec<Candidate>, SignatureError> {
    if !headers.contains_key("signature-input") || !headers.contains_key("signature") {
        return Err(SignatureError::Unsigned);
    }
    let inputs = Field::read(headers, "Signature-Input");
    let signatures = Field::read(headers, "Signature");
    let mut found: Vec<Candidate> = Vec::new();
    for (label, input) in &inputs.members {
        let signature = match signatures.members.iter().find(|(signed, _)| signed == label) {
            _ if inputs.repeats(label) || signatures.repeats(label) => {
                Err(SignatureError::Repeated(label.clone()))
            }
            Some((_, signature)) => present(input, signature),
            None => Err(SignatureError::Label),
        };
        found.push(Candidate { label: label.clone(), signature });
    }
    let is_alone = |label: &String| inputs.members.iter().all(|(input, _)| input != label);
    for (label, _) in signatures.members.iter().filter(|(label, _)| is_alone(label)) {
        found.push(Candidate { label: label.clone(), signature: Err(SignatureError::Label) });
    }
    for unreadable in inputs.unreadable.into_iter().chain(signatures.unreadable) {
        found.push(Candidate { label: String::new(), signature: Err(unreadable) });
    }
    let is_unpaired = |candidate: &Candidate| matches!(candidate.signature, Err(SignatureError::Label));
    match found.len() {
        0 => Err(SignatureError::Unsigned),
        count if count > MAX_SIGNATURES => Err(SignatureError::TooMany(MAX_SIGNATURES)),
        // One signature whose two halves do not find each other.
        _ if found.iter().all(is_unpaired) => Err(SignatureError::Label),
        // An unreadable line leaves its label's other half alone: it is the line that is at fault.
        _ => {
            let has_unreadable = found.iter().any(|candidate| candidate.label.is_empty());
            found.retain(|candidate| !(has_unreadable && is_unpaired(candidate)));
            Ok(found)
        }
    }
}

fn present(input: &ListEntry, signature: &ListEntry) -> Result<RequestSignature, SignatureError> {
    let ListEntry::InnerList(input) = input else { return Err(SignatureError::Malformed("Signature-Input")) };
    let ListEntry::Item(item) = signature else { return Err(SignatureError::Malformed("Signature")) };
    let signature = item.bare_item.as_byte_sequence().ok_or(SignatureError::Malformed("Signature"))?;
    RequestSignature::new(input.clone(), signature.to_vec())
}

/// A dictionary field, of one line or several.
#[derive(Default)]
struct Field {
    /// Each label once, in order.
    members: Vec<(String, ListEntry)>,
    repeated: HashSet<String>,
    /// For each line that does not parse, its failure.
    unreadable: Vec<SignatureError>,
}

impl Field {
    fn read(headers: &HeaderMap, name: &'static str) -> Self {
        let mut field = Self::default();
        for line in headers.get_all(name) {
            if field.read_line(line.as_bytes()).is_err() {
                field.unreadable.push(SignatureError::Malformed(name));
            }
        }
        field
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), sfv::Error> {
        // A [`Dictionary`] would merge a label that is there twice.
        let labels = Parser::new(line).parse_dictionary_with_visitor(Labels::default())?;
        let members: Dictionary = Parser::new(line).parse()?;
        self.repeated.extend(labels.repeated);
        for (label, entry) in members {
            let label = label.as_str().to_owned();
            if self.members.iter().any(|(known, _)| *known == label) {
                self.repeated.insert(label);
            } else {
                self.members.push((label, entry));
            }
        }
        Ok(())
    }

    fn repeats(&self, label: &str) -> bool {
        self.repeated.contains(label)
    }
}

/// The labels of a line.
#[derive(Default)]
struct Labels {
    seen: HashSet<String>,
    repeated: HashSet<String>,
}

impl<'de> DictionaryVisitor<'de> for Labels {
    type Out = Self;
    type Error = Infallible;

    fn entry(&mut self, label: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        let label = label.as_str().to_owned();
        if !self.seen.insert(label.clone()) {
            self.repeated.insert(label);
        }
        Ok(Ignored)
    }

    fn finish(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}
