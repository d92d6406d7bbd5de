//! The controlplane's DNS server: authoritative for one zone, REFUSED for all others.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use webgateway_tests::client::tcp;
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

scenarios![only_the_zone_is_answered, queries_over_tcp_are_answered, garbage_is_ignored];

const SERVER: &str = "127.0.0.1:53";
const ZONE: &str = "_acme-challenge.gw.example";
const A: u16 = 1;
const NS: u16 = 2;
const SOA: u16 = 6;
const TXT: u16 = 16;
const CAA: u16 = 257;
const NOERROR: u8 = 0;
const REFUSED: u8 = 5;

/// The parts of a DNS answer that the scenarios check (RFC 1035 §4.1.1).
#[derive(Debug)]
struct Answer {
    id: u16,
    authoritative: bool,
    recursion: bool,
    code: u8,
    answers: u16,
    authorities: u16,
    question: Vec<u8>,
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(1_u16.to_be_bytes());
    bytes
}

fn query(id: u16, question: &[u8]) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    bytes.extend(question);
    bytes
}

fn read(bytes: &[u8], question: usize) -> Result<Answer> {
    ensure!(bytes.len() >= 12 + question, "short: {bytes:?}");
    let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    Ok(Answer {
        id: number(0),
        authoritative: bytes[2] & 0x04 != 0,
        recursion: bytes[3] & 0x80 != 0,
        code: bytes[3] & 0x0f,
        answers: number(6),
        authorities: number(8),
        question: bytes[12..12 + question].to_vec(),
    })
}

async fn ask(name: &str, kind: u16) -> Result<Answer> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let question = question(name, kind);
    socket.send_to(&query(4711, &question), SERVER).await?;
    let mut buffer = [0; 1500];
    let read_bytes =
        timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.context("no answer")??;
    let answer = read(&buffer[..read_bytes], question.len())?;
    ensure!(answer.id == 4711 && !answer.recursion && answer.question == question, "{name}: {answer:?}");
    Ok(answer)
}

async fn only_the_zone_is_answered(sandbox: &Sandbox) -> Result<()> {
    let _controlplane = Controlplane::start(sandbox).await?;
    for kind in [SOA, NS] {
        let answer = ask(ZONE, kind).await?;
        ensure!(answer.code == NOERROR && answer.authoritative && answer.answers == 1, "{kind}: {answer:?}");
    }
    for kind in [TXT, A, CAA] {
        let answer = ask(ZONE, kind).await?;
        let nodata = answer.code == NOERROR && answer.authoritative && answer.answers == 0;
        ensure!(nodata && answer.authorities == 1, "{kind}: {answer:?}");
    }
    // With 0x20 encoding the answer repeats the question's spelling, which `ask` checks.
    ask("_AcMe-ChAlLeNgE.gW.eXaMpLe", SOA).await?;
    for name in ["gw.example", "example", "other.example.org", "x.gw.example"] {
        let answer = ask(name, A).await?;
        ensure!(answer.code == REFUSED && answer.answers == 0, "{name}: {answer:?}");
    }
    Ok(())
}

async fn queries_over_tcp_are_answered(sandbox: &Sandbox) -> Result<()> {
    let _controlplane = Controlplane::start(sandbox).await?;
    let mut stream = tcp(SERVER.parse()?).await?;
    let question = question(ZONE, SOA);
    for id in [1, 2] {
        let query = query(id, &question);
        stream.write_all(&u16::try_from(query.len())?.to_be_bytes()).await?;
        stream.write_all(&query).await?;
        let length = timeout(Duration::from_secs(5), stream.read_u16()).await.context("no answer")??;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        let answer = read(&answer, question.len())?;
        ensure!(answer.id == id && answer.code == NOERROR && answer.answers == 1, "{answer:?}");
    }
    Ok(())
}

async fn garbage_is_ignored(sandbox: &Sandbox) -> Result<()> {
    let mut controlplane = Controlplane::start(sandbox).await?;
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    let full = query(1, &question(ZONE, TXT));
    for end in 0..full.len() {
        socket.send_to(&full[..end], SERVER).await?;
    }
    let pointing_at_itself = [&full[..12], &[0xc0, 12, 0, 16, 0, 1]].concat();
    let zeros = [0; 1400];
    for bytes in [&pointing_at_itself[..], &zeros] {
        socket.send_to(bytes, SERVER).await?;
    }
    let mut stream = tcp(SERVER.parse()?).await?;
    stream.write_all(&[0xff, 0xff, 1, 2, 3]).await?;
    drop(stream);
    ask(ZONE, SOA).await?;
    controlplane.process().ensure_running()
}
