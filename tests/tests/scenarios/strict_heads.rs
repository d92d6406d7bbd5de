//! Strict parsing of HTTP/1 heads: ambiguous heads are refused, and bodies are forwarded unchanged.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use webgateway_tests::client::{rest, tcp};
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::framing::with_recorder;

scenarios![ambiguous_heads_are_refused, bodies_are_forwarded_unchanged, the_api_refuses_ambiguous_heads];

const HOST: &str = "app.gw.example";

/// Refused requests for `/bad`; `HOST` is replaced by the host.
const AMBIGUOUS: [&str; 14] = [
    "POST /bad HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /bad HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "POST /bad HTTP/1.1\r\nTRANSFER-ENCODING:chunked\r\nHost: HOST\r\ncontent-length:\t5 \r\n\r\n0\r\n\r\n",
    "GET /bad HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nX: y\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    "POST /bad HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\nHost: HOST\r\n\r\n0\r\n\r\n",
    "GET /bad HTTP/1.1\nHost: HOST\r\n\r\n",
    "GET /bad HTTP/1.1\r\nHost: HOST\n\r\n",
    "GET /bad HTTP/1.1\r\nHost: HOST\r\n\n",
    "GET /bad HTTP/1.1\nHost: HOST\n\n",
    "GET /bad HTTP/1.1\r\nX: y\nHost: HOST\r\n\r\n",
    "\nGET /bad HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "POST /bad HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\n\r\nab",
    "POST /bad HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\n\r\n0\r\n\r\n",
    "POST /bad HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
];

/// Requests that may precede an ambiguous one on the same connection.
const BEFORE: [&str; 9] = [
    "",
    "\r\n",
    "GET /good HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "POST /good HTTP/1.1\r\nHost: HOST\r\nContent-Length: 7\r\n\r\na\nb\r\n\r\n",
    "POST /good HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\nb\r\n1\r\n\n\r\n0\r\n\r\n",
    "POST /good HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\nA: b\r\n\r\n",
    "GET /good HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "GET /good HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: WebSocket, h2c\r\n\r\n",
    "GET /good HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n\r\n",
];

const AFTER: &str = "GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n";

/// Sends a request in pieces of `size` bytes and returns everything received until the end.
async fn in_pieces<S>(mut stream: S, request: &[u8], size: usize) -> Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for piece in request.chunks(size) {
        // The gateway may cut the connection before everything is sent.
        if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    Ok(String::from_utf8_lossy(&rest(&mut stream).await?).into_owned())
}

async fn ambiguous_heads_are_refused(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let client = setup.client()?;
    let mut wrong = Vec::new();
    for bad in AMBIGUOUS {
        for before in BEFORE {
            let size = if before.is_empty() { 7 } else { usize::MAX };
            let request = format!("{before}{bad}{AFTER}").replace("HOST", HOST);
            let response = in_pieces(client.tls(HOST).await?, request.as_bytes(), size).await?;
            let served = usize::from(before.contains("/good"));
            // An invalid chunk is detected when the request is already being forwarded.
            let is_begun = bad.contains("1\nx");
            let statuses = response.matches("HTTP/1.1 ").count();
            let refused = response.matches("HTTP/1.1 400").count() == 1 || (is_begun && statuses == served);
            if !refused || response.matches("HTTP/1.1 200").count() != served {
                wrong.push(format!("{before:?} {bad:?}: {response:?}"));
            }
            ensure!(is_begun || backend.requests("/bad").is_empty(), "{bad:?} reached the backend");
        }
        // Port 80 behaves the same.
        let request = format!("{bad}{AFTER}").replace("HOST", HOST);
        let response = in_pieces(tcp(setup.gateway.http()).await?, request.as_bytes(), 5).await?;
        let is_redirect = bad.contains("1\nx") && response.starts_with("HTTP/1.1 308");
        if !(response.starts_with("HTTP/1.1 400") || is_redirect)
            || response.matches("HTTP/1.1 ").count() != 1
        {
            wrong.push(format!("port 80 {bad:?}: {response:?}"));
        }
    }
    ensure!(backend.requests("/smuggled").is_empty());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn bodies_are_forwarded_unchanged(sandbox: &Sandbox) -> Result<()> {
    let (setup, backend) = with_recorder(sandbox).await?;
    let client = setup.client()?;
    let body: Vec<u8> = b"\n\r\n\nContent-Length: 1\nTransfer-Encoding: chunked\r\n\r\n\0\n".repeat(2000);
    let close = format!("GET /end HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    for size in [1021, 16_384, usize::MAX] {
        for (n, chunk) in [None, Some(1), Some(977), Some(body.len())].into_iter().enumerate() {
            let target = format!("/{size}/{n}");
            let mut request = format!("POST {target} HTTP/1.1\r\nHost: {HOST}\r\n").into_bytes();
            if let Some(chunk) = chunk {
                request.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                // With pieces of one byte, a prefix is enough.
                for piece in body.chunks(chunk).take(4000) {
                    request.extend(format!("{:X}\r\n", piece.len()).into_bytes());
                    request.extend(piece);
                    request.extend(b"\r\n");
                }
                request.extend(b"0\r\n\r\n");
            } else {
                request.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
                request.extend(&body);
            }
            request.extend(close.as_bytes());
            let response = in_pieces(client.tls(HOST).await?, &request, size).await?;
            ensure!(response.matches("HTTP/1.1 200").count() == 2, "{target}: {response}");
            let sent = chunk.map_or(body.len(), |chunk| body.len().min(chunk.saturating_mul(4000)));
            let got = backend.only(&target).context(target)?.body;
            ensure!(got == body[..sent], "the body is another one: {} of {sent}", got.len());
        }
    }
    Ok(())
}

async fn the_api_refuses_ambiguous_heads(sandbox: &Sandbox) -> Result<()> {
    let controlplane = Controlplane::start(sandbox).await?;
    let mut wrong = Vec::new();
    for bad in AMBIGUOUS {
        let request = format!("{bad}{AFTER}").replace("HOST", "localhost:8080").replace("/bad", "/rpc");
        let response = in_pieces(tcp(controlplane.rpc()?).await?, request.as_bytes(), 11).await?;
        // Some are refused like any broken body: with or without a response.
        let statuses = response.matches("HTTP/1.1 ").count();
        let refused = response.starts_with("HTTP/1.1 4") || (response.is_empty() && bad.contains("1\nx"));
        if !refused || statuses > 1 {
            wrong.push(format!("{bad:?}: {response:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
