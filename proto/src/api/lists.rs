//! Lists that come in pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RouteView;
use crate::model::Mode;

/// How many entries one page has at most.
pub const MAX_PAGE: u32 = 1000;

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
}

/// Result of `routes.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteList {
    /// The routes, by host.
    pub routes: Vec<RouteView>,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
