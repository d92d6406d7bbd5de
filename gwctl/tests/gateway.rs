//! A fake gateway: an HTTP server that records requests and returns the responses that a test defines.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use webgateway_proto::httpsig::{
    Message, PublicKey, RequestSignature, SignatureError, candidates, check_digest,
};

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedRequest {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A response of the fake gateway.
pub(crate) enum Reply {
    /// An HTTP response: status, Content-Type, further header lines, body.
    Http(u16, &'static str, Vec<String>, String),
    /// No response: the connection is closed.
    Nothing,
    /// Arbitrary bytes.
    Raw(&'static [u8]),
}

/// The fake gateway. It runs until the test process ends.
pub(crate) struct Gateway {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl ReceivedRequest {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Verifies the signature as the gateway does. `scheme` is that of the request's URL.
    pub(crate) fn verify(&self, scheme: &str, key: &PublicKey) -> Result<RequestSignature, SignatureError> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let presented = candidates(&self.headers)?.remove(0).signature?;
        let host = self.headers["host"].to_str().unwrap();
        let uri: Uri = format!("{scheme}://{host}{}", self.path).parse().unwrap();
        // gwctl's signatures cover everything that the strictest gateway may require.
        let required =
            ["@method", "@authority", "@path", "@query", "content-type"].map(|name| name.parse().unwrap());
        presented.check_coverage(&uri, &required)?;
        presented.check_freshness(&self.headers, i64::try_from(now).unwrap())?;
        check_digest(&self.headers, &self.body)?;
        let message = Message { method: &self.method, uri: &uri, headers: &self.headers };
        presented.verify(&message, key)?;
        Ok(presented)
    }
}

impl Reply {
    pub(crate) fn result(result: Value) -> Self {
        let body = json!({ "jsonrpc": "2.0", "result": result, "id": 1 }).to_string();
        Self::Http(200, "application/json", vec![], body)
    }

    pub(crate) fn error(status: u16, code: i64, data: Value) -> Self {
        let error = json!({ "code": code, "message": "it was refused", "data": data });
        let body = json!({ "jsonrpc": "2.0", "error": error, "id": 1 }).to_string();
        Self::Http(status, "application/json", vec![], body)
    }
}

impl Gateway {
    /// Starts a gateway that serves plain HTTP.
    pub(crate) fn start(respond: impl FnMut(&ReceivedRequest) -> Reply + Send + 'static) -> Self {
        Self::serve(None, respond)
    }

    /// Starts a gateway that serves HTTPS.
    pub(crate) fn start_tls(
        config: ServerConfig,
        respond: impl FnMut(&ReceivedRequest) -> Reply + Send + 'static,
    ) -> Self {
        Self::serve(Some(Arc::new(config)), respond)
    }

    /// Starts a gateway that returns the same result for every call.
    pub(crate) fn with_result(result: Value) -> Self {
        Self::start(move |_| Reply::result(result.clone()))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/rpc", self.port)
    }

    /// Returns the requests so far.
    pub(crate) fn received(&self) -> Vec<ReceivedRequest> {
        self.received.lock().unwrap().clone()
    }

    fn serve(
        tls: Option<Arc<ServerConfig>>,
        respond: impl FnMut(&ReceivedRequest) -> Reply + Send + 'static,
    ) -> Self {
        Self::on_listener(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), tls, respond)
    }

    /// Starts a gateway on a listener.
    pub(crate) fn on_listener(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        mut respond: impl FnMut(&ReceivedRequest) -> Reply + Send + 'static,
    ) -> Self {
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::clone(&received);
        thread::spawn(move || {
            for tcp in listener.incoming() {
                let tcp = tcp.unwrap();
                tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                match &tls {
                    None => handle(tcp, &requests, &mut respond),
                    Some(config) => {
                        let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                        handle(StreamOwned::new(connection, tcp), &requests, &mut respond);
                    }
                }
            }
        });
        Self { port, received }
    }
}

/// Reads one request and writes one response. Errors of the connection are ignored: the test sees them in gwctl's
/// result.
fn handle<S: Read + Write>(
    stream: S,
    requests: &Mutex<Vec<ReceivedRequest>>,
    respond: &mut impl FnMut(&ReceivedRequest) -> Reply,
) {
    let mut reader = BufReader::new(stream);
    let Some(request) = read(&mut reader) else { return };
    requests.lock().unwrap().push(request.clone());
    let bytes = match respond(&request) {
        Reply::Nothing => return,
        Reply::Raw(bytes) => bytes.to_vec(),
        Reply::Http(status, kind, more, body) => {
            let more: String = more.iter().map(|line| format!("{line}\r\n")).collect();
            let length = body.len();
            let head = format!("HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n");
            format!("{head}{more}\r\n{body}").into_bytes()
        }
    };
    let _ = reader.get_mut().write_all(&bytes).and_then(|()| reader.get_mut().flush());
}

fn read(reader: &mut impl BufRead) -> Option<ReceivedRequest> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
        Some(line.trim_end().to_owned())
    };
    let request_line = line()?;
    let mut words = request_line.split(' ');
    let (method, path) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    let mut headers = HeaderMap::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    let length = headers.get("content-length").map_or(0, |v| v.to_str().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(ReceivedRequest { method, path, headers, body })
}
