//! The evaluation of CAA records (RFC 8659) and of their `validationmethods` parameter (RFC 8657).
//!
//! hickory parses the values too, but it rejects white space around `=` and before `;`, which the grammar allows
//! (hickory-proto 0.26.3). A host whose CA may issue would then get no certificate.

use super::solver::ChallengeKind;
use crate::dns::resolver::CaaRecord;

/// The known tags: those evaluated here, and those that do not concern web certificates.
const KNOWN_TAGS: [&str; 7] =
    ["issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"];

/// A request for permission to issue.
#[derive(Debug, Clone, Copy)]
pub(super) struct CaaRequest<'a> {
    /// The domains that identify the CA in CAA records.
    pub(super) ca: &'a [String],
    /// True if a wildcard is among the names.
    pub(super) wildcard: bool,
    /// The challenge that would validate the name.
    pub(super) kind: ChallengeKind,
}

/// Returns true if the records permit the CA to issue with this challenge. `records` are those of the nearest name at
/// or above the host that has any.
pub(super) fn allows(records: &[CaaRecord], request: CaaRequest<'_>) -> bool {
    if records.iter().any(|record| record.critical && !KNOWN_TAGS.contains(&record.tag.as_str())) {
        return false;
    }
    let tagged = |tag: &str| records.iter().filter(|record| record.tag == tag).collect::<Vec<_>>();
    let plain = permits(&tagged("issue"), request);
    let wild = tagged("issuewild");
    // `issuewild` replaces `issue` for a wildcard (RFC 8659 §4.3); the order contains the plain name too.
    plain && (!request.wildcard || wild.is_empty() || permits(&wild, request))
}

fn permits(records: &[&CaaRecord], request: CaaRequest<'_>) -> bool {
    records.is_empty() || records.iter().any(|record| permits_one(&record.value, request))
}

fn permits_one(value: &str, request: CaaRequest<'_>) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let issuer = parts.next().unwrap_or_default();
    let parameters: Option<Vec<(&str, &str)>> =
        parts.filter(|part| !part.is_empty()).map(|part| part.split_once('=')).collect();
    // A malformed value names no issuer (RFC 8659 §4.2).
    let Some(parameters) = parameters else { return false };
    let methods = parameters.iter().find(|(tag, _)| tag.trim_end().eq_ignore_ascii_case("validationmethods"));
    let kind = request.kind.as_str();
    let by_method = |methods: &str| methods.split(',').any(|method| method.trim() == kind);
    request.ca.iter().any(|ca| ca.eq_ignore_ascii_case(issuer))
        && methods.is_none_or(|(_, methods)| by_method(methods))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tag: &str, value: &str) -> CaaRecord {
        CaaRecord { critical: false, tag: tag.into(), value: value.into() }
    }

    fn allowed(records: &[CaaRecord], wildcard: bool, kind: ChallengeKind) -> bool {
        allows(records, CaaRequest { ca: &["ca.example".into()], wildcard, kind })
    }

    #[test]
    fn only_the_named_cas_and_challenges_are_permitted() {
        use ChallengeKind::{Dns01, Http01, TlsAlpn01};
        let issue = |value| record("issue", value);
        let cases: [(&[CaaRecord], bool, bool); 10] = [
            (&[], true, true),
            (&[issue("ca.example")], true, true),
            (&[issue("other.example"), issue("CA.Example; x=y")], true, true),
            (&[issue(";")], false, false),
            (&[issue("other.example")], false, false),
            (&[record("issuewild", "other.example")], true, false),
            (&[issue("ca.example"), record("issuewild", ";")], true, false),
            (&[issue("other.example"), record("issuewild", "ca.example")], false, false),
            (&[record("iodef", "mailto:x@example.org")], true, true),
            (&[CaaRecord { critical: true, ..record("tbs", "x") }], false, false),
        ];
        for (records, plain, wildcard) in cases {
            assert_eq!(allowed(records, false, TlsAlpn01), plain, "{records:?}");
            assert_eq!(allowed(records, true, Dns01), wildcard, "{records:?}, wildcard");
        }
        for only_dns in [
            "ca.example; validationmethods=dns-01,other",
            " ca.example ; x = y ; ValidationMethods = dns-01 ;",
        ] {
            let only_dns = [issue(only_dns)];
            assert!(allowed(&only_dns, false, Dns01) && !allowed(&only_dns, false, Http01), "{only_dns:?}");
        }
        for malformed in ["%%%%%", "ca.example; %%%%%", "ca.example x"] {
            assert!(!allowed(&[issue(malformed)], false, Dns01), "{malformed}");
        }
    }
}
