//! Certificates as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model;

/// Params of `certificates.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateListParams {
    /// The maximum number of certificates, from 1 to 1000; 1000 if absent. A page may have fewer, or none; only the
    /// last page has no `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next_cursor` of the previous page.
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
    /// The certificates of the caller's routes, sorted by id; for the admin, all certificates.
    pub certificates: Vec<CertificateView>,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A certificate that is issued or to be issued. Its private key is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CertificateView {
    /// The certificate's id: its first host.
    pub id: String,
    /// The host names that the certificate covers or will cover, wildcards included.
    pub names: Vec<String>,
    /// The name of the configured issuer.
    pub issuer: String,
    /// The certificate's state.
    pub state: CertificateState,
    /// The start of its validity (RFC 3339); absent until it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// The end of its validity (RFC 3339); absent until it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// The time of the next attempt to issue or renew it (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<String>,
    /// The number of failed attempts since the last successful one.
    #[serde(default)]
    pub failures: u32,
    /// The error of the last attempt; the CA's own message if the CA rejected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The DNS records that are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<DnsRecord>,
}

/// The state of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// The certificate is served.
    Valid,
    /// The certificate is being issued for the first time.
    Waiting,
    /// The last attempt failed. An earlier certificate that is still valid is served.
    Failing,
    /// The certificate has expired.
    Expired,
}

impl CertificateState {
    /// Returns the state as it is spelled in JSON.
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
    /// The record's name, such as `_acme-challenge.app.example.org`.
    pub name: String,
    /// The record's type, such as `CNAME`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The record's value.
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
    /// The root certificate of the `internal` CA, in PEM.
    pub pem: String,
}
