//! Tests of retries against a failing gateway: which calls are retried, and how often.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Gateway, ReceivedRequest, Reply};
use crate::network::closed_port;
use crate::program::{Program, RunOutput, public_key};

const ID: &str = "01999999-9999-7999-8999-999999999999";
const CREATE: &[&str] = &["routes", "create", "-s", "a", "-b", "[400::1]:80"];
const DELETE: &[&str] = &["routes", "delete", "-r", ID];

/// Starts a gateway that first returns these failures, and then `route_not_found`.
fn failing_gateway(failures: Vec<fn() -> Reply>) -> Gateway {
    let mut failures = failures.into_iter();
    Gateway::start(move |_| match failures.next() {
        Some(failure) => failure(),
        None => Reply::error(200, -32004, json!({ "kind": "route_not_found" })),
    })
}

fn lost() -> Reply {
    Reply::Nothing
}

fn http_503() -> Reply {
    Reply::Http(503, "text/html", vec![], "<h1>later</h1>".into())
}

fn unavailable() -> Reply {
    Reply::error(503, -32050, json!({ "kind": "unavailable" }))
}

fn rate_limited() -> Reply {
    Reply::error(200, -32050, json!({ "kind": "rate_limited", "retry_after": 1 }))
}

fn run(gateway: &Gateway, words: &[&str], time: &str) -> RunOutput {
    Program::new().call(&gateway.url(), &[words, &["--retry-for", time]].concat())
}

fn nonce(request: &ReceivedRequest) -> String {
    request.verify("http", &public_key()).unwrap().nonce().unwrap().unwrap().to_owned()
}

#[test]
fn transient_errors_are_retried_with_new_nonces() {
    let routes = json!({ "routes": [] });
    let mut failures = [lost, http_503, unavailable].into_iter();
    let gateway = Gateway::start(move |_| match failures.next() {
        Some(failure) => failure(),
        None => Reply::result(routes.clone()),
    });
    let output = run(&gateway, &["routes", "list"], "20s");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    let mut nonces: Vec<String> = gateway.received().iter().map(nonce).collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!((gateway.received().len(), nonces.len()), (4, 4));
}

#[test]
fn a_retried_creation_has_the_same_id() {
    let gateway = failing_gateway(vec![lost, lost]);
    assert_eq!(run(&gateway, CREATE, "20s").code, 6);
    let [first, second, third] = gateway.received().try_into().unwrap();
    assert_eq!((&first.body, &second.body), (&second.body, &third.body));
    assert!(first.json()["params"]["id"].is_string());
}

#[test]
fn a_deletion_that_may_have_been_applied_is_not_retried() {
    for failure in [lost as fn() -> Reply, http_503, unavailable] {
        let gateway = failing_gateway(vec![failure]);
        let output = run(&gateway, DELETE, "20s");
        assert_eq!((output.code, gateway.received().len()), (3, 1), "{}", output.stderr);
    }
    let gateway = failing_gateway(vec![lost]);
    let output = run(&gateway, DELETE, "20s");
    assert!(output.stderr.contains("was lost before the response"), "{}", output.stderr);
    assert!(output.stderr.contains("gwctl routes list"), "{}", output.stderr);
    // A call rejected by the rate limit was not applied.
    let gateway = failing_gateway(vec![rate_limited]);
    assert_eq!((run(&gateway, DELETE, "20s").code, gateway.received().len()), (6, 2));
}

#[test]
fn permanent_errors_are_not_retried() {
    for (status, code) in [(401, -32001), (200, -32003), (200, -32004), (200, -32602), (200, -32603)] {
        let gateway = Gateway::start(move |_| Reply::error(status, code, json!({ "kind": "k" })));
        run(&gateway, &["routes", "list"], "20s");
        assert_eq!(gateway.received().len(), 1, "{code}");
    }
    for status in [400, 401, 403, 404, 500] {
        let gateway = Gateway::start(move |_| Reply::Http(status, "text/html", vec![], String::new()));
        run(&gateway, &["routes", "list"], "20s");
        assert_eq!(gateway.received().len(), 1, "{status}");
    }
}

#[test]
fn retry_after_is_respected_or_ends_the_retries() {
    let gateway = failing_gateway(vec![rate_limited]);
    let began = Instant::now();
    assert_eq!(run(&gateway, &["routes", "list"], "20s").code, 6);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let an_hour = || Reply::error(200, -32050, json!({ "kind": "rate_limited", "retry_after": 3600 }));
    let gateway = failing_gateway(vec![an_hour]);
    let output = run(&gateway, &["routes", "list"], "20s");
    assert_eq!((output.code, gateway.received().len()), (3, 1), "{}", output.stderr);
}

#[test]
fn retries_end_in_time_with_one_warning_and_the_first_error() {
    let gateway = Gateway::start(|_| Reply::Nothing);
    let output = run(&gateway, &["routes", "get", "-r", ID], "3s");
    assert_eq!(output.code, 3);
    let received = gateway.received().len();
    assert!((3..20).contains(&received), "{received} attempts");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!(lines[0].starts_with("warning: ") && lines[0].ends_with("; retrying"), "{lines:?}");
    assert!(lines[1].starts_with("error: the connection to"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("warning")).count(), 1);
}

#[test]
fn a_refused_connection_is_retried_even_for_a_deletion() {
    let (socket, port) = closed_port();
    let program = Program::new();
    let url = format!("http://127.0.0.1:{port}");
    let words = [&["-v", "-u", &url, "-k", "user1.priv", "--retry-for", "60s"], DELETE].concat();
    let mut child =
        program.command(&words, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("retrying in") {
        assert!(stderr.read_line(&mut text).unwrap() > 0, "{text}");
    }
    socket.listen(16).unwrap();
    let gateway = Gateway::on_listener(socket.into(), None, |_| Reply::result(json!({})));
    stderr.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    assert_eq!(gateway.received().len(), 1);
    let body: Value = gateway.received()[0].json();
    assert_eq!(body["method"], "routes.delete");
}
