//! Tests of `gwctl login` and of commands that use profiles.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::gateway::{Gateway, Reply};
use crate::program::Program;

const FILE: &str = ".config/webgateway/config.toml";

#[test]
fn after_a_login_no_flags_are_needed() {
    let (program, gateway) = (Program::new(), Gateway::with_result(json!({ "routes": [] })));
    let login = program.call(&gateway.url(), &["login"]);
    assert_eq!(login.code, 0, "{}", login.stderr);
    assert!(login.stdout.contains("profile default in"), "{}", login.stdout);
    let mode =
        |name: &str| fs::metadata(program.directory().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(FILE), mode(".config/webgateway")), (0o600, 0o700));
    let list = program.run(&["routes", "list"]);
    assert_eq!(list.code, 0, "{}", list.stderr);
    assert_eq!(gateway.received().len(), 2);
}

#[test]
fn flags_override_variables_and_variables_override_the_profile() {
    let program = Program::new();
    let gateways = [(); 3].map(|()| Gateway::with_result(json!({ "routes": [] })));
    let [first, second, third] = gateways.each_ref();
    assert_eq!(program.call(&first.url(), &["login"]).code, 0);
    assert_eq!(program.call(&second.url(), &["login", "--profile", "two"]).code, 0);
    assert_eq!(program.run(&["routes", "list"]).code, 0);
    assert_eq!(program.run_with(&["routes", "list"], &[("WEBGATEWAY_PROFILE", "two")]).code, 0);
    assert_eq!(program.run(&["routes", "list", "--profile", "two"]).code, 0);
    let variables = [("WEBGATEWAY_URL", &*third.url()), ("WEBGATEWAY_PROFILE", "two")];
    assert_eq!(program.run_with(&["routes", "list"], &variables).code, 0);
    assert_eq!(program.run_with(&["routes", "list", "-u", &first.url()], &variables).code, 0);
    assert_eq!([first, second, third].map(|gateway| gateway.received().len()), [3, 3, 1]);
}

#[test]
fn a_login_preserves_comments_and_order_of_the_file() {
    let (program, gateway) = (Program::new(), Gateway::with_result(json!({ "routes": [] })));
    let url = gateway.url();
    let key = |name: &str| program.directory().join(name).display().to_string();
    let by_hand = "\
# The work gateway is the usual one.
default = 'work' # not home

[profiles.work]
key = 'work.priv' # beside this file
url = 'https://gateway.example.com/rpc' # the public one

# At home.
[profiles.alpha]
url = \"https://home.example/rpc\"
";
    fs::create_dir_all(program.directory().join(".config/webgateway")).unwrap();
    program.write(FILE, by_hand, 0o600);
    assert_eq!(program.call(&url, &["login", "--profile", "new"]).code, 0);
    let user1 = key("user1.priv");
    let added = format!("\n[profiles.new]\nurl = \"{url}\"\nid = \"user1.pub\"\nkey = \"{user1}\"\n");
    assert_eq!(fs::read_to_string(program.directory().join(FILE)).unwrap(), format!("{by_hand}{added}"));
    fs::copy(program.directory().join("user1.priv"), program.directory().join("user2.priv")).unwrap();
    assert_eq!(program.run(&["login", "--profile", "work", "-u", &url, "-k", "user2.priv"]).code, 0);
    let changed = by_hand
        .replace("'work.priv'", &format!("\"{}\"", key("user2.priv")))
        .replace("'https://gateway.example.com/rpc'", &format!("\"{url}\""))
        .replace("# the public one\n", "# the public one\nid = \"user2.pub\"\n");
    assert_eq!(fs::read_to_string(program.directory().join(FILE)).unwrap(), format!("{changed}{added}"));
    assert_eq!(program.run(&["routes", "list"]).code, 0);
    assert_eq!(gateway.received().len(), 3);
}

#[test]
fn inline_tables_are_preserved() {
    let (program, gateway) = (Program::new(), Gateway::with_result(json!({ "routes": [] })));
    fs::create_dir_all(program.directory().join(".config/webgateway")).unwrap();
    program.write(FILE, "profiles = { a = { url = 'https://a.example/rpc' } } # few\n", 0o600);
    assert_eq!(program.call(&gateway.url(), &["login", "--profile", "b"]).code, 0);
    let text = fs::read_to_string(program.directory().join(FILE)).unwrap();
    assert!(text.starts_with("profiles = { a = { url = 'https://a.example/rpc' }"), "{text}");
    assert!(text.contains(", b = { url = "), "{text}");
    assert!(text.contains("# few\n") && text.contains("default = \"b\""), "{text}");
    assert_eq!(program.run(&["routes", "list"]).code, 0);
}

#[test]
fn a_file_that_is_too_large_is_not_changed() {
    let (program, gateway) = (Program::new(), Gateway::with_result(json!({ "routes": [] })));
    fs::create_dir_all(program.directory().join(".config/webgateway")).unwrap();
    let large = "# a comment\n".repeat(100_000);
    program.write(FILE, &large, 0o600);
    let login = program.call(&gateway.url(), &["login"]);
    assert_eq!(login.code, 2, "{}", login.stderr);
    assert!(login.stderr.contains("1 MiB"), "{}", login.stderr);
    assert_eq!(fs::read_to_string(program.directory().join(FILE)).unwrap(), large);
}

#[test]
fn another_key_does_not_get_the_profiles_id() {
    let (program, gateway) = (Program::new(), Gateway::with_result(json!({ "routes": [] })));
    assert_eq!(program.call(&gateway.url(), &["login"]).code, 0);
    fs::copy(program.directory().join("user1.priv"), program.directory().join("user2.priv")).unwrap();
    assert_eq!(program.run(&["routes", "list", "-k", "user2.priv"]).code, 0);
    let input = gateway.received()[1].headers["signature-input"].to_str().unwrap().to_owned();
    assert!(input.contains("user2.pub"), "{input}");
}

#[test]
fn a_rejected_key_is_not_saved() {
    let program = Program::new();
    let gateway = Gateway::start(|_| Reply::error(401, -32001, json!({ "kind": "k" })));
    assert_eq!(program.call(&gateway.url(), &["login"]).code, 4);
    assert!(!program.directory().join(FILE).exists());
}

#[test]
fn errors_in_profiles_are_reported() {
    let program = Program::new();
    let unknown = program.run(&["routes", "list", "--profile", "nine"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.starts_with("error: --profile: there is no profile `nine`"), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("gwctl login --profile"), "{}", unknown.stderr);
    fs::create_dir_all(program.directory().join(".config/webgateway")).unwrap();
    program.write(FILE, "[profiles.a]\nurk = 1\n", 0o600);
    let broken = program.run(&["routes", "list"]);
    assert_eq!(broken.code, 2);
    assert!(broken.stderr.contains("urk"), "{}", broken.stderr);
    assert_eq!(program.run(&["keys", "generate", "user3"]).code, 0);
}
