//! Lists, a page at a time: each page costs what it has, however many entries there are.

use webgateway_proto::api::{RouteListParams, method};

use super::caller::Caller;
use super::page::{Page, PageRequest, Paged};
use super::refusal::Refusal;
use super::routes::{Shown, show_all};
use super::rules::Domain;
use crate::store::routes::{self, Filter};

impl Domain {
    /// The revision at which they are read, and the routes that exist for the caller, by host.
    pub async fn list_routes(
        &self,
        caller: &Caller,
        params: RouteListParams,
    ) -> Result<(u64, Paged<Shown>), Refusal> {
        let page = Page::parse(&PageRequest { limit: params.limit, cursor: params.cursor })?;
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
}
