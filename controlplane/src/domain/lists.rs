//! Lists, a page at a time: each page costs what it has, however many entries there are.

use webgateway_proto::api::{RouteListParams, UserListParams, UserView, method};

use super::page::{Page, Paged};
use super::routes::show_all;
use super::users::show;
use super::{Caller, Domain, Refusal, Shown};
use crate::store::routes::{self, Filter};
use crate::store::users;

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
