//! The precedence of sources, and the error messages.

use std::io::Write;

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    name: String,
    listen: Vec<std::net::IpAddr>,
    dns: Dns,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Dns {
    port: u16,
    on: bool,
}

const KEYS: &[Key] = &[
    Key::text("name", "A name"),
    Key::list("listen", "Addresses"),
    Key::number("dns.port", "A port"),
    Key::bool("dns.on", "A switch"),
];
const VERBS: &[Verb] = &[Verb { name: "greet", about: "Greets", argument: "WHOM", help: "Who it is" }];
const PROGRAM: Program = Program { name: "sample", about: "A sample", keys: KEYS, verbs: VERBS };

fn run(file: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Invocation<Sample>, SettingsError> {
    let mut at = tempfile::NamedTempFile::new().unwrap();
    at.write_all(file.as_bytes()).unwrap();
    let mut all: Vec<OsString> = vec!["sample".into(), "--config".into(), at.path().into()];
    all.extend(args.iter().map(OsString::from));
    let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    from_sources(&PROGRAM, all, &env)
}

fn message(file: &str, args: &[&str], env: &[(&str, &str)]) -> String {
    run(file, args, env).unwrap_err().to_string()
}

#[test]
fn a_flag_overrides_a_variable_the_file_and_the_default() {
    let file = "name = 'file'\nlisten = '::1'\n[dns]\nport = 1\n";
    let read = run(file, &["--dns-port", "3"], &[("WEBGATEWAY_DNS_PORT", "2"), ("WEBGATEWAY_NAME", "env")]);
    let settings = read.unwrap().settings;
    assert_eq!(settings.name, "env");
    assert_eq!(settings.listen, ["::1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(settings.dns, Dns { port: 3, on: false });
    let read = run(file, &["--check", "--listen", "::1, 127.0.0.1", "--dns-on", "true"], &[]).unwrap();
    assert!(read.check && read.settings.dns.on);
    assert_eq!(read.settings.listen.len(), 2);
}

#[test]
fn a_reload_updates_only_live_keys_and_reports_the_others() {
    let values = |pairs: &[(&'static str, i64)]| {
        Values(pairs.iter().map(|(key, value)| (*key, Value::Integer(*value))).collect())
    };
    let mut old = values(&[("same", 1), ("quota", 1), ("gone", 1), ("port", 1)]);
    let new = values(&[("same", 1), ("quota", 2), ("level", 1), ("port", 2)]);
    let key = |path| Key::new(path, Kind::Integer, "");
    let keys = ["same", "quota", "gone", "level"].map(|path| key(path).live());
    let keys = [&keys[..], &[key("port")]].concat();
    assert_eq!(old.update(&new, &keys), (vec!["gone", "level", "quota"], vec!["port"]));
    assert_eq!(old.update(&new, &keys), (vec![], vec!["port"]), "named until the restart");
}

#[test]
fn an_error_names_the_key_and_the_file() {
    assert!(message("nam = 'x'", &[], &[]).ends_with("the key `nam` is not known, did you mean `name`?"));
    assert!(message("[dns]\nprt = 1", &[], &[]).contains("`dns.prt` is not known, did you mean `dns.port`?"));
    assert!(message("[dnss]\nport = 1", &[], &[]).contains("`dnss` is not known, did you mean `dns."));
    assert!(message("name = ", &[], &[]).contains("TOML parse error at line 1"));
    let wrong = message("", &[], &[("WEBGATEWAY_DNS_PORT", "x")]);
    assert_eq!(wrong, "WEBGATEWAY_DNS_PORT: `x` is not a whole number");
    let wrong = message("[dns]\nport = 70000", &[], &[]);
    assert!(wrong.starts_with("`dns.port`: invalid value: integer `70000`"), "{wrong}");
    let wrong = message("listen = ['nowhere']", &[], &[]);
    assert!(wrong.starts_with("`listen`: ") && wrong.contains("such as 192.0.2.10"), "{wrong}");
    assert!(matches!(run("", &["--nme", "x"], &[]), Err(SettingsError::Usage(_))));
}

#[test]
fn a_subcommand_accepts_keys_before_and_after_it() {
    let read = run("name = 'file'", &["greet", "you", "--dns-port", "3"], &[]).unwrap();
    assert_eq!((read.verb.as_deref(), read.settings.dns.port), (Some("you"), 3));
    let read = run("name = 'file'", &["--dns-port", "4", "greet", "-"], &[]).unwrap();
    assert_eq!((read.verb.as_deref(), read.settings.dns.port), (Some("-"), 4));
    assert_eq!(read.settings.name, "file");
    assert_eq!(run("", &[], &[]).unwrap().verb, None);
    for wrong in [&["greet"][..], &["meet", "you"], &["greet", "you", "me"]] {
        assert!(matches!(run("", wrong, &[]), Err(SettingsError::Usage(_))), "{wrong:?}");
    }
    let alone: Vec<OsString> = ["sample", "greet", "you", "--name", "x"].map(Into::into).into();
    let read: Invocation<Sample> = from_sources(&PROGRAM, alone, &|_| None).unwrap();
    assert_eq!(read.settings.name, "x");
}
