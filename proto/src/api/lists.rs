//! The paginated list of routes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RouteView;
use crate::model::Mode;

/// The maximum number of entries on one page.
pub const MAX_PAGE: u32 = 1000;

/// The maximum time that a call may wait for a change, in seconds. Clients, and nodes that forward calls, time out
/// after 30.
pub const LONGEST_WAIT: u64 = 20;

/// Params of `routes.list`. An absent filter selects every route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteListParams {
    /// Only routes whose host begins with this text, such as `shop` or `shop.example.org`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Only routes of the user with this key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Only routes of this mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The maximum number of routes, from 1 to 1000; 1000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next_cursor` of the previous page; the other params must be the same as for that page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The `version` of an earlier result, for use with `wait`. Without `wait` it has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_than: Option<u64>,
    /// The maximum time to wait for a version above `newer_than`, in seconds from 1 to 20. The call then returns the
    /// list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
}

/// Result of `routes.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteList {
    /// The routes, sorted by host.
    pub routes: Vec<RouteView>,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// The store's revision at which the list was read. Every change, also of other objects, increases it.
    #[serde(default)]
    pub version: u64,
}
