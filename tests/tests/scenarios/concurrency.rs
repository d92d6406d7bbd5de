//! Concurrent callers of the API: one of them wins, and each gets the right response.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;
use webgateway_tests::client::Connection;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::signer::{SignatureParams, Signer, call, send};

scenarios![
    a_hundred_callers_claim_one_host,
    a_thousand_retries_make_one_route,
    one_update_wins_each_version,
    concurrent_claims_of_one_caller_get_separate_responses,
];

/// Creates the `number`th caller, whose key the controlplane knows.
fn caller(controlplane: &Controlplane, number: u8) -> Result<Signer> {
    let signer = Signer::from_seed([number; 32], &format!("caller{number}.pub"))?;
    signer.publish(&controlplane.keys())?;
    Ok(signer)
}

/// Sends each list of requests one after the other over a connection of its own, all lists concurrently, and returns
/// every response.
async fn send_all(api: SocketAddr, lists: Vec<Vec<Request<Bytes>>>) -> Result<Vec<Value>> {
    let start = Arc::new(Barrier::new(lists.len()));
    let mut callers = JoinSet::new();
    for list in lists {
        let (mut connection, start) = (Connection::plain(api).await?, Arc::clone(&start));
        callers.spawn(async move {
            start.wait().await;
            let mut responses = Vec::new();
            for request in list {
                responses.push(send(&mut connection, request).await?.expect(200)?.json()?);
            }
            anyhow::Ok(responses)
        });
    }
    let mut responses = Vec::new();
    while let Some(ended) = callers.join_next().await {
        responses.extend(ended??);
    }
    Ok(responses)
}

/// Splits the responses into results and errors.
fn split_results(responses: &[Value]) -> (Vec<&Value>, Vec<&Value>) {
    let results = responses.iter().map(|a| &a["result"]).filter(|r| !r.is_null());
    (results.collect(), responses.iter().map(|a| &a["error"]).filter(|e| !e.is_null()).collect())
}

async fn a_hundred_callers_claim_one_host(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start(sandbox).await?;
    let body = call("routes.create", json!({"subdomain": "gold", "backends": ["[400::1]:80"]})).to_string();
    let claim = |number| {
        let signer = caller(&controlplane, number)?;
        Ok(vec![signer.post(&controlplane.url(), &body, &SignatureParams::fresh())?])
    };
    let claims = (0..100).map(claim).collect::<Result<_>>()?;
    let responses = send_all(controlplane.rpc()?, claims).await?;
    let (results, errors) = split_results(&responses);
    ensure!(results.len() == 1 && errors.len() == 99, "{} results, {} errors", results.len(), errors.len());
    let [owner, id] = ["owner", "id"].map(|field| results[0][field].as_str().unwrap_or_default());
    for error in errors {
        ensure!(error["data"]["kind"] == "host_taken" && error["data"]["field"] == "host", "{error}");
        let text = error.to_string();
        ensure!(!text.contains(owner) && !text.contains(id), "whose it is stays private: {error}");
    }
    Ok(())
}

async fn a_thousand_retries_make_one_route(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start(sandbox).await?;
    let signer = caller(&controlplane, 1)?;
    let id = Uuid::now_v7().to_string();
    let params = json!({"id": id, "subdomain": "once", "backends": ["[400::1]:80"]});
    let body = call("routes.create", params).to_string();
    let retry = || signer.post(&controlplane.url(), &body, &SignatureParams::fresh());
    let retries = (0..50).map(|_| (0..20).map(|_| retry()).collect::<Result<_>>()).collect::<Result<_>>()?;
    let responses = send_all(controlplane.rpc()?, retries).await?;
    let (made, refused) = split_results(&responses);
    ensure!(
        made.len() == 1000 && refused.is_empty(),
        "{} were refused: {:?}",
        refused.len(),
        refused.first()
    );
    let different: BTreeSet<String> = made.iter().map(|route| route.to_string()).collect();
    ensure!(different.len() == 1 && made[0]["id"] == id.as_str(), "{different:?}");

    let mut api = Connection::plain(controlplane.rpc()?).await?;
    let url = controlplane.url();
    let list = signer.call(&mut api, &url, "routes.list", json!({})).await?.json()?;
    ensure!(list["result"]["routes"].as_array().map(Vec::len) == Some(1), "{list}");
    let audit = signer.call(&mut api, &url, "audit.list", json!({})).await?.json()?;
    ensure!(audit["result"]["records"].as_array().map(Vec::len) == Some(1), "{audit}");
    Ok(())
}

