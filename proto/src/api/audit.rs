//! The audit's params and results.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::AuditRecord;
use crate::httpsig::Evidence;

/// How many records one answer has at most.
pub const MAX_RECORDS: u32 = 500;

/// Params of `audit.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditListParams {
    /// How many records at most, up to 500; 50 if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only records before the one with this id: the last of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Only what this key asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Only what was changed of this, such as `route/<uuid>`.
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
    /// Only records after the one with this id: the last of the page before.
    #[serde(default)]
    pub after: u64,
    /// How many records at most, up to 500, which it is if it is left out. The answer may have fewer: the last page is
    /// the one without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Result of `audit.export`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditExport {
    /// The records, oldest first.
    pub records: Vec<AuditRecord>,
    /// The signed requests they came from, by their hash.
    pub requests: BTreeMap<String, Evidence>,
}
