//! Tests of `routes.list` with `wait`, which returns once there is a newer version.

use std::pin::pin;

use futures_util::{future::select_all, poll};
use tokio::time::Instant;

use super::*;

fn wait_for_newer(version: u64) -> Value {
    json!({ "newer_than": version, "wait": 20 })
}

async fn current_version(fixture: &ApiFixture) -> u64 {
    fixture.call("user1.pub", "routes.list", json!({})).await.unwrap()["version"].as_u64().unwrap()
}

/// Polls a call for a while, which must not return in that time.
async fn assert_waits(call: impl Future<Output = Result<Value, Value>> + Unpin) {
    let mut call = call;
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        assert!(poll!(&mut call).is_pending(), "the call must wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_waiting_call_returns_on_a_change() {
    let fixture = ApiFixture::new();
    let (known, began) = (current_version(&fixture).await, Instant::now());
    let mut call = pin!(fixture.call("user1.pub", "routes.list", wait_for_newer(known)));
    assert_waits(call.as_mut()).await;
    fixture.call("user1.pub", "routes.create", route("new")).await.unwrap();
    let list = call.await.unwrap();
    assert_eq!(list["routes"][0]["host"], "new.gw.example");
    assert!(list["version"].as_u64().unwrap() > known && list["version"] == list["routes"][0]["version"]);
    let list = fixture.call("user1.pub", "routes.list", wait_for_newer(known)).await.unwrap();
    assert_eq!(list["routes"].as_array().unwrap().len(), 1, "the list is newer already");
    let list = fixture.call("user1.pub", "routes.list", json!({ "newer_than": u64::MAX })).await.unwrap();
    assert_eq!(
        list["version"].as_u64().unwrap(),
        current_version(&fixture).await,
        "without `wait`, the call returns at once"
    );
    let list =
        fixture.call("user1.pub", "routes.list", json!({ "newer_than": u64::MAX, "wait": 1 })).await.unwrap();
    assert_eq!(
        list["version"].as_u64().unwrap(),
        current_version(&fixture).await,
        "after the wait, the call returns the current version"
    );
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn wait_is_bounded_and_needs_newer_than() {
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
async fn the_waiting_calls_of_a_caller_are_bounded_and_dropped_ones_free_their_slot() {
    let fixture = ApiFixture::new();
    let known = current_version(&fixture).await;
    let calls = (0..17).map(|_| Box::pin(fixture.call("user1.pub", "routes.list", wait_for_newer(known))));
    let (refused, _, mut waiting) = select_all(calls).await;
    let error = refused.unwrap_err();
    assert_eq!((&error["code"], &error["data"]["kind"]), (&json!(-32050), &json!("rate_limited")));
    assert_eq!((&error["data"]["field"], &error["data"]["retry_after"]), (&json!("wait"), &json!(5)));
    assert_eq!(current_version(&fixture).await, known, "calls without `wait` are not limited");
    assert_waits(Box::pin(fixture.call("user2.pub", "routes.list", wait_for_newer(known)))).await;
    waiting.pop();
    assert_waits(Box::pin(fixture.call("user1.pub", "routes.list", wait_for_newer(known)))).await;
}

#[tokio::test]
async fn waiting_calls_return_when_the_process_stops() {
    let fixture = ApiFixture::new();
    let (known, began) = (current_version(&fixture).await, Instant::now());
    let mut call = pin!(fixture.call("user1.pub", "routes.list", wait_for_newer(known)));
    assert_waits(call.as_mut()).await;
    fixture.stop.begin();
    assert_eq!(call.await.unwrap()["version"], known);
    assert!(began.elapsed() < Duration::from_secs(10));
}
