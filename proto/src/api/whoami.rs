//! The caller of the API: key, permissions, quotas and suspension.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{QuotaView, SuspensionView};

/// Result of `whoami`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The caller's key id.
    pub key_id: String,
    /// The key that signed the call: `SHA256:` and the base64 of the digest of its SPKI DER.
    pub fingerprint: String,
    /// The algorithm of the signature (RFC 9421 §6.2).
    pub algorithm: String,
    /// True if the caller is the admin, who sees all routes and has no quotas.
    pub admin: bool,
    /// True if the caller is suspended: their routes are not served, and they cannot change anything.
    pub suspended: bool,
    /// The suspension; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<SuspensionView>,
    /// The time of the caller's first change (RFC 3339); absent before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<String>,
    /// The number of the caller's routes.
    pub routes: u64,
    /// The number of backends in all these routes together.
    pub backends: u64,
    /// The mutations that the caller has made in the current minute; dry runs count.
    pub mutations_this_minute: u32,
    /// The caller's quotas, with the gateway's defaults applied.
    pub quota: QuotaView,
}
