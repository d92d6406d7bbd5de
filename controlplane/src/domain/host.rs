//! The policy that decides which hosts a route may have.

use std::collections::BTreeSet;

use webgateway_proto::model::{Host, InvalidHostError, Mode};

use super::error::DomainError;

const ACME_CHALLENGE: &str = "_acme-challenge";

/// The operator's policy on hosts.
#[derive(Debug, Clone)]
pub(crate) struct HostPolicy {
    base: Host,
    reserved: BTreeSet<String>,
}

/// A host that the policy admits, by the parameter that named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdmittedHost {
    /// A host given as `fqdn`.
    Fqdn(Host),
    /// A host given as `subdomain`, a label below the base domain.
    Subdomain(Host),
}

impl HostPolicy {
    /// Creates a policy for a gateway at `base` on which only the admin may use the labels `reserved` (lower case).
    #[must_use]
    pub(crate) fn new(base: Host, reserved: BTreeSet<String>) -> Self {
        Self { base, reserved }
    }

    /// Returns the base domain.
    #[must_use]
    pub(crate) fn base(&self) -> &Host {
        &self.base
    }

    /// Parses and checks the host that `fqdn` or `subdomain` names; `None` if neither is given. Returns an error if
    /// both are.
    pub(crate) fn admit(
        &self,
        fqdn: Option<&str>,
        subdomain: Option<&str>,
    ) -> Result<Option<AdmittedHost>, DomainError> {
        match (fqdn, subdomain) {
            (Some(_), Some(_)) => Err(DomainError::TwoHosts),
            (Some(fqdn), None) => self.fqdn(fqdn).map(AdmittedHost::Fqdn).map(Some),
            (None, Some(label)) => self.subdomain(label).map(AdmittedHost::Subdomain).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn fqdn(&self, text: &str) -> Result<Host, DomainError> {
        refuse_challenge("fqdn", text)?;
        let host = Host::parse(text).map_err(|error| DomainError::InvalidHost("fqdn", error))?;
        self.check(host)
    }

    fn subdomain(&self, label: &str) -> Result<Host, DomainError> {
        refuse_challenge("subdomain", label)?;
        if label.is_empty() {
            return Err(DomainError::InvalidHost("subdomain", InvalidHostError::Empty));
        }
        let host = self.base.child(label).map_err(|error| match error {
            InvalidHostError::Forbidden(_) if label.contains('.') => DomainError::NotALabel(label.to_owned()),
            error => DomainError::InvalidHost("subdomain", error),
        })?;
        // IDNA maps other characters to dots.
        if !host.is_child_of(&self.base) {
            return Err(DomainError::NotALabel(label.to_owned()));
        }
        self.check(host)
    }

    fn check(&self, host: Host) -> Result<Host, DomainError> {
        if host == self.base { Err(DomainError::BaseDomain(host)) } else { Ok(host) }
    }

    /// Returns true if only the admin may have this host: one of the labels below the base domain is reserved.
    #[must_use]
    pub(super) fn is_reserved(&self, host: &Host) -> bool {
        let below = host.as_str().strip_suffix(self.base.as_str()).filter(|_| host.is_below(&self.base));
        below.is_some_and(|below| below.split('.').any(|label| self.reserved.contains(label)))
    }
}

impl AdmittedHost {
    /// Returns the name of the parameter that named the host.
    pub(super) const fn field(&self) -> &'static str {
        match self {
            Self::Fqdn(_) => "fqdn",
            Self::Subdomain(_) => "subdomain",
        }
    }

    /// Returns the host. Returns an error if it cannot be served in this mode: a subdomain is always terminated.
    pub(crate) fn for_mode(self, mode: Mode) -> Result<Host, DomainError> {
        match (self, mode) {
            (Self::Subdomain(_), Mode::Passthrough) => Err(DomainError::PassthroughSubdomain),
            (Self::Subdomain(host), Mode::Terminate)
            | (Self::Fqdn(host), Mode::Terminate | Mode::Passthrough) => Ok(host),
        }
    }
}

/// Refuses names at or under `_acme-challenge`. Runs before the host is parsed, because the parser would only report
/// that an underscore is not allowed.
fn refuse_challenge(field: &'static str, text: &str) -> Result<(), DomainError> {
    if text.split('.').any(|label| label.eq_ignore_ascii_case(ACME_CHALLENGE)) {
        return Err(DomainError::AcmeChallenge(field, text.to_owned()));
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

    fn fqdn(text: &str) -> Result<Host, DomainError> {
        policy().fqdn(text)
    }

    fn subdomain(text: &str) -> Result<Host, DomainError> {
        policy().subdomain(text)
    }

    #[test]
    fn own_hosts_and_hosts_below_the_base_domain_are_admitted() {
        assert_eq!(fqdn("App.Example.ORG.").unwrap().as_str(), "app.example.org");
        assert_eq!(fqdn("a.b.gw.example").unwrap().as_str(), "a.b.gw.example");
        assert_eq!(subdomain("MyApp").unwrap().as_str(), "myapp.gw.example");
        assert_eq!(fqdn("www.example.org").unwrap().as_str(), "www.example.org");
    }

    #[test]
    fn reserved_names_are_refused() {
        assert!(matches!(fqdn("GW.example."), Err(DomainError::BaseDomain(_))));
        for host in
            ["www.gw.example", "WWW.gw.example", "x.www.gw.example", "www.x.gw.example", "ｗｗｗ.gw.example"]
        {
            assert!(policy().is_reserved(&fqdn(host).unwrap()), "{host}");
        }
        assert!(policy().is_reserved(&subdomain("www").unwrap()));
        for host in
            ["www.example.org", "www.gw.example.org", "wwww.gw.example", "xgw.example", "www.xgw.example"]
        {
            assert!(!policy().is_reserved(&fqdn(host).unwrap()), "{host}");
        }
        for host in ["_acme-challenge.gw.example", "x._ACME-challenge.org", "_acme-challenge"] {
            assert!(matches!(fqdn(host), Err(DomainError::AcmeChallenge(..))), "{host}");
        }
        assert!(matches!(subdomain("_acme-challenge"), Err(DomainError::AcmeChallenge(..))));
    }

    #[test]
    fn a_subdomain_is_one_label() {
        for text in ["a.b", ".", "a.", "a。b"] {
            assert!(matches!(subdomain(text), Err(DomainError::NotALabel(_))), "{text}");
        }
        for text in ["", "*", "a b", "-a", "a/b"] {
            assert!(matches!(subdomain(text), Err(DomainError::InvalidHost("subdomain", _))), "{text}");
        }
    }

    #[test]
    fn fqdn_and_subdomain_exclude_each_other() {
        assert!(matches!(policy().admit(Some("a.b"), Some("c")), Err(DomainError::TwoHosts)));
        assert_eq!(policy().admit(None, None).unwrap(), None);
    }

    #[test]
    fn a_subdomain_cannot_be_passed_through() {
        let named = |fqdn, subdomain| policy().admit(fqdn, subdomain).unwrap().unwrap();
        assert!(named(Some("a.b"), None).for_mode(Mode::Passthrough).is_ok());
        assert!(named(None, Some("a")).for_mode(Mode::Terminate).is_ok());
        let refused = named(None, Some("a")).for_mode(Mode::Passthrough);
        assert!(matches!(refused, Err(DomainError::PassthroughSubdomain)));
    }

    proptest! {
        #[test]
        fn an_admitted_host_is_reserved_if_it_has_a_reserved_label(text in "\\PC{0,30}", tail in "(|\\.gw\\.example|\\.www\\.gw\\.example)") {
            for host in [fqdn(&format!("{text}{tail}")), subdomain(&text)].into_iter().flatten() {
                let below = host.as_str().strip_suffix(".gw.example");
                let expected = below.is_some_and(|below| below.split('.').any(|label| label == "www"));
                prop_assert_eq!(policy().is_reserved(&host), expected, "{}", host);
                prop_assert!(host.as_str() != "gw.example" && !host.as_str().contains("_acme-challenge"));
            }
        }
    }
}
