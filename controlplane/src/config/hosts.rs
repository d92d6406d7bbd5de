//! The `[hosts]` section: reserved labels, and the proof that a host belongs to an owner.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use webgateway_process::settings::Key;
use webgateway_proto::model::{Host, InvalidHostError};

pub(super) const PROOF: Key = Key::text(
    "hosts.proof",
    "How users prove that a host outside the base domain is theirs: dns, by DNS records; or none, if all users trust each other: a host then belongs to the first who asks for it [default: dns]",
);
pub(super) const RESERVED: Key = Key::list(
    "hosts.reserved",
    "Labels below the base domain that only the admin may use, at any depth; they replace the default ones [default: admin,administrator,api,autoconfig,autodiscover,ftp,hostmaster,imap,isatap,localhost,mail,mta-sts,mx,ns,ns1,ns2,ns3,ns4,pop,pop3,postmaster,root,security,smtp,webmail,webmaster,wpad,www]",
);
pub(super) const CLAIM_TTL: Key = Key::duration(
    "hosts.claim_ttl",
    "How long a route waits for the proof of its host before it is deleted, from 1s to 365days [default: 7days]",
);
pub(super) const MAX_CLAIMS: Key = Key::number(
    "hosts.max_claims",
    "How many hosts each user may have that are not proven yet [default: 20]",
);

/// The values of the section before validation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HostSettings {
    proof: ProofModule,
    reserved: Option<Vec<String>>,
    #[serde(with = "humantime_serde")]
    claim_ttl: Duration,
    max_claims: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProofModule {
    #[default]
    Dns,
    None,
}

/// The validated section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsConfig {
    /// True if hosts outside the base domain must be proven by DNS records.
    pub needs_proof: bool,
    /// The labels below the base domain that only the admin may use, in lower case.
    pub reserved: BTreeSet<String>,
    /// The time after which an unproven claim is dropped.
    pub claim_ttl: Duration,
    /// The maximum number of unproven hosts of one user.
    pub max_claims: u32,
}

/// The `[hosts]` section is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostsConfigError {
    /// A reserved entry is not a label.
    #[error("`{0}`: `{1}` is not a label below the base domain: {2}")]
    Label(&'static str, String, InvalidHostError),
    /// The lifetime of claims is out of bounds.
    #[error("`hosts.claim_ttl` must be from 1s to 365days")]
    ClaimTtl,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            proof: ProofModule::default(),
            reserved: None,
            claim_ttl: Duration::from_secs(7 * 24 * 3600),
            max_claims: 20,
        }
    }
}

impl HostSettings {
    /// Validates the section. The labels of `reserved_subdomains` are reserved in addition.
    pub(super) fn resolve(self, base: &Host, more: &[String]) -> Result<HostsConfig, HostsConfigError> {
        if !(Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3600)).contains(&self.claim_ttl) {
            return Err(HostsConfigError::ClaimTtl);
        }
        let mut reserved = labels("hosts.reserved", base, &self.reserved.unwrap_or_else(default_labels))?;
        reserved.extend(labels("reserved_subdomains", base, more)?);
        Ok(HostsConfig {
            needs_proof: matches!(self.proof, ProofModule::Dns),
            reserved,
            claim_ttl: self.claim_ttl,
            max_claims: self.max_claims,
        })
    }
}

/// Returns the labels that are reserved by default, as the help lists them: those that software looks up on its own,
/// those to which certificates or mail are entrusted, and those that users take for the operator's.
fn default_labels() -> Vec<String> {
    RESERVED.default_value().unwrap_or_default().split(',').map(str::to_owned).collect()
}

/// Returns the labels in the form in which hosts have them. Labels that begin with an underscore are left out, because no
/// host has one.
fn labels(key: &'static str, base: &Host, labels: &[String]) -> Result<BTreeSet<String>, HostsConfigError> {
    let parse = |label: &String| match base.child(label) {
        Ok(host) => Ok(host.as_str().split('.').next().unwrap_or_default().to_owned()),
        Err(error) => Err(HostsConfigError::Label(key, label.clone(), error)),
    };
    labels.iter().filter(|label| !label.starts_with('_')).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(list: Option<&[&str]>, more: &[&str]) -> Result<BTreeSet<String>, HostsConfigError> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let settings = HostSettings { reserved: list.map(owned), ..HostSettings::default() };
        settings.resolve(&Host::parse("gw.example").unwrap(), &owned(more)).map(|config| config.reserved)
    }

    #[test]
    fn sensible_labels_are_reserved_by_default() {
        let reserved = reserved(None, &[]).unwrap();
        for label in [
            "www",
            "mail",
            "autodiscover",
            "autoconfig",
            "wpad",
            "mta-sts",
            "admin",
            "ns",
            "ns1",
            "localhost",
            "isatap",
            "smtp",
            "imap",
            "ftp",
            "postmaster",
            "hostmaster",
            "webmail",
        ] {
            assert!(reserved.contains(label), "{label}");
        }
    }

    #[test]
    fn labels_are_replaced_extended_and_normalized() {
        let set = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(
            reserved(Some(&["Foo", "bücher", "_dmarc", "_*"]), &[]).unwrap(),
            set(&["foo", "xn--bcher-kva"])
        );
        assert_eq!(reserved(Some(&[]), &["shop"]).unwrap(), set(&["shop"]));
        assert!(reserved(None, &["shop"]).unwrap().is_superset(&set(&["shop", "www"])));
        for bad in ["a.b", "", "a b", "*"] {
            let error = reserved(Some(&[bad]), &[]).unwrap_err().to_string();
            assert!(error.contains(&format!("`hosts.reserved`: `{bad}`")), "{error}");
        }
    }
}
