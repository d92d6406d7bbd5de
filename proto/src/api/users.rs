//! The params and results of the user methods.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::model;

/// Params of `admin.unsuspend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserRef {
    /// The user's key id, such as `user1.pub`.
    pub user: String,
}

/// Params of `admin.suspend`. If the user is already suspended, reason and end are replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSuspend {
    /// The user's key id, such as `user1.pub`.
    pub user: String,
    /// The reason, shown to the user: one line of at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The time at which the suspension ends automatically (RFC 3339, in the future). If absent, only `admin.unsuspend`
    /// ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Result of `admin.suspend` and `admin.unsuspend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserState {
    /// The user's key id.
    pub user: String,
    /// True if the user is suspended.
    pub suspended: bool,
    /// The suspension; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<SuspensionView>,
    /// The number of routes that the user owns.
    pub routes: u64,
    /// The store's current revision.
    pub version: u64,
}

/// A suspension of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SuspensionView {
    /// The reason; absent if none was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The time at which the suspension began (RFC 3339).
    pub since: String,
    /// The time at which the suspension ends automatically (RFC 3339); absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Params of `admin.users`. An absent filter selects every user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserListParams {
    /// Only users who are suspended (true) or who are not (false).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
    /// The maximum number of users, from 1 to 1000; 1000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next_cursor` of the previous page; the other params must be the same as for that page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Result of `admin.users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserList {
    /// The users who ever created a route or were named in an `admin` call, sorted by key id.
    pub users: Vec<UserView>,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The state of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserView {
    /// The user's key id.
    pub user: String,
    /// The time at which the gateway first recorded the user (RFC 3339).
    pub first_seen: String,
    /// True if the user is suspended.
    pub suspended: bool,
    /// The suspension; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<SuspensionView>,
    /// The number of routes that the user owns.
    pub routes: u64,
    /// The number of backends in all these routes together.
    pub backends: u64,
    /// The user's quotas, with the gateway's defaults applied.
    pub quota: QuotaView,
}

/// The quotas of a user; `null` means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaView {
    /// The maximum number of routes.
    pub routes: Option<u32>,
    /// The maximum number of backends in all routes together.
    pub backends: Option<u32>,
    /// The maximum number of mutations per minute.
    pub mutations_per_minute: Option<u32>,
}

/// Deserializes a present field, so that `null` (`Some(None)`) differs from an absent field (`None`).
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Params of `admin.quota`. Absent fields remain unchanged; `null` restores the gateway's default. Lowering a quota
/// removes nothing that the user already has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserQuota {
    /// The user's key id, such as `user1.pub`.
    pub user: String,
    /// The maximum number of routes.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub routes: Option<Option<Limit>>,
    /// The maximum number of backends in all routes together.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub backends: Option<Option<Limit>>,
    /// The maximum number of mutations per minute.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub mutations_per_minute: Option<Option<Limit>>,
}

/// A number, or `"none"` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number, \"none\" for no limit, or null for the gateway's default")]
pub enum Limit {
    /// At most this number.
    AtMost(u32),
    /// No limit.
    Unlimited(UnlimitedWord),
}

/// The word `none`, for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnlimitedWord {
    /// No limit.
    None,
}

impl Limit {
    /// No limit.
    pub const NONE: Self = Self::Unlimited(UnlimitedWord::None);

    /// Returns the number; `None` if there is no limit.
    #[must_use]
    pub const fn number(self) -> Option<u32> {
        match self {
            Self::AtMost(most) => Some(most),
            Self::Unlimited(UnlimitedWord::None) => None,
        }
    }
}

impl From<Limit> for model::Limit {
    fn from(limit: Limit) -> Self {
        limit.number().map_or(Self::Unlimited, Self::AtMost)
    }
}

impl From<model::Quota> for QuotaView {
    fn from(quota: model::Quota) -> Self {
        let model::Quota { routes, backends, mutations_per_minute } = quota;
        Self { routes, backends, mutations_per_minute }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_can_be_set_lifted_reset_or_left_unchanged() {
        let read = |text: &str| serde_json::from_str::<UserQuota>(text);
        for (text, routes) in [
            (r#"{"user":"u"}"#, None),
            (r#"{"user":"u","routes":null}"#, Some(None)),
            (r#"{"user":"u","routes":0}"#, Some(Some(Limit::AtMost(0)))),
            (r#"{"user":"u","routes":"none"}"#, Some(Some(Limit::NONE))),
        ] {
            let quota = read(text).unwrap();
            assert_eq!(quota.routes, routes);
            assert_eq!(serde_json::to_string(&quota).unwrap(), text);
        }
        for wrong in
            [r#"{"user":"u","routes":-1}"#, r#"{"user":"u","routes":"all"}"#, r#"{"user":"u","routes":1.5}"#]
        {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("\"none\" for no limit"), "{error}");
        }
    }
}
