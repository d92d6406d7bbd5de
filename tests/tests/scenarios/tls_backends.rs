//! TLS to backends: which certificates are accepted under which settings, and the reasons of refusals.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::json;
use time::OffsetDateTime;
use webgateway_tests::authority::{Authority, IssuedCertificate};
use webgateway_tests::backend::Backend;
use webgateway_tests::backend::http2::{Http2Backend, Http2Config};
use webgateway_tests::client::{Client, Reply};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

scenarios![
    certificates_are_verified_as_each_route_says,
    connections_are_not_shared_between_settings,
    other_protocols_are_reported,
    health_checks_speak_the_protocol_of_the_route,
    websockets_open_over_tls,
];

const SOON: Duration = Duration::from_secs(10);
const DAY: time::Duration = time::Duration::DAY;

/// The CAs and certificates of the backends. The gateway takes `public` for a public CA.
struct Certificates {
    public: Authority,
    private: Authority,
    self_signed: IssuedCertificate,
}

impl Certificates {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::new(vec!["*.gw.example".to_owned()])?;
        // As `openssl req -x509` does.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let (chain, key) = (params.self_signed(&key)?.pem(), key.serialize_pem());
        let self_signed = IssuedCertificate { chain, key };
        Ok(Self { public: Authority::new()?, private: Authority::new()?, self_signed })
    }

    /// Returns the configuration of a gateway in front of the routes of `feed`.
    fn gateway(&self, sandbox: &Sandbox, feed: &mut FeedFile) -> Result<GatewayConfig> {
        let roots = sandbox.write("public.pem", self.public.root())?;
        let config = GatewayConfig::from_file(feed.write()?, self.public.root());
        Ok(config.shell(&format!("export SSL_CERT_FILE={}", roots.display())))
    }
}

fn feed(sandbox: &Sandbox, certificates: &Certificates) -> Result<FeedFile> {
    let base = certificates.public.issue(&["gw.example", "*.gw.example"])?;
    Ok(FeedFile::new(&sandbox.path("feed.json"), &base))
}

/// A backend over TLS, with HTTP/1.1 or HTTP/2.
enum TlsBackend {
    Http1(Backend),
    Http2(Http2Backend),
}

impl TlsBackend {
    async fn start(port: u16, issued: &IssuedCertificate, is_http2: bool) -> Result<Self> {
        let address = overlay(1, port);
        if is_http2 {
            let tls = Some(issued.server(&["h2"])?);
            let config = Http2Config { tls, ..Http2Config::default() };
            return Ok(Self::Http2(Http2Backend::start(address, config).await?));
        }
        Ok(Self::Http1(Backend::https(address, issued.server(&["http/1.1"])?).await?))
    }

    fn counted(&self) -> &Backend {
        match self {
            Self::Http1(backend) => backend,
            Self::Http2(backend) => backend.counted(),
        }
    }
}

fn protocol(is_http2: bool) -> &'static str {
    if is_http2 { "https-h2" } else { "https" }
}

const OK: &str = "";
const EXPIRED: &str = "certificate expired";
const NOT_YET: &str = "certificate not yet valid";
const ISSUER: &str = "unknown issuer";
const NAME: &str = "wrong name";

/// The certificates, and what becomes of them: by default, with the private CA, with the self-signed certificate as
/// CA, without verification, and with another server name.
const MATRIX: [(&str, [&str; 5]); 8] = [
    ("public", [OK, ISSUER, ISSUER, OK, NAME]),
    ("public for another name", [NAME, ISSUER, ISSUER, OK, OK]),
    ("public, expired", [EXPIRED, EXPIRED, EXPIRED, OK, EXPIRED]),
    ("public, not yet valid", [NOT_YET, NOT_YET, NOT_YET, OK, NOT_YET]),
    ("private", [ISSUER, OK, ISSUER, OK, ISSUER]),
    ("private for another name", [ISSUER, NAME, ISSUER, OK, ISSUER]),
    ("private, expired", [EXPIRED, EXPIRED, EXPIRED, OK, EXPIRED]),
    ("self-signed", [ISSUER, ISSUER, OK, OK, ISSUER]),
];

