//! The operator's policy on the hosts of routes.

use std::collections::BTreeSet;

use webgateway_proto::model::{Host, InvalidHostError, Mode};

use super::refusal::Refusal;

const ACME_CHALLENGE: &str = "_acme-challenge";

/// The operator's rules on hosts.
#[derive(Debug, Clone)]
pub(crate) struct HostPolicy {
    base: Host,
    reserved: BTreeSet<String>,
}

/// A host that the policy admits, and how it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdmittedHost {
    /// As a whole.
    Fqdn(Host),
    /// As a label below the base domain.
    Subdomain(Host),
}

impl HostPolicy {
    /// Rules for a gateway at `base` whose operator keeps the labels `reserved` (lower case) for themselves.
    #[must_use]
    pub(crate) fn new(base: Host, reserved: BTreeSet<String>) -> Self {
        Self { base, reserved }
    }

    /// The operator's domain.
    #[must_use]
    pub(crate) fn base(&self) -> &Host {
        &self.base
    }

    /// Returns the host that at most one of the two names; `None` if neither does.
    pub(crate) fn admit(
        &self,
        fqdn: Option<&str>,
        subdomain: Option<&str>,
    ) -> Result<Option<AdmittedHost>, Refusal> {
        match (fqdn, subdomain) {
            (Some(_), Some(_)) => Err(Refusal::TwoHosts),
            (Some(fqdn), None) => self.fqdn(fqdn).map(AdmittedHost::Fqdn).map(Some),
            (None, Some(label)) => self.subdomain(label).map(AdmittedHost::Subdomain).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn fqdn(&self, text: &str) -> Result<Host, Refusal> {
        refuse_challenge("fqdn", text)?;
        let host = Host::parse(text).map_err(|error| Refusal::InvalidHost("fqdn", error))?;
        self.check("fqdn", host)
    }

    fn subdomain(&self, label: &str) -> Result<Host, Refusal> {
        refuse_challenge("subdomain", label)?;
        if label.is_empty() {
            return Err(Refusal::InvalidHost("subdomain", InvalidHostError::Empty));
        }
        let host = self.base.child(label).map_err(|error| match error {
            InvalidHostError::Forbidden(_) if label.contains('.') => Refusal::NotALabel(label.to_owned()),
            error => Refusal::InvalidHost("subdomain", error),
        })?;
        // Unicode has more than one dot.
        if !host.is_child_of(&self.base) {
            return Err(Refusal::NotALabel(label.to_owned()));
        }
        self.check("subdomain", host)
    }

    fn check(&self, field: &'static str, host: Host) -> Result<Host, Refusal> {
        if host == self.base {
            return Err(Refusal::BaseDomain(host));
        }
        if !host.is_below(&self.base) {
            return Ok(host);
        }
        let depth = self.base.as_str().split('.').count();
        let label = host.as_str().rsplit('.').nth(depth).unwrap_or_default();
        if self.reserved.contains(label) { Err(Refusal::Reserved(field, host)) } else { Ok(host) }
    }
}

impl AdmittedHost {
    /// The host, if it may be in this mode: a subdomain is always terminated.
    pub(crate) fn in_mode(self, mode: Mode) -> Result<Host, Refusal> {
        match (self, mode) {
            (Self::Subdomain(_), Mode::Passthrough) => Err(Refusal::PassthroughSubdomain),
            (Self::Subdomain(host), Mode::Terminate)
            | (Self::Fqdn(host), Mode::Terminate | Mode::Passthrough) => Ok(host),
        }
    }
}

/// Said before the host is parsed, which only knows that an underscore is no host's.
fn refuse_challenge(field: &'static str, text: &str) -> Result<(), Refusal> {
    if text.split('.').any(|label| label.eq_ignore_ascii_case(ACME_CHALLENGE)) {
        return Err(Refusal::AcmeChallenge(field, text.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> HostPolicy {
        HostPolicy::new(Host::parse("gw.example").unwrap(), BTreeSet::from(["www".to_owned()]))
    }

    fn fqdn(text: &str) -> Result<Host, Refusal> {
        policy().fqdn(text)
    }

    fn subdomain(text: &str) -> Result<Host, Refusal> {
        policy().subdomain(text)
    }

    #[test]
    fn hosts_of_ones_own_and_below_the_base_are_admitted() {
        assert_eq!(fqdn("App.Example.ORG.").unwrap().as_str(), "app.example.org");
        assert_eq!(fqdn("a.b.gw.example").unwrap().as_str(), "a.b.gw.example");
        assert_eq!(subdomain("MyApp").unwrap().as_str(), "myapp.gw.example");
        assert_eq!(fqdn("www.example.org").unwrap().as_str(), "www.example.org");
    }

    #[test]
    fn the_gateways_own_names_are_refused() {
        assert!(matches!(fqdn("GW.example."), Err(Refusal::BaseDomain(_))));
        for host in ["www.gw.example", "WWW.gw.example", "x.www.gw.example"] {
            assert!(matches!(fqdn(host), Err(Refusal::Reserved("fqdn", _))), "{host}");
        }
        assert!(matches!(subdomain("www"), Err(Refusal::Reserved("subdomain", _))));
        for host in ["_acme-challenge.gw.example", "x._ACME-challenge.org", "_acme-challenge"] {
            assert!(matches!(fqdn(host), Err(Refusal::AcmeChallenge(..))), "{host}");
        }
        assert!(matches!(subdomain("_acme-challenge"), Err(Refusal::AcmeChallenge(..))));
    }

    #[test]
    fn a_subdomain_is_one_label() {
        for text in ["a.b", ".", "a.", "a。b"] {
            assert!(matches!(subdomain(text), Err(Refusal::NotALabel(_))), "{text}");
        }
        for text in ["", "*", "a b", "-a", "a/b"] {
            assert!(matches!(subdomain(text), Err(Refusal::InvalidHost("subdomain", _))), "{text}");
        }
    }

    #[test]
    fn one_of_the_two_names_the_host() {
        assert!(matches!(policy().admit(Some("a.b"), Some("c")), Err(Refusal::TwoHosts)));
        assert_eq!(policy().admit(None, None).unwrap(), None);
    }

    #[test]
    fn a_subdomain_is_never_passed_through() {
        let named = |fqdn, subdomain| policy().admit(fqdn, subdomain).unwrap().unwrap();
        assert!(named(Some("a.b"), None).in_mode(Mode::Passthrough).is_ok());
        assert!(named(None, Some("a")).in_mode(Mode::Terminate).is_ok());
        let refused = named(None, Some("a")).in_mode(Mode::Passthrough);
        assert!(matches!(refused, Err(Refusal::PassthroughSubdomain)));
    }

    proptest! {
        #[test]
        fn what_is_admitted_is_never_the_gateways(text in "\\PC{0,30}", tail in "(|\\.gw\\.example|\\.www\\.gw\\.example)") {
            for host in [fqdn(&format!("{text}{tail}")), subdomain(&text)].into_iter().flatten() {
                prop_assert!(host.as_str() != "gw.example" && !host.as_str().ends_with("www.gw.example")
                    || host.as_str().strip_suffix("www.gw.example").is_some_and(|rest| !rest.is_empty() && !rest.ends_with('.')));
                prop_assert!(!host.as_str().contains("_acme-challenge"));
            }
        }
    }
}
