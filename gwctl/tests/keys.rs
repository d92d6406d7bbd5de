//! Tests of key files: generation and use.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use webgateway_proto::httpsig::{PrivateKey, PublicKey};

use crate::gateway::Gateway;
use crate::program::{Program, public_key};

#[test]
fn a_pair_is_generated_with_instructions() {
    let program = Program::new();
    let output = program.run(&["keys", "generate", "user2"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert!(output.stdout.contains("-i user2.pub -k user2.priv"), "{}", output.stdout);
    let read = |name: &str| fs::read_to_string(program.directory().join(name)).unwrap();
    let (private, public) = (read("user2.priv"), read("user2.pub"));
    assert!(
        private.starts_with("-----BEGIN PRIVATE KEY-----")
            && public.starts_with("-----BEGIN PUBLIC KEY-----")
    );
    assert_eq!(PrivateKey::parse(&private).unwrap().public(), PublicKey::parse(&public).unwrap());
    let mode = fs::metadata(program.directory().join("user2.priv")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let output = program.run(&["keys", "generate", "user3", "-o", "json"]);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report, json!({ "id": "user3.pub", "private": "user3.priv", "public": "user3.pub" }));
    assert_ne!(read("user3.priv"), private);
}

#[test]
fn existing_files_are_kept_and_no_half_pair_is_left() {
    let program = Program::new();
    program.write("a.pub", "mine", 0o644);
    program.write("b.priv", "mine", 0o600);
    for (name, existing, other) in [("a", "a.pub", "a.priv"), ("b", "b.priv", "b.pub")] {
        let output = program.run(&["keys", "generate", name]);
        assert_eq!(output.code, 7);
        assert!(output.stderr.contains(&format!("NAME: {existing} already exists")), "{}", output.stderr);
        assert_eq!(fs::read_to_string(program.directory().join(existing)).unwrap(), "mine");
        assert!(!program.directory().join(other).exists());
    }
    let output = program.run(&["keys", "generate", "nowhere/user"]);
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("nowhere/user.priv cannot be written"), "{}", output.stderr);
}

#[test]
fn a_generated_key_signs_requests() {
    let program = Program::new();
    program.run(&["keys", "generate", "user2"]);
    let gateway = Gateway::with_result(json!({ "routes": [] }));
    let output = program.run(&["-u", &gateway.url(), "-k", "user2.priv", "routes", "list"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let public = fs::read_to_string(program.directory().join("user2.pub")).unwrap();
    let signed = gateway.received()[0].verify("http", &PublicKey::parse(&public).unwrap()).unwrap();
    assert_eq!(signed.key_id().as_str(), "user2.pub");
    assert!(gateway.received()[0].verify("http", &public_key()).is_err());
}

#[test]
fn a_key_file_accessible_to_others_is_a_warning() {
    let program = Program::new();
    let key = fs::read_to_string(program.directory().join("user1.priv")).unwrap();
    program.write("open.priv", &key, 0o640);
    let gateway = Gateway::with_result(json!({ "routes": [] }));
    let output = program.run(&["-u", &gateway.url(), "-k", "open.priv", "routes", "list"]);
    assert_eq!(output.code, 0);
    let warning =
        "warning: -k/--key: other users can access open.priv (mode 0640): run chmod 600 open.priv\n";
    assert_eq!(output.stderr, warning);
    let output = program.run(&["-u", &gateway.url(), "-k", "open.priv", "-o", "json", "routes", "list"]);
    let warning: Value = serde_json::from_str(&output.stderr).unwrap();
    assert!(warning["warning"].as_str().unwrap().contains("0640"));
}

#[test]
fn a_file_without_a_private_key_is_an_error_before_anything_is_sent() {
    let program = Program::new();
    program.write("public.priv", &public_key().to_pem(), 0o600);
    program.write("empty.priv", "", 0o600);
    program.write("text.priv", "hello", 0o600);
    program.write("huge.priv", &"x".repeat(70_000), 0o600);
    fs::write(program.directory().join("binary.priv"), [0xff; 64]).unwrap();
    let gateway = Gateway::with_result(json!({ "routes": [] }));
    for (file, cause) in [
        ("absent.priv", "the key file absent.priv does not exist"),
        ("public.priv", "this is a public key where a private key is needed"),
        ("empty.priv", "the key is empty"),
        ("text.priv", "not a key"),
        ("huge.priv", "larger than 64 KiB"),
        ("binary.priv", "binary.priv: not text, and not a key in DER"),
        (".", "cannot be read"),
    ] {
        let output = program.run(&["-u", &gateway.url(), "-i", "u.pub", "-k", file, "routes", "list"]);
        assert_eq!(output.code, 2, "{file}: {}", output.stderr);
        assert!(output.stderr.starts_with("error: -k/--key: "), "{file}: {}", output.stderr);
        assert!(output.stderr.contains(cause), "{file}: {}", output.stderr);
        assert!(output.stderr.contains("\n  hint: "), "{file}: {}", output.stderr);
    }
    assert!(gateway.received().is_empty());
}
