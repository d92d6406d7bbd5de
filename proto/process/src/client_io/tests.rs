//! Clients that wait, end their input, or continue to send.

use std::future::poll_fn;

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

fn pair(protocol: Protocol) -> (ClientIo<DuplexStream>, DuplexStream, Arc<ClientState>) {
    let (ours, client) = duplex(1024);
    let state = Arc::new(ClientState::default());
    (ClientIo::new(ours, protocol, Arc::clone(&state)), client, state)
}

#[tokio::test]
async fn input_during_a_request_is_not_lost() {
    let (mut io, mut client, state) = pair(Protocol::Http1);
    state.set_waiting(true);
    client.write_all(b"next").await.unwrap();
    client.shutdown().await.unwrap();
    for _ in 0..3 {
        io.flush().await.unwrap();
    }
    assert!(!state.has_input_ended(), "there is more before its end");
    state.set_waiting(false);
    let mut read = String::new();
    io.read_to_string(&mut read).await.unwrap();
    assert_eq!(read, "next");
}

#[tokio::test]
async fn an_end_of_input_during_a_request_is_detected_and_no_error() {
    let (mut io, mut client, state) = pair(Protocol::Http1);
    client.shutdown().await.unwrap();
    io.flush().await.unwrap();
    assert!(!state.has_input_ended(), "nobody waits");
    state.set_waiting(true);
    io.flush().await.unwrap();
    assert!(state.has_input_ended());
    io.write_all(b"answer").await.unwrap();
    io.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer");
}

#[tokio::test]
async fn http2_reads_the_end_of_input_once_everything_is_answered_and_written() {
    let (mut io, mut client, state) = pair(Protocol::Http2);
    client.write_all(b"x").await.unwrap();
    client.shutdown().await.unwrap();
    let mut byte = [0];
    assert_eq!(io.read(&mut byte).await.unwrap(), 1);
    assert!(io.read(&mut byte).now_or_never().is_none(), "it may have been a request");
    state.set_in_flight(true);
    io.flush().await.unwrap();
    assert!(io.read(&mut byte).now_or_never().is_none(), "under way");
    state.set_in_flight(false);
    assert!(io.read(&mut byte).now_or_never().is_none(), "not written yet");
    io.write_all(b"answer").await.unwrap();
    io.flush().await.unwrap();
    assert!(io.read(&mut byte).now_or_never().is_none(), "there may be more");
    io.flush().await.unwrap();
    assert_eq!(io.read(&mut byte).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_shutdown_waits_for_a_client_that_still_sends_for_a_bounded_time() {
    let (mut io, _client, _) = pair(Protocol::Http1);
    assert!(io.shutdown().now_or_never().is_some(), "there is nothing to wait for");
    for (sends, longest) in [(1, SILENCE), (100, LINGER)] {
        let (mut io, mut client, state) = pair(Protocol::Http1);
        state.set_unread(true);
        let begun = Instant::now();
        let sending = async {
            for _ in 0..sends {
                client.write_all(b"more").await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            poll_fn(|_| Poll::<io::Result<()>>::Pending).await
        };
        let ended = async {
            tokio::select! { ended = io.shutdown() => ended, _ = sending => Ok(()) }
        };
        ended.await.unwrap();
        let took = begun.elapsed();
        assert!(took >= longest && took <= longest + SILENCE, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_shutdown_does_not_wait_for_a_closed_connection() {
    let (mut io, client, state) = pair(Protocol::Http1);
    state.set_unread(true);
    drop(client);
    let begun = Instant::now();
    io.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