fn certificate(all: &Certificates, what: &str) -> Result<IssuedCertificate> {
    let now = OffsetDateTime::now_utc();
    let names: &[&str] =
        if what.contains("another name") { &["other.example.net"] } else { &["*.gw.example"] };
    let authority = if what.starts_with("public") { &all.public } else { &all.private };
    match what {
        "self-signed" => Ok(all.self_signed.clone()),
        _ if what.contains("expired") => authority.issue_for(names, now - 30 * DAY..now - DAY),
        _ if what.contains("not yet") => authority.issue_for(names, now + DAY..now + 30 * DAY),
        _ => authority.issue(names),
    }
}

async fn certificates_are_verified_as_each_route_says(sandbox: &Sandbox) -> Result<()> {
    for is_http2 in [false, true] {
        let (all, mut backends) = (Certificates::new()?, Vec::new());
        let settings = [
            json!({}),
            json!({ "ca": all.private.root() }),
            json!({ "ca": format!("{}{}", all.self_signed.chain, Authority::new()?.root()) }),
            json!({ "insecure": true }),
            json!({ "server_name": "other.example.net" }),
        ];
        let mut feed = feed(sandbox, &all)?;
        for (row, (what, _)) in MATRIX.iter().enumerate() {
            let port = u16::try_from(row)? + if is_http2 { 8100 } else { 8000 };
            backends.push(TlsBackend::start(port, &certificate(&all, what)?, is_http2).await?);
            for (column, tls) in settings.iter().enumerate() {
                let host = format!("r{row}c{column}.gw.example");
                feed.add_terminated(&host, &[overlay(1, port)]);
                feed.set_option(&host, "backend_protocol", json!(protocol(is_http2)));
                if *tls != json!({}) {
                    feed.set_option(&host, "backend_tls", tls.clone());
                }
            }
        }
        let gateway = Gateway::start(sandbox, &all.gateway(sandbox, &mut feed)?).await?;
        // A second round finds pooled connections, and backends that are marked as unhealthy.
        for _ in 0..2 {
            for (row, (what, expected)) in MATRIX.iter().enumerate() {
                for (column, expected) in expected.iter().enumerate() {
                    let reply =
                        gateway.client()?.get(&format!("r{row}c{column}.gw.example"), "/status/204").await?;
                    let case = format!("{} {what} with {}", protocol(is_http2), settings[column]);
                    if *expected == OK {
                        reply.expect(204).context(case)?;
                        continue;
                    }
                    let status = format!("webgateway; error=tls_certificate_error; details=\"{expected}\"");
                    ensure!(reply.header("proxy-status") == status, "{case}: {:?}", reply.headers);
                    reply.expect(502).context(case)?;
                }
            }
        }
    }
    Ok(())
}

/// The routes of several owners lead to the same backend, each with its own settings.
async fn connections_are_not_shared_between_settings(sandbox: &Sandbox) -> Result<()> {
    for is_http2 in [false, true] {
        let all = Certificates::new()?;
        let (issued, port) = (all.private.issue(&["*.gw.example"])?, if is_http2 { 8444 } else { 8443 });
        let backend = TlsBackend::start(port, &issued, is_http2).await?;
        let mut feed = feed(sandbox, &all)?;
        let routes = [
            ("trusting", json!({ "insecure": true }), 204),
            ("careful", json!({ "ca": all.private.root() }), 204),
            ("default", json!({}), 502),
            ("named", json!({ "ca": all.private.root(), "server_name": "other.example.net" }), 502),
        ];
        for (name, tls, _) in &routes {
            let host = format!("{name}.gw.example");
            feed.add_terminated(&host, &[overlay(1, port)]);
            feed.set_option(&host, "backend_protocol", json!(protocol(is_http2)));
            feed.set_option(&host, "backend_tls", tls.clone());
        }
        let gateway = Gateway::start(sandbox, &all.gateway(sandbox, &mut feed)?).await?;
        for _ in 0..3 {
            for (name, tls, expected) in &routes {
                let reply = gateway.client()?.get(&format!("{name}.gw.example"), "/status/204").await?;
                reply.expect(*expected).with_context(|| format!("{name}: {tls}"))?;
            }
        }
        let requests = backend.counted().requests();
        ensure!(requests == 6, "{requests} requests: those of two routes");
    }
    Ok(())
}