async fn one_update_wins_each_version(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start(sandbox).await?;
    let (signer, url) = (caller(&controlplane, 1)?, controlplane.url());
    let mut api = Connection::plain(controlplane.rpc()?).await?;
    let params = json!({"subdomain": "app", "backends": ["[400::1]:80"]});
    let mut route = signer.call(&mut api, &url, "routes.create", params).await?.json()?["result"].take();
    for round in 0..5 {
        let update = |n: usize| {
            let backend = format!("[400::{round}:{n}]:8080");
            let change =
                json!({"id": route["id"], "backends": [backend], "expected_version": route["version"]});
            Ok(vec![signer.post(
                &url,
                &call("routes.update", change).to_string(),
                &SignatureParams::fresh(),
            )?])
        };
        let updates = (1..=50).map(update).collect::<Result<_>>()?;
        let responses = send_all(controlplane.rpc()?, updates).await?;
        let (results, errors) = split_results(&responses);
        ensure!(
            results.len() == 1 && errors.len() == 49,
            "{} results, {} errors",
            results.len(),
            errors.len()
        );
        for error in errors {
            ensure!(error["data"]["kind"] == "stale_version", "{error}");
        }
        let now = signer.call(&mut api, &url, "routes.get", json!({"id": route["id"]})).await?.json()?;
        ensure!(now["result"] == *results[0], "what the winner was told is what there is: {now}");
        ensure!(results[0]["version"].as_u64() > route["version"].as_u64(), "{now}");
        route = results[0].clone();
    }
    Ok(())
}

/// Mixes valid claims, claims of a host that is taken, and claims with invalid backends: each fails or succeeds alone.
async fn concurrent_claims_of_one_caller_get_separate_responses(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start(sandbox).await?;
    let (signer, url) = (caller(&controlplane, 1)?, controlplane.url());
    let mut api = Connection::plain(controlplane.rpc()?).await?;
    let params = json!({"subdomain": "taken", "backends": ["[400::1]:80"]});
    signer.call(&mut api, &url, "routes.create", params).await?.expect(200)?;
    let claim = |n: usize| {
        let name = if n.is_multiple_of(2) { format!("r{n}") } else { "taken".to_owned() };
        let claim = json!({"subdomain": name, "backends": ["[400::1]:80"]});
        signer.post(&url, &call("routes.create", claim).to_string(), &SignatureParams::fresh())
    };
    let claims = (0..40).map(|c| (0..5).map(|n| claim(c * 5 + n)).collect::<Result<_>>());
    let responses = send_all(controlplane.rpc()?, claims.collect::<Result<_>>()?).await?;
    let (results, errors) = split_results(&responses);
    ensure!(
        results.len() == 100 && errors.len() == 100,
        "{} results, {} errors",
        results.len(),
        errors.len()
    );
    ensure!(errors.iter().all(|error| error["data"]["kind"] == "host_taken"), "{:?}", errors.first());
    let versions: BTreeSet<u64> = results.iter().filter_map(|route| route["version"].as_u64()).collect();
    ensure!(versions.len() == 100, "each change has a version of its own: {versions:?}");
    // The first connection may have been idle for longer than the API allows.
    let mut api = Connection::plain(controlplane.rpc()?).await?;
    let list = signer.call(&mut api, &url, "routes.list", json!({})).await?.json()?;
    let routes = list["result"]["routes"].as_array().context("no routes")?;
    ensure!(routes.len() == 101, "{}", routes.len());
    Ok(())
}
