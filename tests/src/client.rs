//! Clients: TLS with any server name and ALPN, requests over HTTP/1.1 and HTTP/2, plain HTTP, and raw bytes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub use tokio_rustls::client::TlsStream;

use crate::authority::roots;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A client that connects to one address with TLS, for any server name.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    source: Option<IpAddr>,
    /// The size of the receive buffer of the kernel, in bytes, if it is fixed.
    receive_buffer: Option<u32>,
    roots: Arc<RootCertStore>,
    config: Arc<ClientConfig>,
}

impl Client {
    /// Creates a client that trusts the roots of `root_pem` and offers http/1.1 alone.
    pub fn new(address: SocketAddr, root_pem: &str) -> Result<Self> {
        let roots = Arc::new(roots(root_pem)?);
        let config = ClientConfig::builder().with_root_certificates(Arc::clone(&roots)).with_no_client_auth();
        Ok(Self { address, source: None, receive_buffer: None, roots, config: Arc::new(config) }
            .alpn(&["http/1.1"]))
    }

    /// Returns the client with a receive buffer of this size, so that the kernel holds little of what is not read.
    #[must_use]
    pub fn receive_buffer(self, bytes: u32) -> Self {
        Self { receive_buffer: Some(bytes), ..self }
    }

    /// Returns the client with this source address.
    #[must_use]
    pub fn from(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Returns a client of another address with the same session tickets.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// Returns the client with these ALPN protocols.
    #[must_use]
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        let offered = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Arc::make_mut(&mut self.config).alpn_protocols = offered;
        self
    }

    /// Returns the client with ALPN h2 alone.
    #[must_use]
    pub fn h2(self) -> Self {
        self.alpn(&["h2"])
    }

    /// Returns the client without SNI.
    #[must_use]
    pub fn without_sni(mut self) -> Self {
        Arc::make_mut(&mut self.config).enable_sni = false;
        self
    }

    /// Returns the client with TLS 1.2 alone.
    #[must_use]
    pub fn tls_1_2_only(self) -> Self {
        let old = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let offered = self.config.alpn_protocols.clone();
        let mut same = Self { config: Arc::new(old), ..self };
        Arc::make_mut(&mut same.config).alpn_protocols = offered;
        same
    }

    /// Opens a TLS connection for `name`, and verifies the certificate.
    pub async fn tls(&self, name: &str) -> Result<TlsStream<TcpStream>> {
        let stream = match (self.source, self.receive_buffer) {
            (Some(source), _) => tcp_from(source, self.address).await?,
            (None, Some(bytes)) => tcp_with_receive_buffer(self.address, bytes).await?,
            (None, None) => tcp(self.address).await?,
        };
        self.tls_over(stream, name).await
    }

    /// Performs the handshake for `name` on a stream of any kind.
    pub async fn tls_over<S>(&self, stream: S, name: &str) -> Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name.to_owned())?;
        let connected = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        timeout(TIMEOUT, connected).await.context("the TLS handshake hangs")?.context("TLS")
    }

    /// Opens an HTTP connection for `name` in the negotiated protocol.
    pub async fn connect(&self, name: &str) -> Result<Connection> {
        let stream = self.tls(name).await?;
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Connection::over(stream, is_h2, "https").await
    }

    /// Sends one GET over a new connection.
    pub async fn get(&self, host: &str, path: &str) -> Result<Reply> {
        self.connect(host).await?.get(host, path).await
    }
}

/// Opens a TCP connection.
pub async fn tcp(address: SocketAddr) -> Result<TcpStream> {
    let connected = timeout(TIMEOUT, TcpStream::connect(address)).await;
    let stream = connected.context("connecting hangs")?.with_context(|| format!("cannot reach {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a TCP connection from an address of this machine.
pub async fn tcp_from(source: IpAddr, address: SocketAddr) -> Result<TcpStream> {
    let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(source, 0))?;
    let connected = timeout(TIMEOUT, socket.connect(address)).await;
    connected.context("connecting hangs")?.with_context(|| format!("cannot reach {address} from {source}"))
}

/// Opens a TCP connection with a receive buffer of this size.
async fn tcp_with_receive_buffer(address: SocketAddr, bytes: u32) -> Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(bytes)?;
    let connected = timeout(TIMEOUT, socket.connect(address)).await;
    connected.context("connecting hangs")?.with_context(|| format!("cannot reach {address}"))
}

/// Sends bytes on a new connection and returns everything received until it ends.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = tcp(address).await?;
    stream.write_all(bytes).await?;
    rest(&mut stream).await
}

