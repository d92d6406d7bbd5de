//! The parsing of a request's signatures by label (RFC 9421 §4). Intermediaries may have added their own.

use std::collections::HashSet;
use std::convert::Infallible;

use http::HeaderMap;
use sfv::visitor::{DictionaryVisitor, EntryVisitor, Ignored};
use sfv::{Dictionary, KeyRef, ListEntry, Parser};

use super::RequestSignature;
use crate::httpsig::error::SignatureError;

/// The maximum number of signatures of one request that are examined.
pub const MAX_SIGNATURES: usize = 8;

/// One of the signatures of a request.
#[derive(Debug)]
pub struct Candidate {
    /// The signature's label; empty for a field line that cannot be parsed.
    pub label: String,
    /// The signature, or the reason that it is invalid.
    pub signature: Result<RequestSignature, SignatureError>,
}

/// Returns the signatures of a request, in the order of Signature-Input; at least one.
///
/// # Errors
/// There is no signature, no pair of Signature-Input and Signature, or there are more than [`MAX_SIGNATURES`].
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
            Some((_, signature)) => pair(input, signature),
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
        // Each label occurs in one of the two fields only.
        _ if found.iter().all(is_unpaired) => Err(SignatureError::Label),
        // A line that cannot be parsed also hides its labels, so that their counterparts must not be reported.
        _ => {
            let has_unreadable = found.iter().any(|candidate| candidate.label.is_empty());
            found.retain(|candidate| !(has_unreadable && is_unpaired(candidate)));
            Ok(found)
        }
    }
}

fn pair(input: &ListEntry, signature: &ListEntry) -> Result<RequestSignature, SignatureError> {
    let ListEntry::InnerList(input) = input else { return Err(SignatureError::Malformed("Signature-Input")) };
    let ListEntry::Item(item) = signature else { return Err(SignatureError::Malformed("Signature")) };
    let signature = item.bare_item.as_byte_sequence().ok_or(SignatureError::Malformed("Signature"))?;
    RequestSignature::new(input.clone(), signature.to_vec())
}

/// A dictionary field of one or several lines.
#[derive(Default)]
struct Field {
    /// The members in order, each label once.
    members: Vec<(String, ListEntry)>,
    repeated: HashSet<String>,
    /// The errors of the lines that cannot be parsed.
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
        // [`Dictionary`] hides duplicates: the last member with a label replaces the others.
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

/// A visitor that collects the labels of a line.
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
