//! Backends that fail, and how the load is spread over those that do not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::Method;
use http_body_util::Full;
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::{Backend, BlackHole, Raw};
use webgateway_tests::client::Client;
use webgateway_tests::netns::{overlay, vanish};
use webgateway_tests::scene::Scene;
use webgateway_tests::stories;
use webgateway_tests::websocket::WebSocket;

use crate::standalone::Standalone;

stories![
    round_robin_takes_turns,
    random_takes_any,
    a_dead_backend_is_passed_over,
    all_refuse_502,
    a_black_hole_504,
    a_late_answer_504,
    garbage_502,
    a_close_without_an_answer_502,
    a_break_in_the_middle_is_seen,
    a_backend_that_comes_back_is_used,
    a_post_is_not_sent_twice,
    a_backend_that_closes_idle_connections_is_no_error,
    an_address_outside_the_overlay_is_refused_here_too,
    only_what_does_no_harm_is_repeated,
    a_connection_is_given_up_before_its_backend_does,
    bytes_on_an_idle_connection_are_no_answer,
    a_backends_host_that_vanishes_is_noticed_within_seconds,
    a_log_line_says_which_connection_and_request_it_is_of,
];

const HOST: &str = "app.gw.example";
const QUICK: &str = "[limits]\nconnect_timeout = \"400ms\"\nresponse_timeout = \"400ms\"";

async fn quick(scene: &Scene, backends: &[std::net::SocketAddr]) -> Result<Standalone> {
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.terminated(HOST, backends);
    };
    Standalone::start_with(scene, routes, |setup| setup.more(QUICK)).await
}

async fn spread(world: &Standalone, requests: usize) -> Result<BTreeMap<String, usize>> {
    let mut connection = world.visitor()?.connect(HOST).await?;
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let seen = connection.get(HOST, "/").await?.expect(200)?.json()?;
        *counts.entry(seen["backend"].to_string()).or_default() += 1;
    }
    Ok(counts)
}

async fn three() -> Result<[Backend; 3]> {
    Ok([
        Backend::http(overlay(1, 8080)).await?,
        Backend::http(overlay(2, 8080)).await?,
        Backend::http(overlay(3, 8080)).await?,
    ])
}

async fn round_robin_takes_turns(scene: &Scene) -> Result<()> {
    let backends = three().await?;
    let world = quick(scene, &backends.each_ref().map(Backend::address)).await?;
    let counts = spread(&world, 30).await?;
    ensure!(counts.values().all(|&n| n == 10), "{counts:?}");
    Ok(())
}

async fn random_takes_any(scene: &Scene) -> Result<()> {
    let backends = three().await?;
    let mut world = quick(scene, &[backends[0].address()]).await?;
    let addresses = backends.each_ref().map(Backend::address);
    world.change(|file| {
        file.moved(HOST, &addresses).balanced(HOST, "random");
    })?;
    webgateway_tests::wait::eventually("all three are used", Duration::from_secs(20), async || {
        let counts = spread(&world, 30).await?;
        ensure!(counts.len() == 3, "{counts:?}");
        Ok(())
    })
    .await
}

async fn a_dead_backend_is_passed_over(scene: &Scene) -> Result<()> {
    let alive = Backend::http(overlay(2, 8080)).await?;
    let world = quick(scene, &[overlay(1, 8080), alive.address()]).await?;
    for client in [world.visitor()?, world.visitor()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        for _ in 0..20 {
            connection.get(HOST, "/").await?.expect(200)?;
        }
    }
    let mut connection = world.visitor()?.connect(HOST).await?;
    let post = connection.request(Method::POST, HOST, "/").body(Full::from("body"))?;
    let seen = connection.send(post).await?.expect(200)?.json()?;
    ensure!(seen["body"] == "body", "nothing was sent yet, so the body is whole: {seen}");
    Ok(())
}

async fn fails_with(world: &Standalone, status: u16, word: &str) -> Result<()> {
    for client in [world.visitor()?, world.visitor()?.h2()] {
        let reply = client.get(HOST, "/").await?.expect(status)?;
        let says = reply.header("proxy-status").to_owned();
        ensure!(says.contains(&format!("error={word}")), "Proxy-Status says {says:?}, not {word}");
        ensure!(
            !says.contains("400::") && !reply.text().contains("400::"),
            "the backend stays private: {reply:?}"
        );
    }
    Ok(())
}