async fn other_protocols_are_reported(sandbox: &Sandbox) -> Result<()> {
    let all = Certificates::new()?;
    let issued = all.public.issue(&["*.gw.example"])?;
    let plain = Backend::http(overlay(1, 8000)).await?;
    let strict = Backend::https(overlay(1, 8001), issued.server(&["http/1.1"])?).await?;
    let lenient = Backend::https(overlay(1, 8002), issued.server(&[])?).await?;
    let http2 = TlsBackend::start(8003, &issued, true).await?;
    let prior = Http2Backend::start(overlay(1, 8004), Http2Config::default()).await?;
    let cases = [
        (8000, "https", "tls_protocol_error; details=\"not TLS\""),
        (8000, "https-h2", "tls_protocol_error; details=\"not TLS\""),
        (8000, "h2c", "http_protocol_error"),
        (8001, "https", ""),
        (8001, "https-h2", "tls_alert_received; details=\"no_application_protocol\""),
        (8001, "h2c", "http_protocol_error"),
        (8002, "https", ""),
        (8002, "https-h2", "tls_protocol_error; details=\"ALPN h2 not negotiated\""),
        (8003, "https", "tls_alert_received; details=\"no_application_protocol\""),
        (8003, "https-h2", ""),
        (8004, "h2c", ""),
        (8004, "https", "tls_protocol_error"),
        (8005, "https", "connection_refused"),
        (8005, "h2c", "connection_refused"),
    ];
    let mut feed = feed(sandbox, &all)?;
    for (port, protocol, _) in cases {
        let host = format!("{protocol}-{port}.gw.example");
        feed.add_terminated(&host, &[overlay(1, port)]);
        feed.set_option(&host, "backend_protocol", json!(protocol));
    }
    let mut gateway = Gateway::start(sandbox, &all.gateway(sandbox, &mut feed)?).await?;
    for (port, protocol, expected) in cases {
        let reply = gateway.client()?.get(&format!("{protocol}-{port}.gw.example"), "/status/204").await?;
        let case = format!("{protocol} to {port}: {:?} {}", reply.headers, reply.text());
        if expected.is_empty() {
            ensure!(reply.status.as_u16() == 204, "{case}");
        } else {
            let found = reply.header("proxy-status").starts_with(&format!("webgateway; error={expected}"));
            ensure!(reply.status.as_u16() == 502 && found, "{case}");
        }
    }
    eventually("the log names the backends", SOON, async || {
        let log = gateway.process().log()?;
        for (port, reason) in [(8001, "NoApplicationProtocol"), (8002, "ALPN h2"), (8000, "does not speak")] {
            let named = |line: &&str| {
                line.contains("backend unhealthy")
                    && line.contains(&overlay(1, port).to_string())
                    && line.contains(reason)
            };
            ensure!(log.lines().any(|line| named(&line)), "{port}: {reason}");
        }
        Ok(())
    })
    .await?;
    drop((plain, strict, lenient, http2, prior));
    Ok(())
}

