//! Users as the API shows them, and what the admin may do with them.

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

/// Params of `admin.suspend`. For a user who is suspended already, reason and end are these from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSuspend {
    /// The user's key id, such as `user1.pub`.
    pub user: String,
    /// Why, for the user to read: one line of up to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it ends by itself (RFC 3339, in the future); if it is left out, with `admin.unsuspend` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Result of `admin.suspend` and `admin.unsuspend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserState {
    /// The user's key id.
    pub user: String,
    /// Whether they are suspended now.
    pub suspended: bool,
    /// Why, since when and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<SuspensionView>,
    /// How many routes they own.
    pub routes: u64,
    /// The store's revision now.
    pub version: u64,
}

/// A suspension as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SuspensionView {
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it began (RFC 3339).
    pub since: String,
    /// When it ends by itself (RFC 3339); absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Params of `admin.users`: what is left out selects nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserListParams {
    /// Only users who are suspended, or who are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
    /// How many users at most, from 1 to 1000, which it is if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// The `next_cursor` of the page before, whose params are to be given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Result of `admin.users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserList {
    /// The users who ever created a route or were spoken of here, by key id.
    pub users: Vec<UserView>,
    /// The `cursor` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A user as the API shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserView {
    /// The user's key id.
    pub user: String,
    /// When the gateway first saw them (RFC 3339).
    pub first_seen: String,
    /// Whether they are suspended.
    pub suspended: bool,
    /// Why, since when and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<SuspensionView>,
    /// How many routes they own.
    pub routes: u64,
    /// How many backends these have together.
    pub backends: u64,
    /// What they may have, the gateway's defaults included.
    pub quota: QuotaView,
}

/// What a user may have; `null` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaView {
    /// How many routes.
    pub routes: Option<u32>,
    /// How many backends, in all routes together.
    pub backends: Option<u32>,
    /// How many calls that change something, in a minute.
    pub mutations_per_minute: Option<u32>,
}

/// Reads a field that may be left out, or be `null`, which is something else.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Params of `admin.quota`: what is left out stays as it is, `null` brings the gateway's default back. What a user has
/// already stays, also over the quota.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserQuota {
    /// The user's key id, such as `user1.pub`.
    pub user: String,
    /// How many routes they may have.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub routes: Option<Option<Limit>>,
    /// How many backends, in all routes together.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub backends: Option<Option<Limit>>,
    /// How many calls that change something, in a minute.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub mutations_per_minute: Option<Option<Limit>>,
}

/// A number, or `"none"` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number, \"none\" for no limit, or null for the gateway's default")]
pub enum Limit {
    /// This many at most.
    AtMost(u32),
    /// As many as they like.
    Unlimited(UnlimitedWord),
}

/// The word for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnlimitedWord {
    /// No limit.
    None,
}

impl Limit {
    /// No limit.
    pub const NONE: Self = Self::Unlimited(UnlimitedWord::None);

    /// The number, if there is one.
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
    fn a_quota_is_a_number_none_the_default_or_left_alone() {
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
