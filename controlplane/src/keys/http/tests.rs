//! Tests of caching, failures and invalid responses of a key server.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_local};
use webgateway_proto::httpsig::PrivateKey;

use super::*;

thread_local! {
    /// The time of this test's clock since its start.
    static TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn advance(time: Duration) {
    TIME.set(TIME.get() + time);
}

/// A server that sends the same text to every request.
struct Server {
    address: SocketAddr,
    response: Arc<Mutex<String>>,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

fn pem(seed: u8) -> String {
    PrivateKey::from_seed(&[seed; 32]).public().to_pem()
}

fn keys(seed: u8) -> Option<PublicKeys> {
    Some(PublicKeys::parse(&pem(seed)).unwrap())
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "the test aborts the task")]
    async fn start(response: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, response) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(response.to_owned())));
        let requests = Arc::new(AtomicUsize::new(0));
        let (text, count) = (Arc::clone(&response), Arc::clone(&requests));
        let task = spawn_local(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.read(&mut [0; 4096]).await;
                let response = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        Self { address, response, requests, task }
    }

    fn set_response(&self, text: String) {
        *self.response.lock().unwrap() = text;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn store(&self, ttl: Duration) -> KeyServer {
        let clock = Clock::from_fn(|| OffsetDateTime::UNIX_EPOCH + TIME.get());
        KeyServer::new(format!("http://{}/{{id}}", self.address).parse().unwrap(), ttl, clock).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn id() -> KeyId {
    "user1.pub".parse().unwrap()
}

/// Runs a test and its server on one thread.
async fn run_local(run: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(run).await;
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn concurrent_lookups_share_one_request() {
    run_local(async {
        let server = Server::start(&ok(&pem(1))).await;
        let store = server.store(HOUR);
        let user = id();
        let found = futures_util::future::join_all((0..50).map(|_| store.find(&user))).await;
        assert!(found.into_iter().all(|found| found.unwrap() == keys(1)));
        assert_eq!(store.find(&user).await.unwrap(), keys(1));
        assert_eq!(server.requests(), 1);
    })
    .await;
}

#[tokio::test]
async fn expiry_and_refresh_fetch_a_key_again() {
    run_local(async {
        let server = Server::start(&ok(&pem(1))).await;
        let store = server.store(HOUR);
        assert_eq!(store.find(&id()).await.unwrap(), keys(1));
        server.set_response(ok(&pem(2)));
        assert_eq!(store.refresh(&id()).await.unwrap(), None, "the response is too young");
        advance(MIN_REFRESH_AGE);
        assert_eq!(store.find(&id()).await.unwrap(), keys(1), "the TTL has not elapsed");
        assert_eq!(store.refresh(&id()).await.unwrap(), keys(2));
        server.set_response(ok(&pem(3)));
        advance(HOUR);
        assert_eq!(store.find(&id()).await.unwrap(), keys(3));
        server.set_response(status("404 Not Found"));
        advance(HOUR);
        assert_eq!(store.find(&id()).await.unwrap(), None, "the key was removed");
        assert_eq!(store.find(&id()).await.unwrap(), None);
        assert_eq!(server.requests(), 4, "absence is cached");
    })
    .await;
}

#[tokio::test]
async fn cached_keys_are_used_while_the_server_fails_up_to_a_maximum_age() {
    run_local(async {
        let server = Server::start(&ok(&pem(1))).await;
        let store = server.store(HOUR);
        assert_eq!(store.find(&id()).await.unwrap(), keys(1));
        for failing in [status("500 Oh"), status("302 Found\r\nlocation: http://127.0.0.1/"), String::new()] {
            server.set_response(failing);
            advance(HOUR);
            assert_eq!(store.find(&id()).await.unwrap(), keys(1));
        }
        advance(MAX_STALE_AGE);
        assert!(matches!(store.find(&id()).await, Err(UnusableKeyError::ServerUnavailable(_))));
        server.set_response(ok(&pem(2)));
        assert!(
            matches!(store.find(&id()).await, Err(UnusableKeyError::ServerUnavailable(_))),
            "not requested again before the delay"
        );
        advance(RETRY_DELAY);
        assert_eq!(store.find(&id()).await.unwrap(), keys(2));
    })
    .await;
}

#[tokio::test]
async fn an_unusable_entry_is_skipped() {
    run_local(async {
        let server = Server::start(&ok(&format!("nonsense!\n{}", pem(1)))).await;
        let found = server.store(HOUR).find(&id()).await.unwrap().unwrap();
        assert_eq!(found.skipped().len(), 1);
        assert!(found.iter().eq(keys(1).unwrap().iter()));
    })
    .await;
}

#[tokio::test]
async fn invalid_responses_are_reported() {
    run_local(async {
        for (response, expected) in [
            (ok("nonsense!"), "line 1: not a key: ed25519"),
            (ok(""), "empty"),
            (ok(&"x".repeat(17 * 1024)), "over 16384 bytes"),
            (status("500 Oh"), "500"),
            (status("301 Moved\r\nlocation: http://127.0.0.1:1/"), "redirects are not followed"),
            ("SSH-2.0-OpenSSH\r\n".to_owned(), "is unavailable"),
        ] {
            let server = Server::start(&response).await;
            let error = server.store(HOUR).find(&id()).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{response}: {error}");
        }
        let gone = Server::start("").await;
        let store = gone.store(HOUR);
        drop(gone);
        assert!(matches!(store.find(&id()).await, Err(UnusableKeyError::ServerUnavailable(_))));
    })
    .await;
}

/// Reads the files that `ssh-keygen -e`, PuTTYgen and `cryptography` made of one key.
#[tokio::test]
async fn keys_of_other_tools_are_read() {
    const TOOLS: [&str; 4] = [
        include_str!("../../../../proto/src/httpsig/samples/tools/ed25519.rfc4716.pub"),
        include_str!("../../../../proto/src/httpsig/samples/tools/ed25519.putty.rfc4716.pub"),
        include_str!("../../../../proto/src/httpsig/samples/tools/ed25519.putty.ssh.pub"),
        include_str!("../../../../proto/src/httpsig/samples/tools/ed25519.cryptography.pub"),
    ];
    let key =
        PublicKeys::parse(include_str!("../../../../proto/src/httpsig/samples/ed25519.ssh.pub")).unwrap();
    run_local(async {
        for text in TOOLS {
            let server = Server::start(&ok(text)).await;
            assert_eq!(server.store(HOUR).find(&id()).await.unwrap(), Some(key.clone()), "{text}");
        }
        let putty = include_str!("../../../../proto/src/httpsig/samples/tools/ed25519.putty3.ppk");
        let message = Server::start(&ok(putty)).await.store(HOUR).find(&id()).await.unwrap_err().to_string();
        assert!(message.contains("puttygen FILE"), "{message}");
    })
    .await;
}