async fn all_refuse_502(scene: &Scene) -> Result<()> {
    let world = quick(scene, &[overlay(1, 8080), overlay(2, 8080)]).await?;
    fails_with(&world, 502, "connection_refused").await
}

async fn a_black_hole_504(scene: &Scene) -> Result<()> {
    let hole = BlackHole::at(overlay(1, 8080))?;
    let world = quick(scene, &[hole.address()]).await?;
    let begun = Instant::now();
    fails_with(&world, 504, "connection_timeout").await?;
    ensure!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    Ok(())
}

async fn a_late_answer_504(scene: &Scene) -> Result<()> {
    let silent = Backend::raw(overlay(1, 8080), Raw::Silence).await?;
    let world = quick(scene, &[silent.address()]).await?;
    fails_with(&world, 504, "http_response_timeout").await
}

async fn garbage_502(scene: &Scene) -> Result<()> {
    let garbage =
        Backend::raw(overlay(1, 8080), Raw::Answer(b"\x00\x01 this is no HTTP\r\n\r\n".to_vec())).await?;
    let world = quick(scene, &[garbage.address()]).await?;
    fails_with(&world, 502, "http_protocol_error").await
}

async fn a_close_without_an_answer_502(scene: &Scene) -> Result<()> {
    let closing = Backend::raw(overlay(1, 8080), Raw::Close).await?;
    let world = quick(scene, &[closing.address()]).await?;
    for client in [world.visitor()?, world.visitor()?.h2()] {
        let reply = client.get(HOST, "/").await?.expect(502)?;
        ensure!(reply.header("proxy-status").contains("error="), "{reply:?}");
    }
    Ok(())
}

async fn a_break_in_the_middle_is_seen(scene: &Scene) -> Result<()> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let raw = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let resetting = Backend::raw(overlay(2, 8080), Raw::AnswerAndReset(raw)).await?;
    let mut world = quick(scene, &[backend.address()]).await?;
    for client in [world.visitor()?, world.visitor()?.h2()] {
        let reply = client.get(HOST, "/break").await;
        ensure!(reply.is_err(), "half a body came as a whole: {reply:?}");
    }
    world.change(|file| {
        file.terminated("resets.gw.example", &[resetting.address()]);
    })?;
    let visitor = world.visitor()?;
    webgateway_tests::wait::eventually("the route is there", Duration::from_secs(5), async || {
        let reply = visitor.get("resets.gw.example", "/").await;
        ensure!(reply.is_err(), "half a body came as a whole: {reply:?}");
        Ok(())
    })
    .await?;
    visitor.get(HOST, "/").await?.expect(200)?;
    Ok(())
}

async fn a_backend_that_comes_back_is_used(scene: &Scene) -> Result<()> {
    let world = quick(scene, &[overlay(1, 8080)]).await?;
    let visitor = world.visitor()?;
    visitor.get(HOST, "/").await?.expect(502)?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    webgateway_tests::wait::eventually("it is used", Duration::from_secs(10), async || {
        visitor.get(HOST, "/").await?.expect(200)
    })
    .await?;
    Ok(())
}

async fn a_post_is_not_sent_twice(scene: &Scene) -> Result<()> {
    let first = Backend::raw(overlay(1, 8080), Raw::Close).await?;
    let second = Backend::raw(overlay(2, 8080), Raw::Close).await?;
    let world = quick(scene, &[first.address(), second.address()]).await?;
    let mut connection = world.visitor()?.connect(HOST).await?;
    let post = connection.request(Method::POST, HOST, "/pay").body(Full::from("once"))?;
    connection.send(post).await?.expect(502)?;
    ensure!(first.requests() + second.requests() == 1, "{} and {}", first.requests(), second.requests());
    Ok(())
}

async fn a_backend_that_closes_idle_connections_is_no_error(scene: &Scene) -> Result<()> {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    // It promises keep-alive and closes after each answer.
    let backend = Backend::raw(overlay(1, 8080), Raw::Answer(answer)).await?;
    let world = quick(scene, &[backend.address()]).await?;
    let mut connection = world.visitor()?.connect(HOST).await?;
    for _ in 0..50 {
        ensure!(connection.get(HOST, "/").await?.expect(200)?.text() == "ok");
    }
    Ok(())
}

