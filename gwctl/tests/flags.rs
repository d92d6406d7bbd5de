//! Invalid flags: the error names the flag, the exit code is 2, and no request is sent.

use serde_json::json;

use crate::gateway::Gateway;
use crate::program::Program;

const ID: &str = "01999999-9999-7999-8999-999999999999";

#[test]
fn an_invalid_flag_is_named_and_nothing_is_sent() {
    let program = Program::new();
    let gateway = Gateway::with_result(json!({}));
    let long = format!("{}.{}.{}.{}.org", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(58));
    let create = |more: &[&'static str]| [&["routes", "create"], more].concat();
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (create(&["-b", "[400::1]:80"]), "--fqdn"),
        (create(&["-s", "a", "-f", "a.b", "-b", "[400::1]:80"]), "--subdomain"),
        (create(&["-s", "a"]), "--backend"),
        (create(&["-s", "a", "-b", "[400::1]"]), "-b/--backend: `[400::1]` has no port"),
        (create(&["-s", "a", "-b", "[400::1]:0"]), "-b/--backend: `[400::1]:0` has port 0"),
        (create(&["-s", "a", "-b", "example.org:80"]), "-b/--backend"),
        (create(&["-s", "a..b", "-b", "[400::1]:80"]), "-s/--subdomain"),
        (create(&["-s", "", "-b", "[400::1]:80"]), "-s/--subdomain"),
        (create(&["-f", "*.x", "-b", "[400::1]:80"]), "-f/--fqdn: `*.x` is a wildcard"),
        (create(&["-f", "192.0.2.1", "-b", "[400::1]:80"]), "-f/--fqdn: `192.0.2.1` is an IP address"),
        ([create(&["-b", "[400::1]:80", "-f"]), vec![&long]].concat(), "-f/--fqdn: the host has 254 bytes"),
        (create(&["-s", "a", "-b", "[400::1]:80", "-m", "fastest"]), "--method"),
        (create(&["-s", "a", "-b", "[400::1]:80", "-t"]), "-t/--tls-pass"),
        (vec!["routes", "update", "-r", ID], "nothing to change"),
        (vec!["routes", "update", "-r", ID, "-t=maybe"], "--tls-pass"),
        (vec!["routes", "update", "-t"], "<ROUTE>"),
        (vec!["routes", "get", "-r", "42"], "ROUTE: `42` is not a route id"),
        (vec!["routes", "delete"], "--route"),
        (
            vec!["certificates", "get", "-c", "*.example.org"],
            "-c/--certificate: `*.example.org` is a wildcard",
        ),
        (vec!["certificates", "renew"], "--certificate"),
        (vec!["admin", "suspend", "--user", "../admin.pub"], "USER"),
        (vec!["admin", "unsuspend"], "USER"),
        (vec!["routes", "list", "-i", "keys/user1.pub"], "-i/--id"),
        (vec!["routes", "list", "-u", "gateway.example.com"], "-u/--url"),
        (vec!["routes", "list", "-o", "xml"], "--output"),
        (vec!["routes", "list", "-w", "-n", "1"], "--limit"),
        (vec!["routes", "list", "--colour"], "--colour"),
        (vec!["routes", "lst"], "lst"),
        (vec!["keys", "generate", "user1.pub"], "NAME"),
        (vec!["keys", "generate"], "<NAME>"),
    ];
    for (words, message) in cases {
        // Variables have lower precedence than the flags of the case.
        let url = gateway.url();
        let variables = [("WEBGATEWAY_URL", url.as_str()), ("WEBGATEWAY_KEY", "user1.priv")];
        let output = program.run_with(&words, &variables);
        assert_eq!(output.code, 2, "{words:?}: {}", output.stderr);
        assert!(output.stderr.starts_with("error: "), "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains(message), "{words:?}: {message} is not in {}", output.stderr);
        assert_eq!(output.stdout, "");
    }
    assert!(gateway.received().is_empty());
}

#[test]
fn a_missing_key_error_says_how_to_generate_one() {
    let output = Program::new().run(&["routes", "list"]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.starts_with("error: -k/--key: a private key is needed"), "{}", output.stderr);
    assert!(output.stderr.contains("gwctl keys generate"), "{}", output.stderr);
    let output = Program::new().run(&["-k", "id_ed25519", "routes", "list"]);
    assert!(output.stderr.starts_with("error: -i/--id: "), "{}", output.stderr);
}

#[test]
fn help_lists_exit_codes_and_environment_variables() {
    let output = Program::new().run(&["--help"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    for text in
        ["Exit codes:", "WEBGATEWAY_URL", "WEBGATEWAY_ID", "WEBGATEWAY_KEY", "http://localhost:8080/rpc"]
    {
        assert!(output.stdout.contains(text), "{text} is not in:\n{}", output.stdout);
    }
    assert_eq!(Program::new().run(&["--version"]).stdout, concat!("gwctl ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn with_json_output_an_error_is_one_json_line() {
    let output = Program::new().run(&["-o", "json", "-k", "user1.priv", "routes", "get", "-r", "42"]);
    let error = output.error();
    assert_eq!((output.code, output.stderr.lines().count()), (2, 1));
    assert_eq!((&error["exit_code"], &error["flag"]), (&json!(2), &json!("ROUTE")));
    assert!(error["message"].as_str().unwrap().contains("`42`"));
}

#[test]
fn with_json_output_a_usage_error_is_one_json_line() {
    for words in [&["routes", "lst", "-o", "json"][..], &["-o", "yaml", "routes", "get"], &["-ojson"]] {
        let output = Program::new().run(words);
        assert_eq!((output.code, output.stderr.lines().count()), (2, 1), "{}", output.stderr);
        let error = output.error();
        assert_eq!((&error["kind"], &error["exit_code"]), (&json!("usage"), &json!(2)));
        assert!(error["message"].is_string() && error["hint"].is_string(), "{error}");
    }
    let help = Program::new().run(&["-o", "json", "--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
}
