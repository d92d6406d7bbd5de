//! Lists of routes, a page at a time: each page costs what it has, however many entries there are.

use webgateway_proto::model::Mode;

use super::caller::Caller;
use super::page::{Page, PageRequest, Paged};
use super::refusal::Refusal;
use super::route_status::{RouteStatus, statuses_of};
use super::rules::Domain;
use crate::store::routes::{self, RouteFilter};

/// The routes that are asked for; what is `None` selects nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ListRoutes {
    /// Only routes whose host begins with this.
    pub host: Option<String>,
    /// Only routes of this owner.
    pub owner: Option<String>,
    /// Only routes of this mode.
    pub mode: Option<Mode>,
    /// The page.
    pub page: PageRequest,
}

impl Domain {
    /// Returns the revision at which they are read, and the routes that exist for the caller, by host.
    pub(crate) async fn list_routes(
        &self,
        caller: &Caller,
        query: ListRoutes,
    ) -> Result<(u64, Paged<RouteStatus>), Refusal> {
        let page = Page::parse(&query.page)?;
        let filter = RouteFilter {
            visible_to: caller.own().cloned(),
            owner: query.owner,
            host: query.host.map(|start| start.to_ascii_lowercase()),
            mode: query.mode,
        };
        let gateway = self.gateway();
        self.store
            .read("routes.list", move |tx| {
                let found = routes::page(tx, &filter, page.after.as_deref(), page.limit + 1)?;
                let Paged { entries, next } = page.cut(found, |route| route.host.as_str());
                let entries = statuses_of(tx, entries, &gateway)?;
                Ok((tx.revision()?, Paged { entries, next }))
            })
            .await
    }
}
