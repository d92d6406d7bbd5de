//! `routes.list` that waits for what is newer.

use std::pin::pin;

use futures_util::{future::join_all, poll};
use tokio::time::Instant;

use super::*;

fn newer_than(version: u64) -> Value {
    json!({ "newer_than": version, "wait": 20 })
}

async fn version(fixture: &ApiFixture) -> u64 {
    fixture.call("user1.pub", "routes.list", json!({})).await.unwrap()["version"].as_u64().unwrap()
}

/// Beyond what the calls before it do, a wait does nothing until there is news.
async fn begins(call: impl Future<Output = Result<Value, Value>> + Unpin) {
    let mut call = call;
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        assert!(poll!(&mut call).is_pending(), "it does not wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_answer_comes_with_the_change() {
    let fixture = ApiFixture::new();
    let (known, began) = (version(&fixture).await, Instant::now());
    let mut call = pin!(fixture.call("user1.pub", "routes.list", newer_than(known)));
    begins(call.as_mut()).await;
    fixture.call("user1.pub", "routes.create", route("new")).await.unwrap();
    let list = call.await.unwrap();
    assert_eq!(list["routes"][0]["host"], "new.gw.example");
    assert!(list["version"].as_u64().unwrap() > known && list["version"] == list["routes"][0]["version"]);
    let list = fixture.call("user1.pub", "routes.list", newer_than(known)).await.unwrap();
    assert_eq!(list["routes"].as_array().unwrap().len(), 1, "what is newer already");
    let list = fixture.call("user1.pub", "routes.list", json!({ "newer_than": u64::MAX })).await.unwrap();
    assert_eq!(list["version"].as_u64().unwrap(), version(&fixture).await, "without `wait` at once");
    let list =
        fixture.call("user1.pub", "routes.list", json!({ "newer_than": u64::MAX, "wait": 1 })).await.unwrap();
    assert_eq!(list["version"].as_u64().unwrap(), version(&fixture).await, "when the wait is over");
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_wait_is_for_something_and_not_for_ever() {
    let fixture = ApiFixture::new();
    for params in
        [json!({ "wait": 1 }), json!({ "newer_than": 0, "wait": 0 }), json!({ "newer_than": 0, "wait": 21 })]
    {
        let error = fixture.call("user1.pub", "routes.list", params).await.unwrap_err();
        assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32602), &json!("invalid_wait")));
        assert_eq!(error["data"]["field"], "wait");
    }
}

#[tokio::test]
async fn whoever_waits_too_often_is_told_when_to_come_again_and_who_goes_makes_room() {
    let fixture = ApiFixture::new();
    let known = version(&fixture).await;
    let mut calls: Vec<_> =
        (0..16).map(|_| Box::pin(fixture.call("user1.pub", "routes.list", newer_than(known)))).collect();
    join_all(calls.iter_mut().map(begins)).await;
    let error = fixture.call("user1.pub", "routes.list", newer_than(known)).await.unwrap_err();
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32050), &json!("rate_limited")));
    assert_eq!((&error["data"]["field"], &error["data"]["retry_after"]), (&json!("wait"), &json!(5)));
    assert_eq!(version(&fixture).await, known, "what does not wait is answered");
    begins(Box::pin(fixture.call("user2.pub", "routes.list", newer_than(known)))).await;
    calls.pop();
    begins(Box::pin(fixture.call("user1.pub", "routes.list", newer_than(known)))).await;
}

#[tokio::test]
async fn when_the_process_stops_nobody_waits() {
    let fixture = ApiFixture::new();
    let (known, began) = (version(&fixture).await, Instant::now());
    let mut call = pin!(fixture.call("user1.pub", "routes.list", newer_than(known)));
    begins(call.as_mut()).await;
    fixture.stop.begin();
    assert_eq!(call.await.unwrap()["version"], known);
    assert!(began.elapsed() < Duration::from_secs(10));
}
