//! Tests of the HTTP side of the API, in process and over real connections.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use webgateway_process::{Stop, Tasks};
use webgateway_proto::api::MAX_BODY;

use super::server::RpcServer;
use super::*;

const HEALTH: &str = r#"{"jsonrpc":"2.0","method":"health","id":1}"#;
/// A timeout longer than the 5 s for which the input of a refused client is discarded.
const TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn paths_and_http_methods_are_checked() {
    let fixture = ApiFixture::new();
    for (method, path, status, allow) in [
        ("GET", "/rpc", 405, Some("POST")),
        ("PUT", "/rpc", 405, Some("POST")),
        ("POST", "/", 405, Some("GET, HEAD")),
        ("POST", "/openrpc.json", 405, Some("GET, HEAD")),
        ("GET", "/openrpc.json", 200, None),
        ("GET", "/", 200, None),
        ("HEAD", "/", 200, None),
        ("GET", "/rpc/", 404, None),
        ("GET", "/etc/passwd", 404, None),
    ] {
        let request = Request::builder().method(method).uri(path).body(Bytes::new()).unwrap();
        let response = fixture.send(request).await;
        assert_eq!(response.status(), status, "{method} {path}");
        let allowed = response.headers().get("allow").map(|value| value.to_str().unwrap());
        assert_eq!(allowed, allow, "{method} {path}");
    }
    let page = fixture.send(Request::get("/").body(Bytes::new()).unwrap()).await;
    let page = String::from_utf8(page.body().to_vec()).unwrap();
    assert!(page.contains("https://gw.example/rpc") && page.contains("gwctl") && !page.contains("{base}"));
}

#[tokio::test]
async fn a_body_must_be_json_of_bounded_size() {
    let fixture = ApiFixture::new();
    for (content_type, status) in [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
    ] {
        let mut request = unsigned(URL, HEALTH);
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        assert_eq!(fixture.send(request).await.status(), status, "{content_type}");
    }
    let (status, response) = status_and_body(fixture.send(unsigned(URL, &" ".repeat(MAX_BODY + 1))).await);
    assert_eq!((status.as_u16(), &response["error"]["code"]), (413, &json!(-32013)));
    let full = format!("{HEALTH}{}", " ".repeat(MAX_BODY - HEALTH.len()));
    assert_eq!(fixture.send(unsigned(URL, &full)).await.status(), 200);
}

/// Starts a listener for the API of `fixture`, which runs until the tasks stop.
async fn listen(fixture: &ApiFixture) -> (SocketAddr, Tasks) {
    let server = RpcServer::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, tasks) = (server.local_addr(), Tasks::new(Stop::new()));
    tasks.essential("rpc", server.serve(fixture.api.clone(), fixture.metrics.clone(), tasks.clone()));
    (address, tasks)
}

/// Sends `bytes` on a new connection and returns everything that is received until it is closed.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut received = Vec::new();
    timeout(TIMEOUT, stream.read_to_end(&mut received)).await.expect("the connection stays open").unwrap();
    String::from_utf8_lossy(&received).into_owned()
}

fn post(address: SocketAddr, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /rpc HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn calls_work_over_a_connection() {
    let fixture = ApiFixture::new();
    let (address, _tasks) = listen(&fixture).await;
    let response = exchange(address, post(address, HEALTH).as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 200") && response.contains(r#""status":"ok""#), "{response}");

    let body = r#"{"jsonrpc":"2.0","method":"routes.list","id":1}"#;
    let signed = fixture.signed("user1.pub", &format!("http://{address}/rpc"), body);
    let mut head = post(address, "")
        .replace("content-length: 0\r\n\r\n", &format!("content-length: {}\r\n", body.len()));
    for (name, value) in signed.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let response = exchange(address, format!("{head}\r\n{body}").as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 200") && response.contains(r#""routes":[]"#), "{response}");
}

#[tokio::test]
async fn input_that_is_not_http_is_refused_and_counted() {
    let fixture = ApiFixture::new();
    let (address, _tasks) = listen(&fixture).await;
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let response = exchange(address, garbage).await;
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 400"), "{response}");
    }
    // It is counted when the server has ended the connection, which may be after the client has seen its end.
    let counted = async {
        while fixture.refused_count("garbage") < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), counted).await.unwrap();
    let large = format!("POST /rpc HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", MAX_BODY + 1);
    let response = exchange(address, large.as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
    assert!(exchange(address, post(address, HEALTH).as_bytes()).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_stop() {
    let fixture = ApiFixture::new();
    let (address, tasks) = listen(&fixture).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let request = post(address, HEALTH).replace("connection: close\r\n", "");
    idle.write_all(request.as_bytes()).await.unwrap();
    assert!(idle.read(&mut [0; 512]).await.unwrap() > 0);
    tasks.stop().begin();
    timeout(TIMEOUT, tasks.run_until_stopped(Duration::from_secs(60))).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