/// Reads until the connection ends; a reset counts as an end.
pub async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut answer = Vec::new();
    let read = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await.context("it stays open")?;
    match read {
        Ok(_) => Ok(answer),
        Err(error) if matches!(error.kind(), CONNECTION_RESET | UNEXPECTED_EOF) => Ok(answer),
        Err(error) => Err(error.into()),
    }
}

const CONNECTION_RESET: std::io::ErrorKind = std::io::ErrorKind::ConnectionReset;
// The error of rustls for a peer that closes without close_notify.
const UNEXPECTED_EOF: std::io::ErrorKind = std::io::ErrorKind::UnexpectedEof;

/// An HTTP connection.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    scheme: &'static str,
    driver: JoinSet<()>,
}

#[derive(Debug)]
enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Opens a plain HTTP/1.1 connection.
    pub async fn plain(address: SocketAddr) -> Result<Self> {
        Self::over(tcp(address).await?, false, "http").await
    }

    /// Starts HTTP over any stream.
    pub async fn over<S>(stream: S, is_h2: bool, scheme: &'static str) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut driver = JoinSet::new();
        let sender = if is_h2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            // Browsers take heads of 256 KiB.
            builder.max_header_list_size(256 * 1024);
            let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
            driver.spawn(async move { drop(connection.await) });
            Sender::H2(sender)
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            driver.spawn(async move { drop(connection.await) });
            Sender::H1(sender)
        };
        Ok(Self { sender, scheme, driver })
    }

    /// Returns a builder for a request, in the target form of this protocol.
    pub fn request(&self, method: Method, host: &str, path: &str) -> http::request::Builder {
        match self.sender {
            Sender::H1(_) => Request::builder().method(method).uri(path).header("host", host),
            Sender::H2(_) => Request::builder().method(method).uri(format!("{}://{host}{path}", self.scheme)),
        }
    }

    /// Sends a request and returns when the head of its response has arrived.
    pub async fn open(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let sent = async {
            match &mut self.sender {
                Sender::H1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::H2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        Ok(timeout(TIMEOUT, sent).await.context("no response")??)
    }

    /// Starts a request over HTTP/2 that runs as long as the connection; its result is ignored.
    pub fn begin(&mut self, request: Request<Full<Bytes>>) -> Result<()> {
        let Sender::H2(sender) = &self.sender else { bail!("HTTP/1.1 takes one at a time") };
        let mut sender = sender.clone();
        self.driver.spawn(async move { drop(sender.send_request(request).await) });
        Ok(())
    }

    /// Sends requests over HTTP/2 concurrently and returns the responses in the order of the requests. Dropping the
    /// future cancels the unfinished ones.
    pub async fn send_concurrently(&mut self, requests: Vec<Request<Full<Bytes>>>) -> Result<Vec<Reply>> {
        let Sender::H2(sender) = &self.sender else { bail!("HTTP/1.1 takes one at a time") };
        let sent = requests.into_iter().map(|request| {
            let mut sender = sender.clone();
            async move {
                sender.ready().await?;
                Reply::read(sender.send_request(request).await?).await
            }
        });
        timeout(TIMEOUT, try_join_all(sent)).await.context("no response")?
    }

    /// Sends a request and reads the whole response.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Reply> {
        let response = self.open(request).await?;
        timeout(TIMEOUT, Reply::read(response)).await.context("the body hangs")?
    }

    /// Sends one GET.
    pub async fn get(&mut self, host: &str, path: &str) -> Result<Reply> {
        let request = self.request(Method::GET, host, path).body(Full::default())?;
        self.send(request).await
    }

    /// Returns true if the connection can take another request.
    pub async fn is_open(&mut self) -> bool {
        match &mut self.sender {
            Sender::H1(sender) => sender.ready().await.is_ok(),
            Sender::H2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Waits until the peer has closed the connection.
    pub async fn closed(&mut self) -> Result<()> {
        let ended = timeout(TIMEOUT, self.driver.join_next()).await.context("it stays open")?;
        ended.context("no driver")??;
        Ok(())
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The HTTP version.
    pub version: Version,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailer fields; empty if there were none.
    pub trailers: HeaderMap,
}

impl Reply {
    async fn read(response: Response<Incoming>) -> Result<Self> {
        let (head, body) = response.into_parts();
        let collected = body.collect().await.context("the body broke off")?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let (status, version, headers) = (head.status, head.version, head.headers);
        Ok(Self { status, version, headers, body: collected.to_bytes(), trailers })
    }

    /// Fails unless the response has this status; the error shows the whole response.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status.as_u16() != status {
            bail!("expected {status}, got {} {:?} {}", self.status, self.headers, self.text());
        }
        Ok(self)
    }

    /// Returns the value of a header field; empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Parses the body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }
}
