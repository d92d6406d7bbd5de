//! Lists, a page at a time: each page costs what it has, however many entries there are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use webgateway_proto::api::{MAX_PAGE, RouteListParams, UserListParams, UserView, method};

use super::routes::show_all;
use super::users::show;
use super::{Caller, Domain, Refusal, Shown};
use crate::store::routes::{self, Filter};
use crate::store::users;

/// One page of a list.
#[derive(Debug)]
pub struct Paged<T> {
    /// What is on it.
    pub entries: Vec<T>,
    /// The cursor of the next one, if there is one.
    pub next: Option<String>,
}

/// Which page is asked for.
pub(super) struct Page {
    pub(super) limit: u32,
    /// The key of the entry before it.
    pub(super) after: Option<String>,
}

impl Domain {
    /// The revision at which they are read, and the routes that exist for the caller, by host.
    pub async fn list_routes(
        &self,
        caller: &Caller,
        params: RouteListParams,
    ) -> Result<(u64, Paged<Shown>), Refusal> {
        let page = Page::parse(params.limit, params.cursor.as_deref())?;
        let filter = Filter {
            seen_by: caller.own().cloned(),
            owner: params.owner,
            host: params.host.map(|start| start.to_ascii_lowercase()),
            mode: params.mode,
        };
        let base = self.hosts.base().clone();
        self.store
            .read(method::ROUTES_LIST, move |tx| {
                let found = routes::page(tx, &filter, page.after.as_deref(), page.limit + 1)?;
                let Paged { entries, next } = page.cut(found, |route| route.host.as_str());
                let entries = show_all(tx, entries, &base)?;
                Ok((tx.revision()?, Paged { entries, next }))
            })
            .await
    }

    /// The users this gateway has seen, by key; for the admin.
    pub async fn list_users(
        &self,
        caller: &Caller,
        params: UserListParams,
    ) -> Result<Paged<UserView>, Refusal> {
        caller.require_admin()?;
        let page = Page::parse(params.limit, params.cursor.as_deref())?;
        let (quotas, admin) = (self.quotas.clone(), self.admin.clone());
        self.store
            .read(method::ADMIN_USERS, move |tx| {
                let found = users::page(tx, params.suspended, page.after.as_deref(), page.limit + 1)?;
                let Paged { entries, next } = page.cut(found, |user| user.id.as_str());
                let shown = entries.into_iter().map(|user| show(user, &quotas, &admin));
                Ok(Paged { entries: shown.collect(), next })
            })
            .await
    }
}

impl Page {
    pub(super) fn parse(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Refusal> {
        let limit = limit.unwrap_or(MAX_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Refusal::Limit(MAX_PAGE));
        }
        let read =
            |cursor: &str| URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|key| String::from_utf8(key).ok());
        let after = cursor.map(|cursor| read(cursor).ok_or(Refusal::Cursor)).transpose()?;
        Ok(Self { limit, after })
    }

    /// The page, of what was found for it and one more.
    pub(super) fn cut<T>(&self, mut found: Vec<T>, key: impl Fn(&T) -> &str) -> Paged<T> {
        let limit = self.limit as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|last| Self::cursor(key(last)));
        Paged { entries: found, next }
    }

    /// The cursor of what comes after this key.
    pub(super) fn cursor(key: &str) -> String {
        URL_SAFE_NO_PAD.encode(key)
    }
}
