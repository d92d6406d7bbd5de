//! The retries of a route: after the named failures, and only where a request is safe to repeat.

use anyhow::{Result, ensure};
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};
use webgateway_tests::backend::{Backend, RawBehaviour};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::standalone::StandaloneSetup;

scenarios![
    each_condition_is_retried_if_it_is_named,
    the_number_of_attempts_is_bounded,
    a_response_that_has_begun_is_not_repeated,
];

const STATUSES: [u16; 3] = [502, 503, 504];

fn respond(status: u16) -> RawBehaviour {
    RawBehaviour::Respond(format!("HTTP/1.1 {status} Custom\r\nContent-Length: 4\r\n\r\nfail").into_bytes())
}

/// Returns the failing backends by the condition that covers their failure. The first one does not exist.
async fn failing() -> Result<Vec<(&'static str, Option<Backend>)>> {
    let mut all = vec![
        ("connect", None),
        ("closed", Some(Backend::raw(overlay(11, 8080), RawBehaviour::Close).await?)),
        ("timeout", Some(Backend::raw(overlay(12, 8080), RawBehaviour::Silence).await?)),
    ];
    for (n, (word, status)) in (13..).zip(["502", "503", "504"].into_iter().zip(STATUSES)) {
        all.push((word, Some(Backend::raw(overlay(n, 8080), respond(status)).await?)));
    }
    Ok(all)
}

fn options(on: &[&str]) -> Value {
    json!({ "retries": { "attempts": 2, "on": on }, "timeouts": { "first_byte": 0.3 } })
}

async fn each_condition_is_retried_if_it_is_named(sandbox: &Sandbox) -> Result<()> {
    let good = Backend::http(overlay(1, 8080)).await?;
    let failing = failing().await?;
    let words: Vec<&str> = failing.iter().map(|(word, _)| *word).collect();
    let host = |word: &str, is_named: bool| format!("{word}-{is_named}.gw.example");
    let setup = StandaloneSetup::start(sandbox, |file| {
        for (word, backend) in &failing {
            let bad = backend.as_ref().map_or(overlay(10, 8080), Backend::address);
            let others: Vec<&str> = words.iter().copied().filter(|other| other != word).collect();
            for (is_named, on) in [(true, &[*word][..]), (false, &others[..])] {
                let host = host(word, is_named);
                file.add_terminated(&host, &[bad, good.address()]).set_options(&host, &options(on));
            }
        }
    })
    .await?;
    for (word, bad) in &failing {
        let reached = || bad.as_ref().map_or(1, Backend::requests);
        // Of two requests in turn, one begins at the failing backend. `connect` is last: it makes that one unhealthy.
        for (method, body, is_named, repeated) in [
            (Method::POST, "once", true, *word == "connect"),
            (Method::GET, "", true, true),
            (Method::GET, "", false, false),
        ] {
            let (host, before) = (host(word, is_named), reached());
            let client = if is_named { setup.client()? } else { setup.client()?.h2() };
            let mut connection = client.connect(&host).await?;
            let mut statuses = Vec::new();
            for _ in 0..2 {
                let request = connection.request(method.clone(), &host, "/").body(Full::from(body))?;
                statuses.push(connection.send(request).await?.status.as_u16());
            }
            let what = format!("{method} with {word} named: {is_named}: {statuses:?}");
            if *word == "connect" && !is_named {
                // The backend is unhealthy by now, so that it may not be tried at all.
                continue;
            }
            let failed = statuses.iter().filter(|status| **status != 200).count();
            ensure!(failed == usize::from(!repeated), "{what}");
            ensure!(
                bad.is_none() || reached() == before + 1,
                "{what}: the failing backend is not reached once"
            );
        }
    }
    Ok(())
}

async fn the_number_of_attempts_is_bounded(sandbox: &Sandbox) -> Result<()> {
    let backend = Backend::raw(overlay(1, 8080), respond(503)).await?;
    let host = |attempts: u64| format!("a{attempts}.gw.example");
    let setup = StandaloneSetup::start(sandbox, |file| {
        for attempts in [1, 2, 4] {
            let options = json!({ "retries": { "attempts": attempts, "on": ["503"] } });
            file.add_terminated(&host(attempts), &[backend.address()]).set_options(&host(attempts), &options);
        }
        file.add_terminated("refuses.gw.example", &[overlay(2, 8080)])
            .set_options("refuses.gw.example", &json!({ "retries": { "attempts": 3 } }));
    })
    .await?;
    for attempts in [1, 2, 4] {
        let before = backend.requests();
        let reply = setup.client()?.get(&host(attempts), "/").await?.expect(503)?;
        ensure!(reply.text() == "fail", "the last response is forwarded: {reply:?}");
        ensure!(
            backend.requests() == before + attempts,
            "{} instead of {attempts}",
            backend.requests() - before
        );
    }
    setup.client()?.get("refuses.gw.example", "/").await?.expect(502)?;
    Ok(())
}

async fn a_response_that_has_begun_is_not_repeated(sandbox: &Sandbox) -> Result<()> {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let backend = Backend::raw(overlay(1, 8080), RawBehaviour::RespondAndReset(half)).await?;
    let on = ["connect", "closed", "timeout", "502", "503", "504"];
    let setup = StandaloneSetup::start(sandbox, |file| {
        file.add_terminated("app.gw.example", &[backend.address()])
            .set_options("app.gw.example", &json!({ "retries": { "attempts": 5, "on": on } }));
    })
    .await?;
    for client in [setup.client()?, setup.client()?.h2()] {
        let before = backend.requests();
        let reply = client.get("app.gw.example", "/").await;
        ensure!(reply.is_err(), "half a body came as a whole: {reply:?}");
        ensure!(backend.requests() == before + 1);
    }
    Ok(())
}
