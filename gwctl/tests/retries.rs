//! Retries: what is tried again, how often, and what never is, against a server that fails.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Gateway, ReceivedRequest, Reply};
use crate::network::deaf_port;
use crate::program::{Program, RunOutput, public_key};

const ID: &str = "01999999-9999-7999-8999-999999999999";
const CREATE: &[&str] = &["routes", "create", "-s", "a", "-b", "[400::1]:80"];
const DELETE: &[&str] = &["routes", "delete", "-r", ID];

/// A gateway that begins with these failures, and then says that there is nothing.
fn flaky(failures: Vec<fn() -> Reply>) -> Gateway {
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

fn away() -> Reply {
    Reply::error(503, -32050, json!({ "kind": "unavailable" }))
}

fn limited() -> Reply {
    Reply::error(200, -32050, json!({ "kind": "rate_limited", "retry_after": 1 }))
}

fn run(gateway: &Gateway, words: &[&str], time: &str) -> RunOutput {
    Program::new().call(&gateway.url(), &[words, &["--retry-for", time]].concat())
}

fn nonce(request: &ReceivedRequest) -> String {
    request.verify("http", &public_key()).unwrap().nonce().unwrap().unwrap().to_owned()
}

#[test]
fn what_passes_is_tried_until_it_has_passed_each_time_signed_anew() {
    let routes = json!({ "routes": [] });
    let mut failures = [lost, http_503, away].into_iter();
    let gateway = Gateway::start(move |_| match failures.next() {
        Some(failure) => failure(),
        None => Reply::result(routes.clone()),
    });
    let ended = run(&gateway, &["routes", "list"], "20s");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
    let mut nonces: Vec<String> = gateway.received().iter().map(nonce).collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!((gateway.received().len(), nonces.len()), (4, 4));
}

#[test]
fn a_route_is_created_under_one_id_however_often_it_is_asked_for() {
    let gateway = flaky(vec![lost, lost]);
    assert_eq!(run(&gateway, CREATE, "20s").code, 6);
    let [first, second, third] = gateway.received().try_into().unwrap();
    assert_eq!((&first.body, &second.body), (&second.body, &third.body));
    assert!(first.json()["params"]["id"].is_string());
}

#[test]
fn a_deletion_that_may_have_been_done_is_not_repeated() {
    for failure in [lost as fn() -> Reply, http_503, away] {
        let gateway = flaky(vec![failure]);
        let ended = run(&gateway, DELETE, "20s");
        assert_eq!((ended.code, gateway.received().len()), (3, 1), "{}", ended.stderr);
    }
    let gateway = flaky(vec![lost]);
    let ended = run(&gateway, DELETE, "20s");
    assert!(ended.stderr.contains("was lost before the answer"), "{}", ended.stderr);
    assert!(ended.stderr.contains("gwctl routes list"), "{}", ended.stderr);
    // What was refused for its rate was not done.
    let gateway = flaky(vec![limited]);
    assert_eq!((run(&gateway, DELETE, "20s").code, gateway.received().len()), (6, 2));
}

#[test]
fn what_is_wrong_is_said_at_once() {
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
fn a_gateway_that_asks_for_a_pause_gets_it_or_is_left_alone() {
    let gateway = flaky(vec![limited]);
    let began = Instant::now();
    assert_eq!(run(&gateway, &["routes", "list"], "20s").code, 6);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let an_hour = || Reply::error(200, -32050, json!({ "kind": "rate_limited", "retry_after": 3600 }));
    let gateway = flaky(vec![an_hour]);
    let ended = run(&gateway, &["routes", "list"], "20s");
    assert_eq!((ended.code, gateway.received().len()), (3, 1), "{}", ended.stderr);
}

#[test]
fn it_ends_in_time_with_one_warning_and_the_first_loss() {
    let gateway = Gateway::start(|_| Reply::Nothing);
    let ended = run(&gateway, &["routes", "get", "-r", ID], "3s");
    assert_eq!(ended.code, 3);
    let received = gateway.received().len();
    assert!((3..20).contains(&received), "{received} attempts");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines[0].starts_with("warning: ") && lines[0].ends_with(": still trying"), "{lines:?}");
    assert!(lines[1].starts_with("error: the connection to"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("warning")).count(), 1);
}

#[test]
fn a_gateway_that_comes_up_late_is_reached_even_by_a_deletion() {
    let (socket, port) = deaf_port();
    let program = Program::new();
    let url = format!("http://127.0.0.1:{port}");
    let words = [&["-v", "-u", &url, "-k", "user1.priv", "--retry-for", "60s"], DELETE].concat();
    let mut child =
        program.command(&words, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("once more in") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
    }
    socket.listen(16).unwrap();
    let gateway = Gateway::listening(socket.into(), None, |_| Reply::result(json!({})));
    stderr.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert_eq!(gateway.received().len(), 1);
    let body: Value = gateway.received()[0].json();
    assert_eq!(body["method"], "routes.delete");
}
