//! Ambiguous heads are invalidated at one byte, independent of the split into reads; nothing else is changed.

use std::io::Cursor;

use tokio::io::AsyncReadExt as _;

use super::line::LINE;
use super::*;

/// Scans `text` in reads of `size` bytes and returns what a server reads.
fn scanned(text: &[u8], size: usize) -> Vec<u8> {
    let (mut scanner, mut bytes) = (Scanner::default(), text.to_vec());
    for mut piece in bytes.chunks_mut(size) {
        while !piece.is_empty() {
            let seen = piece.len() - scanner.scan(piece);
            piece = piece.split_at_mut(seen).1;
        }
    }
    bytes
}

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

#[test]
fn an_ambiguous_head_is_invalidated() {
    let long = "0".repeat(LINE);
    let cases = [
        "GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(),
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        format!("{POST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        format!("{POST}transfer-encoding:CHUNKED\r\ncontent-length:0\r\n\r\n"),
        format!("{POST}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        format!("{POST}Content-Length: {long}1\r\n\r\n"),
        format!("{POST}Content-Length: 3\r\n\r\na\nb{POST}X: y\n\r\n"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n3;x\r\na\nb\r\n0\r\nA: b\r\n\r\n{POST}X: y\n\r\n"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n1\nx\r\n"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n0\r\nA: b\nC: d\r\n\r\n"),
        format!("{POST}Upgrade: h2c\r\n\r\n{POST}X: y\n\r\n"),
        format!("{POST}Upgrade: WebSocket\r\n\r\n{POST}X: y\n\r\n"),
        format!("{POST}Upgrade: {}, websocket\r\n\r\n\nGET / HTTP/1.1\r\n\r\n", "x".repeat(LINE)),
        format!("{POST}Upgrade: websocket\r\nContent-Length: 1\r\n\r\n\n{POST}X: y\n\r\n"),
    ];
    for text in cases {
        for size in [1, 2, 3, 7, 1024] {
            let got = scanned(text.as_bytes(), size);
            let changed: Vec<usize> = (0..got.len()).filter(|&at| got[at] != text.as_bytes()[at]).collect();
            // A long line is rejected only if it arrives in several reads.
            let expected = usize::from(!(text.contains(&long) && size == 1024));
            assert_eq!(changed.len(), expected, "{text:?} in reads of {size}");
            assert!(changed.iter().all(|&at| got[at] == 0 && text.as_bytes()[at] == b'\n'), "{text:?}");
        }
    }
}

#[test]
fn valid_requests_and_content_pass_unchanged() {
    let long = "0".repeat(LINE);
    let cases = [
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        format!("{POST}Content-Length: 005\r\ncontent-length:5 \r\n\r\na\nb\n\nGET / HTTP/1.1\r\n\r\n"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\nA\r\n\n\n\n\n\n\n\n\n\n\n\r\n0\r\n\r\n{POST}\r\n"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\n{long}2\r\n\n\n\r\n0\r\n\r\n"),
        format!("{POST}Transfer-Encoding: gzip, chunked\r\n\r\n\n\n"),
        format!("{POST}Transfer-Encoding: chunked\r\n\r\nx\r\n\n\n"),
        format!(
            "{POST}X-Content-Length: 1\r\nContent-Lengths: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
    ];
    for text in cases {
        for size in [1, 2, 3, 7, 1024] {
            assert_eq!(scanned(text.as_bytes(), size), text.as_bytes(), "{text:?} in reads of {size}");
        }
    }
}

#[tokio::test]
async fn bytes_after_an_upgrade_request_are_scanned_only_if_it_is_refused() {
    let head = format!("{POST}Upgrade: websocket\r\n\r\n");
    for is_upgraded in [false, true] {
        for rest in ["", "\n\0\n", "GET / HTTP/1.1\nHost: a\r\n\r\n"] {
            let client = Arc::<ClientState>::default();
            let mut strict =
                StrictHttp::new(Cursor::new(format!("{POST}\r\n{head}{rest}")), Arc::clone(&client));
            let mut read = vec![0; 1024];
            let count = strict.read(&mut read).await.unwrap();
            assert_eq!(&read[..count], format!("{POST}\r\n{head}").as_bytes(), "no more before the answer");
            if is_upgraded {
                client.set_upgraded();
            }
            let (mut got, mut buffer) = (Vec::new(), [0; 5]);
            while let count @ 1.. = strict.read(&mut buffer).await.unwrap() {
                got.extend_from_slice(&buffer[..count]);
            }
            let expected = if is_upgraded { rest.to_owned() } else { rest.replacen('\n', "\0", 1) };
            assert_eq!(got, expected.as_bytes(), "upgraded: {is_upgraded}");
        }
    }
}