async fn an_address_outside_the_overlay_is_refused_here_too(scene: &Scene) -> Result<()> {
    let inside = Backend::http(overlay(1, 8080)).await?;
    let outside = Backend::http("127.0.0.1:8081".parse()?).await?;
    let mut world = quick(scene, &[inside.address()]).await?;
    world.change(|file| {
        file.terminated("local.gw.example", &[outside.address()]);
    })?;
    let visitor = world.visitor()?;
    webgateway_tests::wait::eventually("the log names the route", Duration::from_secs(5), async || {
        let log = world.gateway.process().logged()?;
        ensure!(log.contains("local.gw.example") && log.contains("127.0.0.1:8081"), "{log}");
        Ok(())
    })
    .await?;
    visitor.get(HOST, "/").await?.expect(200)?;
    visitor.get("local.gw.example", "/").await?.expect(503)?;
    ensure!(outside.connections() == 0);
    Ok(())
}

async fn only_what_does_no_harm_is_repeated(scene: &Scene) -> Result<()> {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (n, (method, body, repeated)) in (1..).zip([
        (Method::GET, "", true),
        (Method::HEAD, "", true),
        (Method::OPTIONS, "", true),
        (Method::TRACE, "", true),
        (Method::PUT, "", true),
        (Method::DELETE, "", true),
        (Method::PUT, "once", false),
        (Method::DELETE, "once", false),
        (Method::GET, "once", false),
        (Method::POST, "", false),
        (Method::POST, "once", false),
        (Method::PATCH, "", false),
        (Method::PATCH, "once", false),
    ]) {
        let what = format!("{method} {body:?}");
        // Each connection breaks with its second request.
        let backend = Backend::raw(overlay(n, 8080), Raw::AnswerSome(answer.clone(), 1)).await?;
        let world = quick(scene, &[backend.address()]).await?;
        let mut connection = world.visitor()?.connect(HOST).await?;
        connection.get(HOST, "/").await?.expect(200)?;
        let request = connection.request(method, HOST, "/again").body(Full::from(body))?;
        let reply = connection.send(request).await?;
        let (status, requests) = if repeated { (200, 3) } else { (502, 2) };
        ensure!(reply.status.as_u16() == status, "{what}: {reply:?}");
        ensure!(backend.requests() == requests, "{what} came {} times", backend.requests() - 1);
        ensure!(backend.connections() == requests - 1, "{what}: {} connections", backend.connections());
    }
    Ok(())
}

async fn a_connection_is_given_up_before_its_backend_does(scene: &Scene) -> Result<()> {
    const LONG: &str = "[limits]\nbackend_idle = \"1h\"";
    let answer = |keep: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{keep}\r\n").into_bytes();
    for (n, (keep, connections, is_given_up)) in (1..).zip([
        ("Keep-Alive: timeout=1\r\n", 1, true),
        ("Connection: keep-alive\r\nkeep-alive: max=100, Timeout=1\r\n", 1, true),
        ("Keep-Alive: max=5\r\nKeep-Alive: timeout=1\r\n", 1, true),
        ("Keep-Alive: timeout=0\r\n", 2, true),
        ("Keep-Alive: timeout=60, max=0\r\n", 2, true),
        ("Connection: close\r\n", 2, true),
        ("Keep-Alive: timeout=60\r\n", 1, false),
        ("Keep-Alive: timeout=soon\r\n", 1, false),
        ("", 1, false),
    ]) {
        let backend = Backend::raw(overlay(n, 8080), Raw::AnswerSome(answer(keep), u64::MAX)).await?;
        let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
            file.terminated(HOST, &[backend.address()]);
        };
        let world = Standalone::start_with(scene, routes, |setup| setup.more(LONG)).await?;
        let mut connection = world.visitor()?.connect(HOST).await?;
        for _ in 0..2 {
            let post = connection.request(Method::POST, HOST, "/").body(Full::from("x"))?;
            ensure!(connection.send(post).await?.expect(200)?.header("keep-alive").is_empty(), "{keep:?}");
        }
        ensure!(backend.connections() == connections, "{keep:?}: {} connections", backend.connections());
        let closed =
            webgateway_tests::wait::eventually("the gateway hangs up", Duration::from_secs(3), async || {
                ensure!(backend.open() == 0, "{} open", backend.open());
                Ok(())
            });
        ensure!(closed.await.is_ok() == is_given_up, "{keep:?}");
    }
    Ok(())
}

