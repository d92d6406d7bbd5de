//! gRPC through a terminated route to backends that speak HTTP/2, with a real client and a real server.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::{Code, Request};
use webgateway_tests::authority::Authority;
use webgateway_tests::backend::http2::{Http2Backend, Http2Config};
use webgateway_tests::feed_file::FeedFile;
use webgateway_tests::gateway::{Gateway, GatewayConfig};
use webgateway_tests::grpc::EchoClient;
use webgateway_tests::netns::overlay;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;
use webgateway_tests::wait::eventually;

scenarios![
    every_kind_of_call_works,
    both_directions_stream_at_once,
    a_cancelled_call_is_cancelled_at_the_backend,
    a_missing_backend_is_a_grpc_status,
];

const HOST: &str = "app.gw.example";
const SOON: Duration = Duration::from_secs(10);
/// The protocols, each with the port of its backend.
const PROTOCOLS: [(&str, u16); 2] = [("h2c", 50_051), ("https-h2", 50_052)];

/// A gateway in front of one backend.
struct Setup {
    _gateway: Gateway,
    backend: Http2Backend,
    client: EchoClient,
}

async fn start(sandbox: &Sandbox, protocol: &str, port: u16) -> Result<Setup> {
    let authority = Authority::new()?;
    let base = authority.issue(&["gw.example", "*.gw.example"])?;
    let tls = (protocol == "https-h2").then(|| base.server(&["h2"])).transpose()?;
    let backend =
        Http2Backend::start(overlay(1, port), Http2Config { tls, ..Http2Config::default() }).await?;
    let mut feed = FeedFile::new(&sandbox.path("feed.json"), &base);
    feed.add_terminated(HOST, &[overlay(1, port)]).set_option(HOST, "backend_protocol", json!(protocol));
    if protocol == "https-h2" {
        feed.set_option(HOST, "backend_tls", json!({ "ca": authority.root() }));
    }
    let config = GatewayConfig::from_file(feed.write()?, authority.root());
    let gateway = Gateway::start(sandbox, &config).await?;
    let client = EchoClient::connect(&gateway.client()?, HOST).await?;
    Ok(Setup { _gateway: gateway, backend, client })
}

async fn every_kind_of_call_works(sandbox: &Sandbox) -> Result<()> {
    for (protocol, port) in PROTOCOLS {
        let Setup { client, backend, _gateway } = start(sandbox, protocol, port).await?;
        for message in ["", "hello"] {
            ensure!(client.unary(message).await? == message, "{protocol}: {message}");
        }
        ensure!(client.unary("te").await? == "trailers", "{protocol}: TE reaches the backend");
        let failed = client.unary("fail").await.err().context("it fails")?;
        ensure!(failed.code() == Code::FailedPrecondition, "{protocol}: {failed}");
        ensure!(failed.message() == "told to fail: 100 %", "{protocol}: {failed}");

        let mut request = Request::new(Bytes::from_static(b"deadline"));
        request.set_timeout(Duration::from_secs(20));
        let deadline = client.unary_of("/test.Echo/Unary", request).await?;
        ensure!(deadline.starts_with(b"20"), "{protocol}: {deadline:?}");

        let messages = vec![Bytes::from(vec![7; 10_000]); 1000];
        ensure!(client.sum(messages).await? == "1000 10000000", "{protocol}: client streaming");
        let (mut numbers, mut seen) = (client.count(20_000).await?, 0);
        while let Some(number) = timeout(SOON, numbers.message()).await?? {
            ensure!(number == seen.to_string(), "{protocol}: {number:?} instead of {seen}");
            seen += 1;
        }
        ensure!(seen == 20_000, "{protocol}: server streaming ended after {seen}");
        ensure!(backend.counted().connections() == 1, "{protocol}: all calls share a connection");
    }
    Ok(())
}

/// Each message is sent only after the previous one has come back.
async fn both_directions_stream_at_once(sandbox: &Sandbox) -> Result<()> {
    for (protocol, port) in PROTOCOLS {
        let Setup { client, _gateway, backend: _backend } = start(sandbox, protocol, port).await?;
        let (sender, mut messages) = client.chat().await?;
        for round in 0..200 {
            let size = if round % 50 == 0 { 1_000_000 } else { round };
            let sent = Bytes::from(vec![7; size]);
            sender.send(sent.clone()).await?;
            let received = timeout(SOON, messages.message()).await.context("an echo")??;
            ensure!(received == Some(sent), "{protocol}: round {round}");
        }
        drop(sender);
        ensure!(timeout(SOON, messages.message()).await??.is_none(), "{protocol}: it ends");
    }
    Ok(())
}

async fn a_cancelled_call_is_cancelled_at_the_backend(sandbox: &Sandbox) -> Result<()> {
    for (protocol, port) in PROTOCOLS {
        let Setup { client, backend, _gateway } = start(sandbox, protocol, port).await?;
        for with_deadline in [false, true] {
            let mut request = Request::new(Bytes::new());
            if with_deadline {
                request.set_timeout(Duration::from_secs(2));
            }
            let (cancel, cancelled) = oneshot::channel::<()>();
            let calling = async {
                tokio::select! {
                    ended = client.unary_of("/test.Echo/Hang", request) => Some(ended),
                    _ = cancelled => None,
                }
            };
            let arriving = async {
                let arrived = eventually("the call arrives", SOON, async || {
                    ensure!(backend.grpc().hanging() > 1);
                    Ok(())
                });
                arrived.await?;
                // With a deadline, the client cancels by itself.
                if !with_deadline {
                    drop(cancel);
                    return Ok::<_, anyhow::Error>(None);
                }
                Ok(Some(cancel))
            };
            let (ended, arrived) = tokio::join!(calling, arriving);
            let _: Option<oneshot::Sender<()>> = arrived?;
            if let Some(ended) = ended {
                let Err(status) = ended else { bail!("{protocol}: it succeeded") };
                let is_cancelled = matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded);
                ensure!(with_deadline && is_cancelled, "{protocol}: {status}");
            }
            eventually("the backend's call is cancelled", SOON, async || {
                ensure!(backend.grpc().hanging() == 0, "{protocol}: {}", backend.grpc().hanging());
                Ok(())
            })
            .await?;
        }
        ensure!(client.unary("after").await? == "after", "{protocol}");
        ensure!(backend.counted().connections() == 1, "{protocol}: the connection stays");
    }
    Ok(())
}

async fn a_missing_backend_is_a_grpc_status(sandbox: &Sandbox) -> Result<()> {
    for (protocol, port) in PROTOCOLS {
        let Setup { client, backend, _gateway } = start(sandbox, protocol, port).await?;
        ensure!(client.unary("before").await? == "before", "{protocol}");
        drop(backend);
        eventually("the calls fail", SOON, async || {
            let Err(status) = client.unary("after").await else { bail!("{protocol}: it succeeds") };
            ensure!(status.code() == Code::Unavailable, "{protocol}: {status}");
            ensure!(status.message().contains("connection refused"), "{protocol}: {status}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
