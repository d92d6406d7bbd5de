//! Lists that come in pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RouteView;
use crate::model::Mode;

/// How many entries one page has at most.
pub const MAX_PAGE: u32 = 1000;

/// How long a call may wait for news, in seconds: clients, and the nodes that hand calls on, give up after 30.
pub const LONGEST_WAIT: u64 = 20;

/// Params of `routes.list`: what is left out selects nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteListParams {
    /// Only routes whose host begins with this, such as `shop` or `shop.example.org`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Only routes of the user with this key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Only routes of this mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// How many routes at most, from 1 to 1000, which it is if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before, whose params are to be given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The `version` of an earlier answer, for `wait`; without that it says nothing, and the answer comes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_than: Option<u64>,
    /// How many seconds to wait for a version that is `newer_than`, from 1 to 20; after that the answer is as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<u64>,
}

/// Result of `routes.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteList {
    /// The routes, by host.
    pub routes: Vec<RouteView>,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// The store's revision when they were read. Whatever changes, here or anywhere else, makes a higher one.
    #[serde(default)]
    pub version: u64,
}
