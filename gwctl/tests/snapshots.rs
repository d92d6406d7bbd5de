//! Snapshots of all help pages and common error messages, in the folder `snapshots/`.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::gateway::{Gateway, Reply};
use crate::network::closed_port;
use crate::program::{Program, RunOutput};

/// Compares a text with its snapshot, or writes the snapshot if UPDATE is set.
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        return fs::write(&path, text).unwrap();
    }
    let snapshot = fs::read_to_string(&path).unwrap_or_default();
    let end = Some("<the end>");
    let lines = || snapshot.lines().map(Some).chain([end]).zip(text.lines().map(Some).chain([end]));
    let differs = lines().position(|(old, new)| old != new);
    let differing = differs.and_then(|at| Some((at + 1, lines().nth(at)?)));
    assert!(
        differing.is_none(),
        "{} differs, first in (line, (old, new)): {:?}\nTo update it: UPDATE=1 cargo test --workspace --test gwctl snapshots",
        path.display(),
        differing.unwrap()
    );
}

/// Runs gwctl without environment variables, because clap's help shows their values.
fn run(program: &Program, words: &[&str]) -> RunOutput {
    let mut command = program.command(words, &[("COLUMNS", "100")]);
    command.env_remove("WEBGATEWAY_RETRY_FOR").output().unwrap().into()
}

/// Removes the flags of route options from a help page, because `docs/route-options.md` contains them.
fn without_route_options(help: &str) -> String {
    let mut in_options = false;
    let lines = help.split_inclusive('\n').filter(|line| {
        if !line.starts_with(' ') && line.trim_end() != "" {
            in_options = line.trim_end() == "Route options:";
        }
        !in_options
    });
    lines.collect()
}

/// Returns the names of the commands in a help page.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let entries = listed.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names = entries.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn help_pages() {
    let program = Program::new();
    let mut pages: Vec<Vec<String>> = vec![vec![]];
    let mut text = String::new();
    while let Some(page) = pages.pop() {
        let words: Vec<&str> = page.iter().map(String::as_str).chain(["--help"]).collect();
        let output = run(&program, &words);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{words:?}");
        writeln!(text, "$ gwctl {}\n{}", words.join(" "), without_route_options(&output.stdout)).unwrap();
        pages.extend(
            commands(&output.stdout).into_iter().rev().map(|name| [page.clone(), vec![name]].concat()),
        );
    }
    assert!(text.matches("$ gwctl ").count() > 25, "{text}");
    check("help.txt", &text);
}

/// Tests the messages for typical mistakes of new users.
#[test]
fn mistakes_on_the_command_line() {
    let program = Program::new();
    program.write("text.priv", "hello", 0o600);
    program.write("open", "x", 0o600);
    let mut text = String::new();
    for line in [
        "routes list",
        "-k user2.priv routes list",
        "-k text.priv routes list",
        "-k user1.priv -i ../user1.pub routes list",
        "-k open routes list",
        "-k user1.priv -u gateway.example.com routes list",
        "-k user1.priv -u ftp://gateway.example.com routes list",
        "--profile work routes list",
        "routes",
        "routes lst",
        "routes list --lmit 3",
        "routes create -s a",
        "routes create -b [400::1]:80",
        "routes create -s a -f a.example.org -b [400::1]:80",
        "routes create -s a -b [400::1]",
        "routes create -s a -b self",
        "routes create -s a -b example.org:80",
        "routes create -s a.b -b [400::1]:80",
        "routes create -f *.example.org -b [400::1]:80",
        "routes create -s a -b [400::1]:80 -t",
        "routes create -s a -b [400::1]:80 -m fastest",
        "routes create -s a -b [400::1]:80 --wait soon",
        "routes get -r 42",
        "routes update -r 01999999-9999-7999-8999-999999999999",
        "certificates get -c *.example.org",
        "admin suspend --user a/b",
        "nodes invite Fra --ttl 1y",
        "keys generate user1.pub",
        "keys generate user1",
        "audit verify --file absent.jsonl",
        "import absent.json",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let output = run(&program, &words);
        let stderr = output.stderr.replace(program.directory().to_str().unwrap(), "~");
        writeln!(text, "$ gwctl {line}\n{stderr}[{}]\n", output.code).unwrap();
    }
    check("mistakes.txt", &text);
}

type ReplyFn = Box<dyn Fn() -> Reply + Send>;

/// Tests the messages for errors of the gateway and for other servers.
#[test]
fn failures_of_calls() {
    let error =
        |status, code, kind: &'static str| move || Reply::error(status, code, json!({ "kind": kind }));
    let http = |status| move || Reply::Http(status, "text/html", vec![], String::new());
    let cases: Vec<(&str, ReplyFn)> = vec![
        ("unauthenticated", Box::new(error(401, -32001, "signature_invalid"))),
        ("forbidden", Box::new(error(200, -32003, "admin_only"))),
        ("not found", Box::new(error(200, -32004, "route_not_found"))),
        ("conflict", Box::new(error(200, -32009, "host_taken"))),
        ("invalid params", Box::new(error(200, -32602, "backend_not_allowed"))),
        ("unavailable", Box::new(error(503, -32050, "unavailable"))),
        ("internal", Box::new(error(200, -32603, "internal"))),
        ("HTTP 404", Box::new(http(404))),
        ("HTTP 413", Box::new(http(413))),
        ("HTTP 429", Box::new(http(429))),
        ("HTTP 503", Box::new(http(503))),
        ("connection lost", Box::new(|| Reply::Nothing)),
        ("not HTTP", Box::new(|| Reply::Raw(b"SSH-2.0-OpenSSH_9.6\r\n"))),
        ("unexpected result", Box::new(|| Reply::result(json!({ "routes": 7 })))),
    ];
    let program = Program::new();
    let (_socket, closed) = closed_port();
    let mut text = String::new();
    let mut add = |name: &str, port: u16| {
        let output = program.call(&format!("http://127.0.0.1:{port}/rpc"), &["routes", "list"]);
        let stderr = output.stderr.replace(&port.to_string(), "PORT");
        writeln!(text, "# {name}\n{stderr}[{}]\n", output.code).unwrap();
    };
    add("connection refused", closed);
    for (name, reply) in cases {
        add(name, Gateway::start(move |_| reply()).port);
    }
    check("failures.txt", &text);
}
