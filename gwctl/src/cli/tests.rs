//! Tests of the command line's definition.

mod route_options;

use super::*;

#[test]
fn the_definition_is_consistent() {
    super::command().debug_assert();
}

#[test]
fn tls_pass_takes_an_optional_value() {
    let update = |flags: &[&str]| {
        let line = ["gwctl", "routes", "update", "-r", "x"].iter().chain(flags).copied();
        match Cli::try_parse_from(line).unwrap().command {
            Command::Routes(Routes::Update(update)) => update.tls_pass,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(update(&[]), None);
    assert_eq!(update(&["-t"]), Some(true));
    assert_eq!(update(&["-t", "-m", "random"]), Some(true));
    assert_eq!(update(&["-t=false"]), Some(false));
    assert_eq!(update(&["--tls-pass=on"]), Some(true));
    assert_eq!(update(&["--tls-pass=off"]), Some(false));
}
