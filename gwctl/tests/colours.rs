//! Tests that colours appear only where they are requested.

use std::fs::File;
use std::io::Read;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::program::Program;

const ESCAPE: char = '\u{1b}';

fn routes() -> Value {
    let route = |host: &str, state: &str| {
        json!({
            "id": "01999999-9999-7999-8999-999999999999", "owner": "user1.pub", "host": host, "mode": "terminate",
            "balance": "random", "backends": ["[400::1]:80"], "state": state, "version": 7,
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        })
    };
    let states = ["active", "waiting_for_certificate", "suspended"];
    json!({ "routes": states.map(|state| route("active.gw.example", state)) })
}

/// Runs `gwctl` with stdout or stderr on a terminal, and returns the output there.
fn run_on_terminal(program: &Program, words: &[&str], variables: &[(&str, &str)], is_stderr: bool) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().write(true).open(name).unwrap();
    let mut command = program.command(words, variables);
    let _ = if is_stderr { command.stderr(terminal) } else { command.stdout(terminal) }.status().unwrap();
    drop(command);
    let mut written = Vec::new();
    // A terminal ends with the error EIO after all output was read.
    let _ = File::from(master).read_to_end(&mut written);
    String::from_utf8(written).unwrap()
}

#[test]
fn a_terminal_has_colours_unless_they_are_disabled() {
    let gateway = Gateway::with_result(routes());
    let program = Program::new();
    let list = ["-u", &gateway.url(), "-k", "user1.priv", "routes", "list", "--color"];
    for (choice, no_color, term, coloured) in [
        ("auto", None, Some("xterm"), true),
        ("auto", Some(""), Some("xterm"), true),
        ("auto", Some("1"), Some("xterm"), false),
        ("auto", None, Some("dumb"), false),
        ("auto", None, None, false),
        ("always", Some("1"), Some("dumb"), true),
        ("never", None, Some("xterm"), false),
    ] {
        let mut variables = Vec::new();
        variables.extend(no_color.map(|value| ("NO_COLOR", value)));
        variables.extend(term.map(|value| ("TERM", value)));
        let failing = ["routes", "list", "--color", choice];
        for (words, is_stderr) in [([&list[..], &[choice]].concat(), false), (failing.to_vec(), true)] {
            let written = run_on_terminal(&program, &words, &variables, is_stderr);
            assert!(written.len() > 20, "{written:?}");
            assert_eq!(written.contains(ESCAPE), coloured, "{choice} {variables:?}: {written:?}");
        }
    }
}

#[test]
fn other_outputs_have_no_colours_by_default() {
    let gateway = Gateway::with_result(routes());
    let program = Program::new();
    for variables in [&[][..], &[("NO_COLOR", "1")], &[("TERM", "dumb")], &[("TERM", "xterm")]] {
        let list = ["-u", &gateway.url(), "-k", "user1.priv", "routes", "list"];
        let output = program.run_with(&list, variables);
        assert!(output.code == 0 && !output.stdout.contains(ESCAPE), "{}", output.stdout);
        for wrong in [&["routes", "list"][..], &["routes", "lst"], &["--help"]] {
            let output = program.run_with(wrong, variables);
            assert!(!output.stderr.contains(ESCAPE) && !output.stdout.contains(ESCAPE), "{}", output.stderr);
        }
    }
}

#[test]
fn states_and_errors_have_colours_with_color_always() {
    let gateway = Gateway::with_result(routes());
    let program = Program::new();
    let output = program.call(&gateway.url(), &["routes", "list", "--color", "always"]);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(!lines[0].contains(ESCAPE), "{lines:?}");
    for (line, end) in lines[1..].iter().zip([
        "\u{1b}[32mactive\u{1b}[0m",
        "\u{1b}[33mwaiting\u{1b}[0m",
        "\u{1b}[31msuspended\u{1b}[0m",
    ]) {
        assert!(line.ends_with(end) && line.matches(ESCAPE).count() == 2, "{line:?}");
    }
    let output = program.run(&["--color=always", "routes", "list"]);
    assert!(
        output.stderr.starts_with("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m -k/--key: "),
        "{:?}",
        output.stderr
    );
    assert!(output.stderr.contains("\n  \u{1b}[2mhint: "), "{:?}", output.stderr);
    assert!(program.run(&["routes", "lst", "--color", "always"]).stderr.contains(ESCAPE));
    assert!(program.run(&["--help", "--color", "always"]).stdout.contains(ESCAPE));
}

#[test]
fn json_and_yaml_never_have_colours() {
    let gateway = Gateway::with_result(routes());
    let program = Program::new();
    for format in ["json", "yaml"] {
        let output = program.call(&gateway.url(), &["routes", "list", "--color", "always", "-o", format]);
        assert!(output.code == 0 && !output.stdout.contains(ESCAPE), "{}", output.stdout);
        let output = program.run(&["routes", "list", "--color", "always", "-o", format]);
        assert!(output.code == 2 && !output.stderr.contains(ESCAPE), "{}", output.stderr);
        let output = program.run(&["routes", "lst", "--color", "always", "-o", format]);
        assert!(output.code == 2 && !output.stderr.contains(ESCAPE), "{}", output.stderr);
    }
}
