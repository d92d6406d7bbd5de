//! Lists, page by page.

use super::*;

/// The hosts' first labels on every page, following the cursors.
async fn pages(test: &TestDomain, who: &str, params: ListRoutes) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = PageRequest { cursor, ..params.page.clone() };
        let params = ListRoutes { page, ..params.clone() };
        let (_, page) = test.domain.list_routes(&test.caller(who), params).await.unwrap();
        let label = |shown: &RouteStatus| shown.route.host.as_str().split('.').next().unwrap().to_owned();
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
async fn the_pages_together_are_the_list_whatever_their_size() {
    let test = TestDomain::new();
    for (who, label) in [("u1", "e"), ("u2", "d"), ("u1", "c"), ("u2", "b"), ("u1", "a")] {
        test.create(who, label).await.unwrap();
    }
    assert_eq!(pages(&test, "admin.pub", by(2)).await, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    assert_eq!(pages(&test, "u1", by(2)).await, [vec!["a", "c"], vec!["e"]]);
    assert_eq!(pages(&test, "u1", by(3)).await, [["a", "c", "e"]], "no page without anything");
    assert_eq!(pages(&test, "u1", ListRoutes::default()).await, [["a", "c", "e"]]);
    assert_eq!(pages(&test, "nobody", by(1)).await, [[""; 0]]);
}

#[tokio::test]
async fn what_comes_and_goes_between_pages_shifts_nothing() {
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
    let hosts: Vec<_> = second.entries.iter().map(|shown| shown.route.host.as_str()).collect();
    assert_eq!(hosts, ["f.gw.example"]);
}

#[tokio::test]
async fn filters_select_together() {
    let test = TestDomain::new();
    for (who, label) in [("u1", "shop"), ("u1", "shopping"), ("u2", "shore"), ("u2", "other")] {
        test.create(who, label).await.unwrap();
    }
    test.domain.create_route(&test.caller("u2"), passed_through("shop.example.org")).await.unwrap();
    let all = ListRoutes::default();
    let begins = |start: &str| ListRoutes { host: Some(start.into()), ..by(1) };
    assert_eq!(pages(&test, "admin.pub", begins("Shop.")).await.concat(), ["shop", "shop"]);
    assert_eq!(pages(&test, "u1", begins("shop")).await.concat(), ["shop", "shopping"]);
    assert!(pages(&test, "u1", begins("%")).await.concat().is_empty(), "no wildcards");
    let of = |owner: &str| ListRoutes { owner: Some(owner.into()), ..all.clone() };
    assert_eq!(pages(&test, "admin.pub", of("u2")).await.concat(), ["other", "shop", "shore"]);
    assert!(pages(&test, "u1", of("u2")).await.concat().is_empty(), "somebody else's do not exist");
    let passed = ListRoutes { mode: Some(Mode::Passthrough), ..of("u2") };
    assert_eq!(pages(&test, "admin.pub", passed).await.concat(), ["shop"]);
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
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
