//! The params and results of the audit methods.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::AuditRecord;
use crate::httpsig::Evidence;

/// The maximum number of records in one result.
pub const MAX_RECORDS: u32 = 500;

/// Params of `audit.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditListParams {
    /// The maximum number of records, up to 500; 50 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only records before the one with this id, which is the last of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Only records of this caller's key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Only changes of this object, such as `route/<uuid>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Result of `audit.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditList {
    /// The records, newest first.
    pub records: Vec<AuditRecord>,
}

/// Params of `audit.export`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditExportParams {
    /// Only records after the one with this id, which is the last of the previous page.
    #[serde(default)]
    pub after: u64,
    /// The maximum number of records, up to 500; 500 if absent. A page may have fewer; only the page after the last one
    /// is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Result of `audit.export`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditExport {
    /// The records, oldest first.
    pub records: Vec<AuditRecord>,
    /// The signed requests of these records, by their hash.
    pub requests: BTreeMap<String, Evidence>,
}