async fn bytes_on_an_idle_connection_are_no_answer(scene: &Scene) -> Result<()> {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright";
    for (n, beyond) in (1..).zip([
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "\r\n",
        "x",
    ]) {
        let raw = Raw::AnswerSome([ANSWER, beyond].concat().into_bytes(), u64::MAX);
        let backend = Backend::raw(overlay(n, 8080), raw).await?;
        let world = quick(scene, &[backend.address()]).await?;
        let mut connection = world.visitor()?.connect(HOST).await?;
        for method in [Method::GET, Method::POST, Method::GET, Method::POST] {
            let request = connection.request(method, HOST, "/").body(Full::from(""))?;
            ensure!(connection.send(request).await?.expect(200)?.text() == "right", "{beyond:?}");
        }
        ensure!(backend.connections() == 4, "{beyond:?}: {} connections", backend.connections());
    }
    Ok(())
}

/// Requests over pooled connections, a WebSocket and a passthrough alike.
async fn a_backends_host_that_vanishes_is_noticed_within_seconds(scene: &Scene) -> Result<()> {
    const PASSED: &str = "pass.example";
    const SOON: Duration = Duration::from_secs(8);
    // One address for each, as each is taken away while the connection is idle.
    let [get, post, socket] = three().await?;
    let tls = Authority::new()?;
    let server = tls.issue(&[PASSED])?.server(&["http/1.1"])?;
    let passed = Backend::https(overlay(4, 8443), server).await?;
    let routes = |file: &mut webgateway_tests::feed_file::FeedFile| {
        file.terminated("get.gw.example", &[get.address()])
            .terminated("post.gw.example", &[post.address()])
            .terminated("ws.gw.example", &[socket.address()])
            .passthrough(PASSED, &[passed.address()]);
    };
    let limits = "[limits]\nack_timeout = \"1s\"\nconnect_timeout = \"1s\"\nbackend_idle = \"1h\"";
    let world = Standalone::start_with(scene, routes, |setup| setup.more(limits)).await?;
    for (n, host, method) in [(1, "get.gw.example", Method::GET), (2, "post.gw.example", Method::POST)] {
        let mut connection = world.visitor()?.connect(host).await?;
        connection.get(host, "/").await?.expect(200)?;
        vanish(n)?;
        let begun = Instant::now();
        let request = connection.request(method, host, "/").body(Full::from(""))?;
        let reply = connection.send(request).await?;
        ensure!([502, 504].contains(&reply.status.as_u16()), "{host}: {reply:?}");
        ensure!(begun.elapsed() < SOON, "{host}: {:?}", begun.elapsed());
    }
    for (n, host, client) in
        [(3, "ws.gw.example", world.visitor()?), (4, PASSED, Client::new(world.gateway.https(), tls.root())?)]
    {
        let mut websocket = WebSocket::open(client.tls(host).await?, host, "/ws").await?;
        websocket.echo("before").await?;
        vanish(n)?;
        let begun = Instant::now();
        ensure!(websocket.echo("after").await.is_err(), "{host}: it is gone");
        ensure!(begun.elapsed() < SOON, "{host}: {:?}", begun.elapsed());
    }
    Ok(())
}

async fn a_log_line_says_which_connection_and_request_it_is_of(scene: &Scene) -> Result<()> {
    let mut world = quick(scene, &[overlay(1, 8080)]).await?;
    for client in [world.visitor()?, world.visitor()?.h2()] {
        let mut connection = client.connect(HOST).await?;
        connection.get(HOST, "/").await?.expect(502)?;
        connection.get(HOST, "/").await?.expect(502)?;
    }
    let log = world.gateway.process().logged()?;
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("backend request failed")).collect();
    ensure!(failed.len() == 4, "{log}");
    for (line, request) in failed.iter().zip([1, 2, 1, 2]) {
        let of_connection = line.contains("connection{id=")
            && line.contains("client=[::1]:")
            && line.contains(&format!("sni=\"{HOST}\""));
        let of_request = line.contains(&format!("request{{id={request} host=\"{HOST}\" route="));
        ensure!(of_connection && of_request, "{line}");
    }
    Ok(())
}
