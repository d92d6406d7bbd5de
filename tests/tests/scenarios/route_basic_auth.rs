//! Basic authentication by the gateway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};
use webgateway_tests::backend::Backend;
use webgateway_tests::client::{Client, Reply};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::netns::overlay;
use webgateway_tests::process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::setup::full::FullSetup;
use crate::setup::standalone::StandaloneSetup;
use crate::terminated_routes::header;

scenarios![
    curl_signs_in,
    the_backend_gets_the_user_and_not_the_password,
    a_changed_password_takes_effect_at_once,
    failures_are_limited_by_network,
    gwctl_hashes_passwords_and_shows_no_hash_in_the_audit_log,
];

const SOON: Duration = Duration::from_secs(20);
const HOST: &str = "app.gw.example";
/// The gateway, reached from any loopback address of IPv4.
const IPV4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);
/// The hash of `U*U`, by bcrypt's test vectors.
const BCRYPT: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
/// The hash of `password`, by the test vectors of the reference implementation of argon2.
const ARGON2ID: &str =
    "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
/// The Authorization fields of alice with the passwords `U*U` and `password`.
const ALICE_BCRYPT: &str = "Basic YWxpY2U6VSpV";
const ALICE_ARGON2ID: &str = "Basic YWxpY2U6cGFzc3dvcmQ=";

async fn protected(sandbox: &Sandbox, users: Value) -> Result<(StandaloneSetup, Backend)> {
    let backend = Backend::http(overlay(1, 8080)).await?;
    let routes = |file: &mut FeedFile| {
        let auth = json!({"basic": {"realm": "The office", "users": users}});
        file.add_terminated(HOST, &[backend.address()]).set_option(HOST, "auth", auth);
    };
    let setup = StandaloneSetup::start_with(sandbox, routes, |config| config.workers(2)).await?;
    Ok((setup, backend))
}

/// Sends a GET with these header fields over a new connection.
async fn get(client: &Client, fields: &[(&str, &str)]) -> Result<Reply> {
    let mut connection = client.connect(HOST).await?;
    let mut request = connection.request(Method::GET, HOST, "/private");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    connection.send(request.body(Full::default())?).await
}

fn expect_challenge(reply: Reply) -> Result<()> {
    let reply = reply.expect(401)?;
    let challenge = reply.header("www-authenticate");
    ensure!(challenge == "Basic realm=\"The office\", charset=\"UTF-8\"", "{challenge}");
    ensure!(reply.header("proxy-status") == "webgateway; error=http_request_denied", "{reply:?}");
    Ok(())
}

async fn curl_signs_in(sandbox: &Sandbox) -> Result<()> {
    let users = json!({"alice": ARGON2ID, "bob": BCRYPT});
    let (setup, _backend) = protected(sandbox, users).await?;
    let root = sandbox.write("root.pem", setup.authority.root())?;
    // Each has a network of its own, as failures are limited.
    for protocol in [["--http1.1", "--interface", "127.0.1.1"], ["--http2", "--interface", "127.0.2.1"]] {
        for (user, status) in [
            ("alice:password", "200"),
            ("bob:U*U", "200"),
            ("alice:U*U", "401"),
            ("alice:", "401"),
            ("alice:Password", "401"),
            ("bob:password", "401"),
            ("carol:password", "401"),
            (":", "401"),
        ] {
            let got = curl(&[&protocol[..], &["-u", user]].concat(), &root).await?;
            ensure!(got == status, "{protocol:?} {user}: {got}");
        }
        let got = curl(&protocol, &root).await?;
        ensure!(got == "401", "{protocol:?} without credentials: {got}");
    }
    Ok(())
}

/// Returns the status that curl gets, and its errors.
async fn curl(more: &[&str], root: &Path) -> Result<String> {
    let root = root.to_str().context("a path that is text")?;
    let to = format!("{HOST}:443:127.0.0.1:443");
    let url = format!("https://{HOST}/private");
    let args = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", root, "--connect-to", &to, &url];
    let args: Vec<String> = args.iter().chain(more).map(|arg| (*arg).to_owned()).collect();
    let output = process::run("curl", &args, &[]).await?;
    Ok(format!("{}{}", output.stdout, output.stderr))
}

