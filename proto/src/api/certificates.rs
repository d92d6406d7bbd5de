//! Certificates as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model;

/// Params of `certificates.list`: what is left out selects nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateListParams {
    /// How many certificates at most, from 1 to 1000, which it is if it is left out. A page may have fewer, or none:
    /// the last one is that without `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Params of `certificates.get` and `certificates.renew`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateRef {
    /// The certificate's id: its first host.
    pub id: String,
}

/// Result of `certificates.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateList {
    /// The certificates that the caller's routes need; the admin's list has all. By id.
    pub certificates: Vec<CertificateView>,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A certificate, wanted or held. Its private key is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateView {
    /// Its id: its first host.
    pub id: String,
    /// What it is, or will be, good for.
    pub names: Vec<String>,
    /// Who issued it, or will.
    pub issuer: String,
    /// How it is with it.
    pub state: CertificateState,
    /// When it begins (RFC 3339); absent until it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// When it ends (RFC 3339); absent until it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// When the next attempt to issue or renew it is due (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<String>,
    /// How many attempts failed since the last that did not.
    #[serde(default)]
    pub failures: u32,
    /// Why the last attempt failed, in the CA's own words where it was the CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// DNS records that are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DnsRecord>,
}

/// How it is with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// It is served.
    Valid,
    /// It is being issued for the first time.
    Waiting,
    /// The last attempt failed; what was issued before, if anything, is served.
    Failing,
    /// It has ended.
    Expired,
}

impl CertificateState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Waiting => "waiting",
            Self::Failing => "failing",
            Self::Expired => "expired",
        }
    }
}

/// A DNS record to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DnsRecord {
    /// Its name, such as `_acme-challenge.app.example.org`.
    pub name: String,
    /// Its type, such as `CNAME`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its value.
    pub value: String,
}

impl From<model::DnsRecord> for DnsRecord {
    fn from(record: model::DnsRecord) -> Self {
        let model::DnsRecord { name, kind, value } = record;
        Self { name, kind, value }
    }
}

/// Result of `certificates.root`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RootCertificate {
    /// The root of the `internal` CA, in PEM.
    pub pem: String,
}
