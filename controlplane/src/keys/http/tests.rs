//! A key server that answers, changes its mind, fails, and lies.

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
    /// The time of this test's clock, after its beginning.
    static TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn wait(time: Duration) {
    TIME.set(TIME.get() + time);
}

/// Answers every request with the same text.
struct Server {
    address: SocketAddr,
    says: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
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
    #[expect(clippy::disallowed_methods, reason = "the test aborts it, and sees what it does")]
    async fn start(says: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, says) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(says.to_owned())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (text, count) = (Arc::clone(&says), Arc::clone(&asked));
        let task = spawn_local(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, says, asked, task }
    }

    fn say(&self, text: String) {
        *self.says.lock().unwrap() = text;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
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

/// Runs a story whose server runs beside it.
async fn story(run: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(run).await;
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_key_is_asked_for_once_in_its_time_by_however_many() {
    story(async {
        let server = Server::start(&ok(&pem(1))).await;
        let store = server.store(HOUR);
        let user = id();
        let found = futures_util::future::join_all((0..50).map(|_| store.find(&user))).await;
        assert!(found.into_iter().all(|found| found.unwrap() == keys(1)));
        assert_eq!(store.find(&user).await.unwrap(), keys(1));
        assert_eq!(server.asked(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_end_of_its_time_and_a_doubt_ask_anew() {
    story(async {
        let server = Server::start(&ok(&pem(1))).await;
        let store = server.store(HOUR);
        assert_eq!(store.find(&id()).await.unwrap(), keys(1));
        server.say(ok(&pem(2)));
        assert_eq!(store.find_again(&id()).await.unwrap(), None, "it came just now");
        wait(YOUNG);
        assert_eq!(store.find(&id()).await.unwrap(), keys(1), "its time is not over");
        assert_eq!(store.find_again(&id()).await.unwrap(), keys(2));
        server.say(ok(&pem(3)));
        wait(HOUR);
        assert_eq!(store.find(&id()).await.unwrap(), keys(3));
        server.say(status("404 Not Found"));
        wait(HOUR);
        assert_eq!(store.find(&id()).await.unwrap(), None, "taken back");
        assert_eq!(store.find(&id()).await.unwrap(), None);
        assert_eq!(server.asked(), 4, "what is absent is remembered too");
    })
    .await;
}

#[tokio::test]
async fn an_earlier_answer_serves_while_the_server_is_away_but_not_for_ever() {
    story(async {
        let server = Server::start(&ok(&pem(1))).await;
        let store = server.store(HOUR);
        assert_eq!(store.find(&id()).await.unwrap(), keys(1));
        for failing in [status("500 Oh"), status("302 Found\r\nlocation: http://127.0.0.1/"), String::new()] {
            server.say(failing);
            wait(HOUR);
            assert_eq!(store.find(&id()).await.unwrap(), keys(1));
        }
        wait(STALE);
        assert!(matches!(store.find(&id()).await, Err(UnusableKeyError::Away(_))));
        server.say(ok(&pem(2)));
        assert!(matches!(store.find(&id()).await, Err(UnusableKeyError::Away(_))), "not asked at every turn");
        wait(PAUSE);
        assert_eq!(store.find(&id()).await.unwrap(), keys(2));
    })
    .await;
}

#[tokio::test]
async fn an_unusable_entry_does_not_take_the_others_away() {
    story(async {
        let server = Server::start(&ok(&format!("nonsense!\n{}", pem(1)))).await;
        let found = server.store(HOUR).find(&id()).await.unwrap().unwrap();
        assert_eq!(found.skipped().len(), 1);
        assert!(found.iter().eq(keys(1).unwrap().iter()));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_key_is_said() {
    story(async {
        for (answer, expected) in [
            (ok("nonsense!"), "line 1: not a key: ed25519"),
            (ok(""), "empty"),
            (ok(&"x".repeat(17 * 1024)), "over 16384 bytes"),
            (status("500 Oh"), "500"),
            (status("301 Moved\r\nlocation: http://127.0.0.1:1/"), "redirects are not followed"),
            ("SSH-2.0-OpenSSH\r\n".to_owned(), "cannot be asked"),
        ] {
            let server = Server::start(&answer).await;
            let error = server.store(HOUR).find(&id()).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{answer}: {error}");
        }
        let gone = Server::start("").await;
        let store = gone.store(HOUR);
        drop(gone);
        assert!(matches!(store.find(&id()).await, Err(UnusableKeyError::Away(_))));
    })
    .await;
}

/// The key files that `ssh-keygen -e`, PuTTYgen and `cryptography` made of one key.
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
    story(async {
        for text in TOOLS {
            let server = Server::start(&ok(text)).await;
            assert_eq!(server.store(HOUR).find(&id()).await.unwrap(), Some(key.clone()), "{text}");
        }
        let putty = include_str!("../../../../proto/src/httpsig/samples/tools/ed25519.putty3.ppk");
        let told = Server::start(&ok(putty)).await.store(HOUR).find(&id()).await.unwrap_err().to_string();
        assert!(told.contains("puttygen FILE"), "{told}");
    })
    .await;
}
