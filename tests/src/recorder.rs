//! A backend that records each request byte by byte, and responds with bytes that were set for its path.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A running recorder; dropping it closes its port and its connections.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _server: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    responses: HashMap<String, Vec<u8>>,
    requests: Vec<RecordedRequest>,
    connections: usize,
}

/// A recorded request.
#[derive(Debug, Clone, Default)]
pub struct RecordedRequest {
    /// The request line and the fields, as they were sent.
    pub head: String,
    /// The content, without its framing.
    pub body: Vec<u8>,
    /// The trailer fields, as they were sent.
    pub trailers: String,
}

impl RecordedRequest {
    /// Returns all values of a field, in order.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

impl Recorder {
    /// Listens on `address`; a path without a response of its own gets an empty 200.
    pub async fn start(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("recorder on {address}"))?;
        let address = listener.local_addr()?;
        let state = Arc::<Mutex<State>>::default();
        let mut server = JoinSet::new();
        let shared = Arc::clone(&state);
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                lock(&shared).connections += 1;
                let state = Arc::clone(&shared);
                // A connection that is cut or misframed ends here; earlier requests are recorded.
                connections.spawn(async move { drop(serve(stream, &state).await) });
            }
        });
        Ok(Self { address, state, _server: server })
    }

    /// Returns the listen address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the response to requests for `target`; a response with `Connection: close` ends the connection.
    pub fn respond(&self, target: &str, bytes: impl Into<Vec<u8>>) {
        lock(&self.state).responses.insert(target.to_owned(), bytes.into());
    }

    /// Returns the requests for `target` so far.
    #[must_use]
    pub fn requests(&self, target: &str) -> Vec<RecordedRequest> {
        lock(&self.state).requests.iter().filter(|request| request.target() == target).cloned().collect()
    }

    /// Returns the only request for `target`.
    pub fn only(&self, target: &str) -> Result<RecordedRequest> {
        let mut requests = self.requests(target);
        match (requests.pop(), requests.is_empty()) {
            (Some(only), true) => Ok(only),
            (last, _) => bail!("{} requests for {target}: {last:?}", requests.len()),
        }
    }

    /// Returns the number of connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.state).connections
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, state: &Mutex<State>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = RecordedRequest { head: lines(&mut stream).await?, ..RecordedRequest::default() };
        if request.values("transfer-encoding").is_empty() {
            let length = request.values("content-length").first().map_or(Ok(0), |length| length.parse())?;
            request.body = vec![0; length];
            stream.read_exact(&mut request.body).await?;
        } else {
            request.trailers = chunks(&mut stream, &mut request.body).await?;
        }
        let target = request.target().to_owned();
        let response = {
            let mut state = lock(state);
            state.requests.push(request);
            state.responses.get(&target).cloned()
        };
        let response = response.unwrap_or_else(|| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
        stream.write_all(&response).await?;
        if String::from_utf8_lossy(&response).to_ascii_lowercase().contains("connection: close") {
            stream.shutdown().await?;
            return Ok(());
        }
    }
}

/// Reads lines up to an empty one.
async fn lines(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut read = String::new();
    loop {
        let begun = read.len();
        if stream.read_line(&mut read).await? == 0 {
            bail!("it ended");
        }
        if &read[begun..] == "\r\n" {
            return Ok(read);
        }
    }
}

/// Reads a chunked body and returns its trailers.
async fn chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<String> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let size = usize::from_str_radix(line.trim_end(), 16).with_context(|| format!("chunk {line:?}"))?;
        if size == 0 {
            return lines(stream).await;
        }
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await?;
        body.extend(&chunk[..size]);
    }
}
