//! DNS records for a domain's owner to create.

/// A DNS record to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    /// The name, such as `_acme-challenge.app.example.org`.
    pub name: String,
    /// The type, such as `CNAME`.
    pub kind: String,
    /// The value, as a zone file has it.
    pub value: String,
}