async fn the_backend_gets_the_user_and_not_the_password(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = protected(sandbox, json!({"alice": BCRYPT})).await?;
    let forged = [
        ("remote-user", "admin"),
        ("Remote-User", "root"),
        ("remote_user", "admin"),
        ("x-forwarded-user", "admin"),
        ("X_Forwarded_User", "admin"),
        ("x-forwarded_user", "admin"),
    ];
    for is_h2 in [false, true] {
        let client = if is_h2 { setup.client()?.h2() } else { setup.client()? };
        expect_challenge(get(&client, &forged).await?)?;
        let before = backend.requests();
        for wrong in ["Basic YWxpY2U6d3Jvbmc=", "Bearer x", "Basic", "Basic !", "Negotiate YWxpY2U6VSpV"] {
            expect_challenge(get(&client, &[("authorization", wrong)]).await?)?;
        }
        let twice = [("authorization", ALICE_BCRYPT), ("authorization", ALICE_BCRYPT)];
        expect_challenge(get(&client, &twice).await?)?;
        ensure!(backend.requests() == before, "a refused request reached the backend");
        let mut fields = forged.to_vec();
        fields.push(("authorization", ALICE_BCRYPT));
        if !is_h2 {
            fields.push(("connection", "remote-user, x-forwarded-user, authorization"));
        }
        let seen = get(&client, &fields).await?.expect(200)?.json()?;
        for name in ["remote-user", "x-forwarded-user"] {
            ensure!(header(&seen, name) == ["alice"], "{name}: {seen}");
        }
        for name in ["authorization", "remote_user", "x_forwarded_user", "x-forwarded_user"] {
            ensure!(header(&seen, name).is_empty(), "{name}: {seen}");
        }
    }
    Ok(())
}

async fn a_changed_password_takes_effect_at_once(sandbox: &Sandbox) -> Result<()> {
    let (mut setup, _backend) = protected(sandbox, json!({"alice": BCRYPT})).await?;
    let client = setup.client()?;
    let mut connection = client.connect(HOST).await?;
    let mut send = async |field: &str| {
        let request = connection.request(Method::GET, HOST, "/").header("authorization", field);
        connection.send(request.body(Full::default())?).await
    };
    for _ in 0..3 {
        send(ALICE_BCRYPT).await?.expect(200)?;
    }
    setup.change(|file| {
        file.set_option(
            HOST,
            "auth",
            json!({"basic": {"realm": "The office", "users": {"alice": ARGON2ID}}}),
        );
    })?;
    eventually("the new password applies", SOON, async || {
        get(&client, &[("authorization", ALICE_ARGON2ID)]).await?.expect(200).map(drop)
    })
    .await?;
    expect_challenge(send(ALICE_BCRYPT).await?)?;
    send(ALICE_ARGON2ID).await?.expect(200)?;
    setup.change(|file| {
        file.set_option(HOST, "auth", json!({"basic": {"users": {"bob": ARGON2ID}}}));
    })?;
    eventually("the user is removed", SOON, async || send(ALICE_ARGON2ID).await?.expect(401).map(drop))
        .await?;
    let reply = get(&client, &[]).await?.expect(401)?;
    let realm = format!("Basic realm=\"{HOST}\", charset=\"UTF-8\"");
    ensure!(reply.header("www-authenticate") == realm, "{reply:?}");
    Ok(())
}

