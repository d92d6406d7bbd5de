//! The PROXY protocol with HAProxy and nginx, where they are installed.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use webgateway_tests::client::{Connection, tcp, tcp_from};
use webgateway_tests::netns::overlay;
use webgateway_tests::process::{Process, installed};
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

use crate::inbound_proxy_protocol::{HOST, forwarded_for, request, start};
use crate::route_proxy_protocol::{VERSIONS, clients, local};
use crate::setup::standalone::StandaloneSetup;

scenarios![nginx_and_haproxy_accept_the_header, haproxy_in_front_announces_its_clients];

const SOON: Duration = Duration::from_secs(10);

/// The nginx of Debian, which shows what it read from the header.
const NGINX: &str = "daemon off; error_log stderr; pid nginx.pid;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {
        listen [400::1]:8080 proxy_protocol;
        location / {
            return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr \
$proxy_protocol_server_port\";
        }
    }
}
";
const HAPROXY: &str = "defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 10s
frontend shows_the_header
    bind [400::2]:8080 accept-proxy
    http-request return status 200 content-type text/plain lf-string \"%[src] %[src_port] %[dst] %[dst_port]\"
";

async fn nginx_and_haproxy_accept_the_header(sandbox: &Sandbox) -> Result<()> {
    let dir = sandbox.dir().to_string_lossy().into_owned();
    let nginx = sandbox.write("nginx.conf", NGINX)?.to_string_lossy().into_owned();
    let haproxy = sandbox.write("haproxy.cfg", HAPROXY)?.to_string_lossy().into_owned();
    let servers: [(&str, &[&str], u16); 2] =
        [("nginx", &["-e", "stderr", "-p", &dir, "-c", &nginx], 1), ("haproxy", &["-db", "-f", &haproxy], 2)];
    for (server, args, number) in servers {
        if installed(server).is_none() {
            println!("{server} is left out: it is not installed");
            continue;
        }
        let mut process = Process::start_with(server, args, &[], &sandbox.path(&format!("{server}.log")))?;
        for (word, _) in VERSIONS {
            let setup = StandaloneSetup::start(sandbox, |file| {
                file.add_terminated(HOST, &[overlay(number, 8080)]);
                file.set_option(HOST, "proxy_protocol", json!(word));
                file.set_health_check(HOST, json!({"path": "/", "interval": 1}));
            })
            .await?;
            eventually(&format!("{server} answers"), SOON, async || {
                process.ensure_running()?;
                setup.client()?.get(HOST, "/").await?.expect(200)
            })
            .await?;
            for (gateway, source) in clients() {
                let stream = setup.client()?.at(gateway).from(source).tls(HOST).await?;
                let own = local(&stream)?;
                let reply =
                    Connection::over(stream, false, "https").await?.get(HOST, "/").await?.expect(200)?;
                let told = format!("{} {} {} {}", own.ip(), own.port(), gateway.ip(), gateway.port());
                ensure!(reply.text() == told, "{server}, {word}: {} for {told}", reply.text());
            }
        }
    }
    Ok(())
}

const BALANCER: &str = "defaults
    mode tcp
    timeout client 10s
    timeout server 10s
    timeout connect 10s
    source 127.0.9.1
listen https_v1
    bind [400::9]:1443
    server gateway 127.0.0.1:443 send-proxy
listen https_v2
    bind [400::9]:2443
    server gateway 127.0.0.1:443 send-proxy-v2 proxy-v2-options authority,crc32c,unique-id check
listen http_v2
    bind [400::9]:2080
    server gateway 127.0.0.1:80 send-proxy-v2 check-send-proxy check
";

async fn haproxy_in_front_announces_its_clients(sandbox: &Sandbox) -> Result<()> {
    if installed("haproxy").is_none() {
        println!("haproxy is left out: it is not installed");
        return Ok(());
    }
    let (setup, _backends) = start(sandbox).await?;
    let config = sandbox.write("haproxy.cfg", BALANCER)?.to_string_lossy().into_owned();
    let log = sandbox.path("haproxy.log");
    let mut haproxy = Process::start_with("haproxy", &["-db", "-f", &config], &[], &log)?;
    eventually("haproxy listens", SOON, async || {
        haproxy.ensure_running()?;
        tcp(overlay(9, 2080)).await.map(drop)
    })
    .await?;
    let client = overlay(4, 0).ip();
    for (port, is_h2) in [(1443, false), (2443, false), (1443, true), (2443, true)] {
        let through = setup.client()?.at(overlay(9, port)).from(client);
        let through = if is_h2 { through.h2() } else { through };
        let seen = forwarded_for(&through.get(HOST, "/").await?.expect(200)?.json()?)?;
        ensure!(seen == client, "{seen} through {port}");
    }
    let mut stream = tcp_from(client, overlay(9, 2080)).await?;
    stream.write_all(&request()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    ensure!(text.contains(&client.to_string()), "{text}");
    Ok(())
}
