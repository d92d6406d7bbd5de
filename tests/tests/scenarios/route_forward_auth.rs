//! Forward authentication by a service on the overlay.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};
use webgateway_tests::auth_service::AuthService;
use webgateway_tests::backend::{Backend, BlackHole, RawBehaviour};
use webgateway_tests::client::{Client, Reply};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;
use webgateway_tests::websocket::WebSocket;

use crate::setup::full::FullSetup;
use crate::setup::standalone::StandaloneSetup;
use crate::terminated_routes::header;

scenarios![
    the_service_is_asked_and_its_headers_are_copied,
    any_other_response_goes_to_the_client,
    without_a_response_nobody_gets_in,
    websockets_are_checked_too,
    the_connection_to_the_service_is_reused,
    the_service_must_be_an_allowed_address,
];

const HOST: &str = "app.gw.example";
const SOON: Duration = Duration::from_secs(10);

struct Protected {
    setup: StandaloneSetup,
    backend: Backend,
    service: AuthService,
}

fn auth(service: &str) -> Value {
    json!({"forward": {"backend": service, "path": "/verify?app=1", "timeout": 1,
        "headers": ["Remote-User", "X-Roles", "X-Absent"]}})
}

async fn protected(sandbox: &Sandbox) -> Result<Protected> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let service = AuthService::start(overlay(5, 9091)).await?;
    let routes = |file: &mut FeedFile| {
        let auth = auth(&service.address().to_string());
        file.add_terminated(HOST, &[backend.address()]).set_option(HOST, "auth", auth);
    };
    let setup = StandaloneSetup::start(sandbox, routes).await?;
    Ok(Protected { setup, backend, service })
}