async fn failures_are_limited_by_network(sandbox: &Sandbox) -> Result<()> {
    let (setup, _backend) = protected(sandbox, json!({"alice": BCRYPT, "bob": BCRYPT})).await?;
    let near = setup.client()?.at(IPV4).from([127, 0, 0, 2].into());
    // One of them was signed in before.
    let mut signed_in = near.connect(HOST).await?;
    let mut send = async || {
        let request = signed_in.request(Method::GET, HOST, "/").header("authorization", ALICE_BCRYPT);
        signed_in.send(request.body(Full::default())?).await?.expect(200)
    };
    send().await?;
    let mut refused = None;
    for attempt in 0..100 {
        // `alice:wrong` and an index.
        let password = base64(&format!("alice:wrong{attempt}"));
        let reply = get(&near, &[("authorization", &format!("Basic {password}"))]).await?;
        if reply.status != 401 {
            refused = Some(reply.expect(429)?);
            break;
        }
    }
    let refused = refused.context("a hundred passwords were tried")?;
    let retry_after: u32 = refused.header("retry-after").parse()?;
    ensure!((1..=10).contains(&retry_after), "{retry_after} s");
    let bob = base64("bob:U*U");
    let reply = get(&near, &[("authorization", &format!("Basic {bob}"))]).await?;
    reply.expect(429).context("a right password tells nothing")?;
    // Requests without credentials, remembered users and other networks are not affected.
    expect_challenge(get(&near, &[]).await?)?;
    send().await?;
    let far = setup.client()?.at(IPV4).from([127, 0, 1, 2].into());
    get(&far, &[("authorization", ALICE_BCRYPT)]).await?.expect(200)?;
    Ok(())
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

async fn gwctl_hashes_passwords_and_shows_no_hash_in_the_audit_log(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let _backend = Backend::http(overlay(1, 8080)).await?;
    let passwords = sandbox.write("passwords", "password\nU*U\n")?;
    let file = passwords.to_str().context("a path that is text")?;
    let flags =
        format!("-s app -b [400::1]:8080 --auth-basic alice --auth-basic bob --auth-basic-password {file}");
    let id = setup.alice.create_route(&flags).await?;
    let client = setup.client()?;
    let sign_in = async |name: &str, password: &str| {
        let field = format!("Basic {}", base64(&format!("{name}:{password}")));
        get(&client, &[("authorization", &field)]).await
    };
    eventually("the route is served", SOON, async || {
        sign_in("alice", "password").await?.expect(200).map(drop)
    })
    .await?;
    sign_in("bob", "U*U").await?.expect(200)?;
    sign_in("bob", "password").await?.expect(401)?;
    let shown = setup.alice.json(["routes", "get", "-r", &id]).await?;
    let hash = shown["auth"]["basic"]["users"]["alice"].as_str().context("no hash")?.to_owned();
    ensure!(hash.starts_with("$argon2id$"), "{shown}");
    let text = setup.alice.gwctl(["routes", "get", "-r", &id]).await?.stdout;
    ensure!(text.contains("alice, bob") && !text.contains("$argon2id"), "{text}");

    let users = [format!("carol:{hash}"), format!("dave:{BCRYPT}")];
    let args =
        ["routes", "update", "-r", &id, "--auth-basic-hash", &users[0], "--auth-basic-hash", &users[1]];
    setup.alice.json(args).await?;
    eventually("the users are replaced", SOON, async || {
        sign_in("carol", "password").await?.expect(200).map(drop)
    })
    .await?;
    sign_in("dave", "U*U").await?.expect(200)?;
    sign_in("alice", "password").await?.expect(401)?;
    let audit = setup.admin.gwctl(["audit", "list", "-o", "json"]).await?.stdout;
    ensure!(audit.contains("argon2id hash ") && audit.contains("bcrypt hash "), "{audit}");
    ensure!(!audit.contains("$argon2id") && !audit.contains("$2a$"), "{audit}");

    for (flags, flag) in [
        ("--auth-basic-hash alice:s3cret", "gwctl hash-password"),
        ("--auth-basic-hash alice", "gwctl hash-password"),
        ("--auth-basic-hash alice:$2y$13$q2zW0BbTSSV/nrWcGEZwn.wPBzpcgh4FkZWYBXa9lM0FM5M4m7bFu", "cost"),
        ("--auth-basic alice", "--auth-basic-password"),
        ("--auth-basic a:b --auth-basic-password -", "user name"),
        ("--auth-basic alice --auth-basic bob --auth-basic carol --auth-basic-password FILE", "carol"),
        ("--auth-basic alice --auth-basic-password /nonexistent", "/nonexistent"),
        ("--auth-basic-realm Office", "at least one user"),
        ("--auth-basic alice --auth-forward [400::5]:80", "--auth-forward"),
    ] {
        let args = format!("routes update -r {id} {}", flags.replace("FILE", file));
        let output = setup.alice.gwctl(args.split(' ')).await?;
        ensure!(output.code == Some(2) && output.stderr.contains(flag), "{flags}: {output:?}");
        ensure!(!output.stderr.contains("s3cret"), "{output:?}");
    }
    Ok(())
}
