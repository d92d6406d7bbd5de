//! Paged lists of routes. The cost of a page depends on its entries, not on the length of the list.

use webgateway_proto::model::Mode;

use super::caller::Caller;
use super::error::DomainError;
use super::page::{Page, PageRange, PageRequest};
use super::route_status::{RouteStatus, statuses_of};
use super::rules::Domain;
use crate::store::routes::{self, RouteFilter};

/// A query of routes. A filter that is `None` does not restrict the result.
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
    /// Lists the routes that the caller can see, by host. Also returns the revision at which they were read.
    pub(crate) async fn list_routes(
        &self,
        caller: &Caller,
        query: ListRoutes,
    ) -> Result<(u64, Page<RouteStatus>), DomainError> {
        let page = PageRange::parse(&query.page)?;
        let filter = RouteFilter {
            visible_to: caller.as_user().cloned(),
            owner: query.owner,
            host: query.host.map(|prefix| prefix.to_ascii_lowercase()),
            mode: query.mode,
        };
        let gateway = self.gateway();
        self.store
            .read("routes.list", move |tx| {
                let found = routes::page(tx, &filter, page.after.as_deref(), page.limit + 1)?;
                let Page { entries, next } = page.paginate(found, routes::page_key);
                let entries = statuses_of(tx, entries, &gateway)?;
                Ok((tx.revision()?, Page { entries, next }))
            })
            .await
    }
}
