//! Tests of `gwctl completions` with a real bash, and of `gwctl man`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::program::Program;

const ID: &str = "01999999-9999-7999-8999-999999999999";

fn routes() -> Value {
    json!({ "routes": [{
        "id": ID, "owner": "user1.pub", "host": "shop.gw.example", "mode": "terminate", "balance": "random",
        "backends": ["[400::1]:80"], "state": "active", "version": 7,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    }] })
}

/// Returns bash's completions of the last word.
fn complete(program: &Program, words: &[&str]) -> Vec<String> {
    let script = program.directory().join("script.bash");
    fs::write(&script, program.run(&["completions", "bash"]).stdout).unwrap();
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let line = format!(
        "source script.bash; COMP_WORDS=({}); COMP_CWORD={}; COMP_TYPE=9; _clap_complete_gwctl gwctl {} 2>&1; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len() - 1,
        quoted[words.len() - 1]
    );
    let bin = Path::new(env!("CARGO_BIN_EXE_gwctl")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let Output { stdout, .. } = Command::new("bash")
        .args(["--norc", "-c", &line])
        .env("PATH", path)
        .env("HOME", program.directory())
        .env_remove("XDG_CONFIG_HOME")
        .current_dir(program.directory())
        .output()
        .unwrap();
    String::from_utf8(stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn bash_completes_commands_flags_and_hosts() {
    let program = Program::new();
    let gateway = Gateway::with_result(routes());
    assert_eq!(complete(&program, &["gwctl", "rou"]), ["routes"]);
    assert!(complete(&program, &["gwctl", "routes", "list", "--lim"]).contains(&"--limit".to_owned()));
    let url = gateway.url();
    let given = ["gwctl", "-u", &url, "-k", "user1.priv", "routes"];
    assert_eq!(complete(&program, &[&given[..], &["get", "sh"]].concat()), ["shop.gw.example"]);
    assert_eq!(complete(&program, &[&given[..], &["explain", "sh"]].concat()), ["shop.gw.example"]);
    assert_eq!(gateway.received().len(), 2);
    // With a profile, no flags are needed.
    assert_eq!(program.call(&url, &["login"]).code, 0);
    assert_eq!(complete(&program, &["gwctl", "routes", "delete", "--route", ""]), ["shop.gw.example"]);
}

#[test]
fn errors_and_timeouts_yield_no_completions() {
    let program = Program::new();
    assert_eq!(complete(&program, &["gwctl", "routes", "get", "-r", "0199"]), [""]);
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let began = Instant::now();
    let found = complete(&program, &["gwctl", "-u", &url, "-k", "user1.priv", "routes", "get", "-r", "0199"]);
    assert_eq!(found, [""]);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn every_shell_has_a_script_and_every_command_a_manual_page() {
    let program = Program::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = program.run(&["completions", shell]);
        assert!(output.code == 0 && output.stdout.contains("_GWCTL_COMPLETE"), "{shell}: {}", output.stdout);
    }
    let output = program.run(&["man"]);
    assert!(output.code == 0 && output.stdout.contains(".TH gwctl 1"), "{}", output.stdout);
    assert_eq!(program.run(&["man", "--out", "pages/man1"]).code, 0);
    let pages = fs::read_dir(program.directory().join("pages/man1")).unwrap();
    let mut names: Vec<String> = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 25 && names.contains(&"gwctl-routes-create.1".to_owned()), "{names:?}");
    let page = fs::read_to_string(program.directory().join("pages/man1/gwctl-routes-create.1")).unwrap();
    assert!(page.contains("gwctl routes create") || page.contains("gwctl-routes-create"), "{page}");
}
