//! Tests of passwords for basic authentication: read from the terminal, stdin or a file, and never shown.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use webgateway_proto::model::options::PasswordHash;

use crate::program::{Program, RunOutput};

/// Runs `gwctl hash-password` on a terminal and types these lines, each after a prompt. Returns the output, and all
/// that the terminal showed.
fn type_lines(lines: &[&str]) -> (RunOutput, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    let program = Program::new();
    let mut command = program.command(&["hash-password"], &[]);
    command.stdin(terminal.try_clone().unwrap()).stderr(terminal).stdout(Stdio::piped());
    let running = command.spawn().unwrap();
    drop(command);
    let mut master = File::from(master);
    let mut shown = String::new();
    for line in lines {
        let asked = shown.matches(": ").count();
        while shown.matches(": ").count() == asked {
            let mut buffer = [0; 256];
            let read = master.read(&mut buffer).unwrap();
            shown += std::str::from_utf8(&buffer[..read]).unwrap();
        }
        writeln!(master, "{line}").unwrap();
    }
    let output = running.wait_with_output().unwrap();
    let mut rest = Vec::new();
    // A terminal ends with the error EIO after all output was read.
    let _ = master.read_to_end(&mut rest);
    (output.into(), shown + &String::from_utf8(rest).unwrap())
}

#[test]
fn a_password_is_asked_for_twice_and_not_shown() {
    let (output, shown) = type_lines(&["s3cret", "s3cret"]);
    assert_eq!(output.code, 0, "{shown}");
    assert!(PasswordHash::parse(output.stdout.trim()).is_ok(), "{}", output.stdout);
    assert!(shown.contains("Password of the user: ") && shown.contains("again: "), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let (output, shown) = type_lines(&["s3cret", "s3cretx"]);
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    assert!(shown.contains("the two passwords differ") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_password_is_read_from_stdin() {
    let program = Program::new();
    program.write("password", "s3cret\nignored\n", 0o600);
    let input = File::open(program.directory().join("password")).unwrap();
    let output: RunOutput =
        program.command(&["hash-password", "-o", "json"], &[]).stdin(input).output().unwrap().into();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let result: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert!(PasswordHash::parse(result["hash"].as_str().unwrap()).is_ok(), "{}", output.stdout);
    let empty = program.run(&["hash-password"]);
    assert_eq!(empty.code, 2);
    assert!(empty.stderr.contains("stdin has no line"), "{}", empty.stderr);
}