async fn health_checks_speak_the_protocol_of_the_route(sandbox: &Sandbox) -> Result<()> {
    let all = Certificates::new()?;
    let (right, expired) = (certificate(&all, "public")?, certificate(&all, "public, expired")?);
    let backends = [
        TlsBackend::start(8000, &right, false).await?,
        TlsBackend::start(8001, &right, true).await?,
        TlsBackend::start(8002, &expired, false).await?,
        TlsBackend::start(8003, &expired, true).await?,
    ];
    let prior = Http2Backend::start(overlay(1, 8004), Http2Config::default()).await?;
    let plain = Backend::http(overlay(1, 8005)).await?;
    let healthy = [(8000, "https"), (8001, "https-h2"), (8004, "h2c"), (8005, "http1")];
    let unhealthy =
        [(8002, "https", "has expired"), (8003, "https-h2", "has expired"), (8005, "h2c", "HTTP/2")];
    let mut feed = feed(sandbox, &all)?;
    for kind in ["path", "tcp"] {
        let check = match kind {
            "path" => json!({ "path": "/status/204", "interval": 1, "rise": 1, "fall": 1 }),
            _ => json!({ "interval": 1, "rise": 1, "fall": 1 }),
        };
        let all = healthy.iter().map(|(port, protocol)| (*port, *protocol));
        for (port, protocol) in all.chain(unhealthy.iter().map(|(port, protocol, _)| (*port, *protocol))) {
            let host = format!("{kind}-{protocol}-{port}.gw.example");
            feed.add_terminated(&host, &[overlay(1, port), overlay(2, 9)]);
            feed.set_option(&host, "backend_protocol", json!(protocol))
                .set_health_check(&host, check.clone());
        }
    }
    let mut gateway = Gateway::start(sandbox, &all.gateway(sandbox, &mut feed)?).await?;
    eventually("bad backends are unhealthy", SOON, async || {
        let log = gateway.process().log()?;
        for (port, _, reason) in unhealthy {
            let named = |line: &&str| {
                line.contains("backend unhealthy")
                    && line.contains(&overlay(1, port).to_string())
                    && line.contains(reason)
            };
            // One for each kind of check.
            ensure!(log.lines().filter(named).count() >= 2, "{port}: {reason}");
        }
        Ok(())
    })
    .await?;
    for (port, protocol) in healthy {
        for kind in ["path", "tcp"] {
            let host = format!("{kind}-{protocol}-{port}.gw.example");
            eventually("only the good backend is used", SOON, async || {
                for _ in 0..4 {
                    gateway.client()?.get(&host, "/status/204").await?.expect(204)?;
                }
                Ok(())
            })
            .await
            .context(host.clone())?;
        }
    }
    let log = gateway.process().log()?;
    for port in [8000, 8001, 8004] {
        let failed = format!("{}", overlay(1, port));
        let found = log.lines().any(|line| line.contains("backend unhealthy") && line.contains(&failed));
        ensure!(!found, "{failed} is healthy");
    }
    drop((backends, prior, plain));
    Ok(())
}

async fn websockets_open_over_tls(sandbox: &Sandbox) -> Result<()> {
    let all = Certificates::new()?;
    let issued = certificate(&all, "public")?;
    let (http1, http2) =
        (TlsBackend::start(8000, &issued, false).await?, TlsBackend::start(8001, &issued, true).await?);
    let mut feed = feed(sandbox, &all)?;
    for (host, port, protocol) in [("h1.gw.example", 8000, "https"), ("h2.gw.example", 8001, "https-h2")] {
        feed.add_terminated(host, &[overlay(1, port)]).set_option(host, "backend_protocol", json!(protocol));
    }
    let gateway = Gateway::start(sandbox, &all.gateway(sandbox, &mut feed)?).await?;
    let stream = gateway.client()?.tls("h1.gw.example").await?;
    let mut socket = webgateway_tests::websocket::WebSocket::open(stream, "h1.gw.example", "/ws").await?;
    for text in ["hello", &"x".repeat(100_000)] {
        socket.echo(text).await?;
    }
    let reply = upgrade(&gateway.client()?, "h2.gw.example").await?;
    ensure!(reply.header("proxy-status") == "webgateway; error=http_upgrade_failed", "{:?}", reply.headers);
    reply.expect(501)?;
    drop((http1, http2));
    Ok(())
}

async fn upgrade(client: &Client, host: &str) -> Result<Reply> {
    let mut connection = client.connect(host).await?;
    let fields: [(&str, &str); 4] = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let request = connection.request(http::Method::GET, host, "/ws");
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    connection.send(request.body(http_body_util::Full::default())?).await
}
