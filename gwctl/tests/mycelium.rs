//! Tests of `-b self:PORT` with a fake Mycelium daemon.

use serde_json::json;

use crate::gateway::{Gateway, Reply};
use crate::network::closed_port;
use crate::program::{Program, RunOutput};

const ID: &str = "01999999-9999-7999-8999-999999999999";

fn daemon(reply: impl Fn() -> Reply + Send + 'static) -> (Gateway, String) {
    let daemon = Gateway::start(move |_| reply());
    let url = format!("http://127.0.0.1:{}", daemon.port);
    (daemon, url)
}

fn create(gateway: &Gateway, api: &str) -> RunOutput {
    let words = ["routes", "create", "-s", "a", "-b", "self:8080", "--mycelium-api", api];
    Program::new().call(&gateway.url(), &words)
}

#[test]
fn self_becomes_the_address_from_the_daemon() {
    let info = json!({
        "nodeSubnet": "55c:a0f:1:2::/64", "nodeIp": "55c:a0f:1:2:3:4:5:6", "nodePubkey": "aa", "nodeStartTime": 7,
    });
    let (daemon, api) = daemon(move || Reply::Http(200, "application/json", vec![], info.to_string()));
    let gateway = Gateway::start(|_| Reply::error(200, -32004, json!({ "kind": "k" })));
    assert_eq!(create(&gateway, &api).code, 6);
    let update = ["routes", "update", "-r", ID, "-b", "self:80", "-b", "[400::1]:80"];
    let list = ["-u", &gateway.url(), "-k", "user1.priv"];
    Program::new().run_with(&[list.as_slice(), &update].concat(), &[("MYCELIUM_API", &format!("{api}/"))]);
    let backends: Vec<_> =
        gateway.received().iter().map(|request| request.json()["params"]["backends"].clone()).collect();
    let own = "[55c:a0f:1:2:3:4:5:6]";
    assert_eq!(backends, [json!([format!("{own}:8080")]), json!([format!("{own}:80"), "[400::1]:80"])]);
    let requests = daemon.received();
    assert!(
        requests.iter().all(|request| request.method == "GET" && request.path == "/api/v1/admin"),
        "{requests:?}"
    );
}

#[test]
fn an_older_daemon_returns_only_the_subnet() {
    let gateway = Gateway::start(|_| Reply::error(200, -32004, json!({ "kind": "k" })));
    for (subnet, exit) in [("::1/128", 6), ("55c:a0f:1:2::/64", 1)] {
        let info = json!({ "nodeSubnet": subnet, "nodePubkey": "aa" });
        let (_daemon, api) = daemon(move || Reply::Http(200, "application/json", vec![], info.to_string()));
        let output = create(&gateway, &api);
        assert_eq!(output.code, exit, "{}", output.stderr);
    }
    let [request] = gateway.received().try_into().unwrap();
    assert_eq!(request.json()["params"]["backends"], json!(["[::1]:8080"]));
}

#[test]
fn a_failed_lookup_is_reported_and_nothing_is_sent() {
    let gateway = Gateway::with_result(json!({}));
    let (_socket, port) = closed_port();
    let output = create(&gateway, &format!("http://127.0.0.1:{port}"));
    assert_eq!(output.code, 1);
    assert!(
        output.stderr.starts_with("error: -b/--backend: Mycelium's API at 127.0.0.1:"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("check that mycelium is running"), "{}", output.stderr);
    let big = || Reply::Http(200, "application/json", vec![], " ".repeat(100_000));
    let other = || Reply::Http(404, "text/html", vec![], "<h1>no</h1>".into());
    for (reply, cause) in
        [(big as fn() -> Reply, "length limit"), (other, "does not contain the node's address")]
    {
        let (_daemon, api) = daemon(reply);
        let output = create(&gateway, &api);
        assert!(output.code == 1 && output.stderr.contains(cause), "{}", output.stderr);
    }
    for url in ["https://127.0.0.1:8989", "nonsense"] {
        let output = create(&gateway, url);
        assert!(
            output.code == 2 && output.stderr.starts_with("error: --mycelium-api: "),
            "{}",
            output.stderr
        );
    }
    assert!(gateway.received().is_empty());
}