async fn send(client: &Client, method: Method, path: &str, fields: &[(&str, &str)]) -> Result<Reply> {
    let mut connection = client.connect(HOST).await?;
    let body = if method == Method::POST { "the body" } else { "" };
    let mut request = connection.request(method, HOST, path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    connection.send(request.body(Full::from(body))?).await
}

async fn the_service_is_asked_and_its_headers_are_copied(sandbox: &Sandbox) -> Result<()> {
    let Protected { setup, backend: _backend, service } = protected(sandbox).await?;
    let forged = [
        ("remote-user", "admin"),
        ("remote_user", "admin"),
        ("x-roles", "root"),
        ("x_roles", "root"),
        ("x-absent", "forged"),
        ("x-forwarded-user", "admin"),
        ("x-forwarded-uri", "/other"),
        ("x-forwarded-method", "TRACE"),
        ("x-forwarded-for", "203.0.113.1"),
        ("cookie", "session=1"),
        ("authorization", "Bearer token"),
        ("if-none-match", "\"x\""),
        ("range", "bytes=0-1"),
    ];
    for is_h2 in [false, true] {
        let client = if is_h2 { setup.client()?.h2() } else { setup.client()? };
        let path = "/a%2fb//../c?q=%20";
        let seen = send(&client, Method::POST, path, &forged).await?.expect(200)?.json()?;
        ensure!(seen["body"] == "the body" && seen["method"] == "POST" && seen["target"] == path, "{seen}");
        for (name, values) in [
            ("remote-user", &["carol"][..]),
            ("x-roles", &["admin", "ops"]),
            ("x-absent", &[]),
            ("x-secret", &[]),
            ("remote_user", &[]),
            ("x_roles", &[]),
            ("x-forwarded-user", &[]),
            ("x-forwarded-method", &[]),
            ("authorization", &["Bearer token"]),
            ("if-none-match", &["\"x\""]),
        ] {
            ensure!(header(&seen, name) == values, "{name}: {seen}");
        }
        let asked = service.last()?;
        ensure!(asked.method == Method::GET && asked.target == "/verify?app=1", "{asked:?}");
        for (name, value) in [
            ("host", "[400::5]:9091"),
            ("x-forwarded-method", "POST"),
            ("x-forwarded-uri", path),
            ("x-forwarded-host", HOST),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-for", "::1"),
            ("cookie", "session=1"),
            ("authorization", "Bearer token"),
            ("content-length", ""),
            ("transfer-encoding", ""),
            ("if-none-match", ""),
            ("range", ""),
            ("remote-user", ""),
            ("remote_user", ""),
        ] {
            ensure!(asked.header(name) == value, "{name}: {asked:?}");
            ensure!(asked.headers.get_all(name).iter().count() <= 1, "{name}: {asked:?}");
        }
    }
    Ok(())
}

async fn any_other_response_goes_to_the_client(sandbox: &Sandbox) -> Result<()> {
    let Protected { setup, backend, service } = protected(sandbox).await?;
    for is_h2 in [false, true] {
        let client = if is_h2 { setup.client()?.h2() } else { setup.client()? };
        let login = send(&client, Method::POST, "/login/x?y=1", &[]).await?.expect(302)?;
        ensure!(login.header("location") == "https://login.example/?rd=/login/x?y=1", "{login:?}");
        ensure!(
            login.header("set-cookie") == "state=1; HttpOnly" && login.text() == "to the login",
            "{login:?}"
        );
        let denied = send(&client, Method::GET, "/deny", &[]).await?.expect(401)?;
        ensure!(
            denied.header("www-authenticate") == "Bearer" && denied.text() == "who are you?",
            "{denied:?}"
        );
        let head = send(&client, Method::HEAD, "/deny", &[]).await?.expect(401)?;
        ensure!(head.text().is_empty() && head.header("content-length") == "12", "{head:?}");
    }
    ensure!(backend.requests() == 0, "a refused request reached the backend");
    ensure!(service.questions().len() == 6);
    Ok(())
}

async fn without_a_response_nobody_gets_in(sandbox: &Sandbox) -> Result<()> {
    let Protected { mut setup, backend, service } = protected(sandbox).await?;
    let client = setup.client()?;
    let fails = async |path: &str, status: u16, error: &str| {
        let reply = send(&client, Method::GET, path, &[]).await?.expect(status)?;
        let shown = reply.header("proxy-status");
        ensure!(shown == format!("webgateway; error={error}"), "{path}: {shown}");
        Ok(())
    };
    for path in ["/hang", "/stall"] {
        let begun = Instant::now();
        fails(path, 504, "http_response_timeout").await?;
        ensure!(begun.elapsed() >= Duration::from_secs(1), "{path}: the timeout is one second");
    }
    fails("/huge", 502, "http_response_body_size").await?;
    ensure!(backend.requests() == 0, "a refused request reached the backend");
    send(&client, Method::GET, "/large", &[]).await?.expect(200)?;
    drop(service);
    eventually("the service is down", SOON, async || fails("/", 502, "connection_refused").await).await?;
    let raw = |bytes: &str| RawBehaviour::Respond(bytes.as_bytes().to_vec());
    for (port, (behaviour, status, error)) in (9092..).zip([
        (RawBehaviour::Close, 502, "connection_terminated"),
        (raw("garbage\r\n\r\n"), 502, "http_protocol_error"),
        (raw("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"), 502, "http_protocol_error"),
        (
            raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            502,
            "http_upgrade_failed",
        ),
    ]) {
        let service = Backend::raw(overlay(5, port), behaviour.clone()).await?;
        setup.change(|file| {
            file.set_option(HOST, "auth", auth(&service.address().to_string()));
        })?;
        let what = format!("{behaviour:?} is refused");
        eventually(&what, SOON, async || fails("/", status, error).await).await?;
    }
    let hole = BlackHole::at(overlay(6, 9091))?;
    setup.change(|file| {
        file.set_option(HOST, "auth", auth(&hole.address().to_string()));
    })?;
    eventually("the other service is asked", SOON, async || fails("/", 504, "http_response_timeout").await)
        .await?;
    // The gateway itself is no service.
    setup.change(|file| {
        file.set_option(HOST, "auth", auth("[400::1]:443"));
    })?;
    eventually("the gateway is not asked", SOON, async || fails("/", 508, "proxy_loop_detected").await)
        .await?;
    ensure!(backend.requests() == 1, "a refused request reached the backend");
    Ok(())
}

async fn websockets_are_checked_too(sandbox: &Sandbox) -> Result<()> {
    let Protected { setup, backend, service } = protected(sandbox).await?;
    let client = setup.client()?;
    let mut socket = WebSocket::open(client.tls(HOST).await?, HOST, "/ws").await?;
    socket.echo("hello").await?;
    let asked = service.last()?;
    ensure!(asked.header("upgrade").is_empty() && asked.header("connection").is_empty(), "{asked:?}");
    ensure!(asked.header("x-forwarded-uri") == "/ws", "{asked:?}");
    let before = backend.requests();
    for path in ["/deny/ws", "/login/ws"] {
        ensure!(WebSocket::open(client.tls(HOST).await?, HOST, path).await.is_err(), "{path} is open");
    }
    ensure!(backend.requests() == before, "a refused upgrade reached the backend");
    drop(service);
    socket.echo("an open one stays").await
}

async fn the_connection_to_the_service_is_reused(sandbox: &Sandbox) -> Result<()> {
    let backends = [Backend::http(overlay(1, 8080)).await?, Backend::http(overlay(2, 8080)).await?];
    // It allows everything.
    let service = Backend::http(overlay(5, 9091)).await?;
    let routes = |file: &mut FeedFile| {
        let auth = auth(&service.address().to_string());
        let addresses = backends.each_ref().map(Backend::address);
        file.add_terminated(HOST, &addresses).set_option(HOST, "auth", auth);
    };
    let setup = StandaloneSetup::start(sandbox, routes).await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    for _ in 0..20 {
        connection.get(HOST, "/").await?.expect(200)?;
    }
    let requests = backends.each_ref().map(Backend::requests);
    ensure!(requests == [10, 10], "the backends are used in turn: {requests:?}");
    ensure!(service.requests() == 20 && service.connections() == 1, "{} connections", service.connections());
    Ok(())
}

async fn the_service_must_be_an_allowed_address(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let service = AuthService::start(overlay(5, 9091)).await?;
    let create = "-s app -b [400::1]:8080 --auth-forward [400::5]:9091 --auth-forward-path /verify \
                  --auth-forward-header Remote-User --auth-forward-timeout 5s";
    let id = setup.alice.create_route(create).await?;
    let seen = setup.wait_for_status(HOST, 200).await?.json()?;
    ensure!(header(&seen, "remote-user") == ["carol"], "{seen}");
    ensure!(service.last()?.target == "/verify");
    // The last ones are the gateway's own listeners.
    for (address, code, word) in [
        ("127.0.0.1:9091", 8, "127.0.0.1:9091"),
        ("[2001:db8::1]:9091", 8, "[2001:db8::1]:9091"),
        ("auth.example.org:80", 2, "auth.example.org"),
        ("[400::5]", 2, "port"),
        ("[400::1]:443", 8, "listener"),
        ("[400::2]:80", 8, "listener"),
    ] {
        let output = setup.alice.gwctl(["routes", "update", "-r", &id, "--auth-forward", address]).await?;
        ensure!(output.code == Some(code) && output.stderr.contains(word), "{address}: {output:?}");
        let args = ["routes", "create", "-s", "two", "-b", "[400::1]:8080", "--auth-forward", address];
        let output = setup.alice.gwctl(args).await?;
        ensure!(output.code == Some(code) && output.stderr.contains(word), "{address}: {output:?}");
    }
    Ok(())
}
