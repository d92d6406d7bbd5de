//! Tests of paged lists of routes.

use super::*;

/// Returns the first labels of the hosts on every page, following the cursors.
async fn pages(test: &TestDomain, who: &str, params: ListRoutes) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = PageRequest { cursor, ..params.page.clone() };
        let params = ListRoutes { page, ..params.clone() };
        let (_, page) = test.domain.list_routes(&test.caller(who), params).await.unwrap();
        let label = |status: &RouteStatus| status.route.host.as_str().split('.').next().unwrap().to_owned();
        pages.push(page.entries.iter().map(label).collect());
        cursor = page.next;
        if cursor.is_none() {
            return pages;
        }
    }
}

fn by(limit: u32) -> ListRoutes {
    ListRoutes { page: PageRequest { limit: Some(limit), cursor: None }, ..ListRoutes::default() }
}

#[tokio::test]
async fn pages_of_any_size_list_all_routes_in_order() {
    let test = TestDomain::new();
    for (who, label) in [("u1", "e"), ("u2", "d"), ("u1", "c"), ("u2", "b"), ("u1", "a")] {
        test.create(who, label).await.unwrap();
    }
    assert_eq!(pages(&test, "admin.pub", by(2)).await, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    assert_eq!(pages(&test, "u1", by(2)).await, [vec!["a", "c"], vec!["e"]]);
    assert_eq!(pages(&test, "u1", by(3)).await, [["a", "c", "e"]], "no empty last page");
    assert_eq!(pages(&test, "u1", ListRoutes::default()).await, [["a", "c", "e"]]);
    assert_eq!(pages(&test, "nobody", by(1)).await, [[""; 0]]);
}

#[tokio::test]
async fn changes_between_pages_do_not_shift_the_next_page() {
    let test = TestDomain::new();
    for label in ["b", "d", "f"] {
        test.create("u", label).await.unwrap();
    }
    let caller = test.caller("u");
    let (_, first) = test.domain.list_routes(&caller, by(2)).await.unwrap();
    let gone = first.entries[1].route.id;
    test.domain.delete_route(&caller, deletion(gone)).await.unwrap();
    test.create("u", "a").await.unwrap();
    let page = PageRequest { limit: Some(2), cursor: first.next };
    let (_, second) =
        test.domain.list_routes(&caller, ListRoutes { page, ..ListRoutes::default() }).await.unwrap();
    let hosts: Vec<_> = second.entries.iter().map(|status| status.route.host.as_str()).collect();
    assert_eq!(hosts, ["f.gw.example"]);
}

#[tokio::test]
async fn filters_are_combined() {
    let test = TestDomain::new();
    for (who, label) in [("u1", "shop"), ("u1", "shopping"), ("u2", "shore"), ("u2", "other")] {
        test.create(who, label).await.unwrap();
    }
    test.domain.create_route(&test.caller("u2"), passthrough_params("shop.example.org")).await.unwrap();
    let all = ListRoutes::default();
    let starting_with = |start: &str| ListRoutes { host: Some(start.into()), ..by(1) };
    assert_eq!(pages(&test, "admin.pub", starting_with("Shop.")).await.concat(), ["shop", "shop"]);
    assert_eq!(pages(&test, "u1", starting_with("shop")).await.concat(), ["shop", "shopping"]);
    assert!(pages(&test, "u1", starting_with("%")).await.concat().is_empty(), "no wildcards");
    let of = |owner: &str| ListRoutes { owner: Some(owner.into()), ..all.clone() };
    assert_eq!(pages(&test, "admin.pub", of("u2")).await.concat(), ["other", "shop", "shore"]);
    assert!(pages(&test, "u1", of("u2")).await.concat().is_empty(), "routes of other owners are not visible");
    let passthrough = ListRoutes { mode: Some(Mode::Passthrough), ..of("u2") };
    assert_eq!(pages(&test, "admin.pub", passthrough).await.concat(), ["shop"]);
}

#[tokio::test]
async fn invalid_limits_and_cursors_are_refused() {
    let test = TestDomain::new();
    let caller = test.caller("u");
    for limit in [0, 1001] {
        let refused = test.domain.list_routes(&caller, by(limit)).await;
        assert!(matches!(refused, Err(DomainError::Limit(1000))), "{refused:?}");
    }
    for cursor in ["?", "a", "gA"] {
        let page = PageRequest { limit: Some(1), cursor: Some(cursor.into()) };
        let params = ListRoutes { page, ..ListRoutes::default() };
        let refused = test.domain.list_routes(&caller, params).await;
        assert!(matches!(refused, Err(DomainError::Cursor)), "{cursor}: {refused:?}");
    }
}
