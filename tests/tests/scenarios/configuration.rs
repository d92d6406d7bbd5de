//! Configuration files: the examples are valid, and errors name the wrong key.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use webgateway_tests::controlplane::Controlplane;
use webgateway_tests::process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

scenarios![
    the_examples_are_valid,
    versions_and_help_are_printed,
    the_reference_has_every_key,
    unknown_keys_are_named,
    flags_override_variables_which_override_the_file,
    a_corrupt_database_is_not_touched,
    a_database_of_a_newer_build_is_not_touched,
    a_missing_directory_is_reported,
    a_second_controlplane_is_refused,
    a_check_names_what_the_machine_lacks,
];

const PROGRAMS: [(&str, &str); 2] =
    [("webgateway-controlplane", "controlplane.toml"), ("webgateway-dataplane", "dataplane.toml")];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

async fn check(program: &str, config: &Path, env: &[(&str, &str)]) -> Result<process::Output> {
    let args = ["--config".to_owned(), config.display().to_string(), "--check".to_owned()];
    process::run(program, &args, env).await
}

async fn the_examples_are_valid(_: &Sandbox) -> Result<()> {
    for (program, file) in PROGRAMS {
        let checked = check(program, &deploy().join(file), &[]).await?;
        ensure!(is_valid(&checked), "{file}: {checked:?}");
    }
    Ok(())
}

/// Returns whether a check has found no problem but missing directories.
pub(crate) fn is_valid(checked: &process::Output) -> bool {
    let is_missing = |line: &str| {
        line.ends_with("does not exist")
            || line.contains("the configuration is valid, but the process could not run")
    };
    checked.code == Some(0) || checked.code == Some(1) && checked.stderr.lines().all(is_missing)
}

/// Breaks one thing after the other; a check names it by its key, and changes nothing.
async fn a_check_names_what_the_machine_lacks(sandbox: &Sandbox) -> Result<()> {
    let dir = sandbox.dir().display().to_string();
    let keys = sandbox.path("keys");
    std::fs::create_dir(&keys)?;
    std::fs::create_dir(sandbox.path("data"))?;
    let good = format!(
        "base_domain = \"gw.example\"\n[services_storage]\ndb_path = \"{dir}/data/c.db\"\n[pub_key_store]\npath = \
         \"{dir}/keys\"\n[feed]\nlisten = [\"unix:{dir}/data/feed.sock\"]\n"
    );
    let config = sandbox.write("good.toml", &good)?;
    let program = "webgateway-controlplane";
    let unadministered = check(program, &config, &[]).await?;
    ensure!(
        unadministered.code == Some(1) && unadministered.stderr.contains("`admin_id`: "),
        "{unadministered:?}"
    );
    sandbox.write("keys/admin.pub", "no key")?;
    let unusable = check(program, &config, &[]).await?;
    ensure!(
        unusable.code == Some(1) && unusable.stderr.contains("`admin.pub` cannot be used"),
        "{unusable:?}"
    );
    let arguments = ["keys", "generate", &format!("{dir}/admin")].map(str::to_owned);
    ensure!(process::run("gwctl", &arguments, &[]).await?.code == Some(0));
    std::fs::copy(sandbox.path("admin.pub"), keys.join("admin.pub"))?;
    let fine = check(program, &config, &[]).await?;
    ensure!(fine.code == Some(0) && fine.stdout == "the configuration is valid\n", "{fine:?}");
    for (from, to, problems) in [
        ("data/c.db", "none/c.db", &["`services_storage.db_path`: ", "`secret_key_file`: "][..]),
        ("/keys", "/none", &["`pub_key_store.path`: "]),
        ("data/feed.sock", "none/feed.sock", &["`feed.listen`: "]),
        ("data/c.db", "keys/admin.pub/c.db", &["`services_storage.db_path`: "]),
    ] {
        let config = sandbox.write("bad.toml", &good.replace(from, to))?;
        let checked = check(program, &config, &[]).await?;
        let names_all = problems.iter().all(|problem| checked.stderr.contains(problem));
        ensure!(checked.code == Some(1) && names_all, "{to}: {checked:?}");
    }
    let program = "webgateway-dataplane";
    for (key, value, problem) in [
        ("cache_dir", format!("{dir}/keys/admin.pub/cache"), "`cache_dir`: "),
        ("state_dir", format!("{dir}/keys/admin.pub"), "`state_dir`: "),
        ("feed.endpoint", format!("file:{dir}/none.json"), "`feed.endpoint`: "),
        ("cache_dir", format!("{dir}/new/cache"), ""),
    ] {
        let config = sandbox.write("dataplane.toml", &format!("state_dir = \"{dir}/new/state\"\n"))?;
        let flag = format!("--{}", key.replace(['.', '_'], "-"));
        let args = ["--config", &config.display().to_string(), "--check", &flag, &value].map(str::to_owned);
        let checked = process::run(program, &args, &[]).await?;
        let is_named = checked.code == Some(1) && checked.stderr.contains(problem);
        ensure!(if problem.is_empty() { checked.code == Some(0) } else { is_named }, "{value}: {checked:?}");
    }
    ensure!(
        !sandbox.path("new").exists() && !sandbox.path("data/c.db").exists(),
        "a check changed something"
    );
    Ok(())
}

async fn versions_and_help_are_printed(_: &Sandbox) -> Result<()> {
    for (program, _) in PROGRAMS {
        let version = process::run(program, &["--version".to_owned()], &[]).await?;
        ensure!(version.code == Some(0) && version.stdout.contains(program), "{version:?}");
        let help = process::run(program, &["--help".to_owned()], &[]).await?;
        ensure!(
            help.code == Some(0) && help.stdout.contains("--config") && help.stdout.contains("--check"),
            "{help:?}"
        );
    }
    Ok(())
}

async fn the_reference_has_every_key(_: &Sandbox) -> Result<()> {
    let reference = std::fs::read_to_string(deploy().join("../docs/configuration.md"))?;
    for (program, _) in PROGRAMS {
        let help = process::run(program, &["--help".to_owned()], &[]).await?.stdout;
        let keys = help.split_once("Keys:").map(|(_, keys)| keys.to_lowercase()).unwrap_or_default();
        let entries = keys.split("\n      --").skip(1).filter(|entry| !entry.contains("not in this build"));
        let missing: Vec<_> = entries
            .filter_map(|entry| entry.split_whitespace().next())
            .filter(|flag| !reference.contains(&format!("`--{flag}`")))
            .collect();
        ensure!(!keys.is_empty() && missing.is_empty(), "{program}: {missing:?}");
    }
    Ok(())
}

async fn unknown_keys_are_named(sandbox: &Sandbox) -> Result<()> {
    let [controlplane, dataplane] = PROGRAMS.map(|(program, _)| program);
    let base = "base_domain = \"gw.example\"\n[certificates]\nmodule = \"internal\"\n";
    let cases = [
        (controlplane, "base_domian = \"x.example\"".to_owned(), "base_domain"),
        (controlplane, "[certificates]\nmodule = \"internal\"".to_owned(), "base_domain"),
        (controlplane, "base_domain = \"a..b\"".to_owned(), "base_domain"),
        (controlplane, format!("allowed_backends = [\"400::/700\"]\n{base}"), "allowed_backends"),
        (controlplane, format!("public_ip = \"everywhere\"\n{base}"), "public_ip"),
        (controlplane, format!("load_delay = \"soon\"\n{base}"), "load_delay"),
        (controlplane, format!("{base}[rpc]\nlisten = \"8080\""), "rpc.listen"),
        (controlplane, format!("{base}[services_storage]\nmodule = \"postgres\""), "services_storage"),
        (controlplane, "base_domain = ".to_owned(), "controlplane.toml"),
        (dataplane, "https_port = 70000".to_owned(), "https_port"),
        (dataplane, "https_prot = 443".to_owned(), "https_port"),
        (dataplane, "listen = [\"nowhere\"]".to_owned(), "listen"),
        (dataplane, "workers = 0".to_owned(), "workers"),
        (dataplane, "[limits]\ndrain = \"soon\"".to_owned(), "drain"),
        (dataplane, "[feed]\nendpoint = \"carrier pigeon\"".to_owned(), "feed.endpoint"),
    ];
    for (program, toml, word) in cases {
        let name = program.trim_start_matches("webgateway-");
        let config = sandbox.write(&format!("{name}.toml"), &toml)?;
        let refused = check(program, &config, &[]).await?;
        ensure!(refused.code.is_some_and(|code| code != 0), "{toml:?}: {refused:?}");
        ensure!(refused.stderr.contains(word), "{toml:?} should name {word}: {refused:?}");
    }
    for (program, _) in PROGRAMS {
        let absent = check(program, Path::new("/nonexistent.toml"), &[]).await?;
        ensure!(absent.code != Some(0) && absent.stderr.contains("/nonexistent.toml"), "{absent:?}");
        let flag = process::run(program, &["--colour".to_owned()], &[]).await?;
        ensure!(flag.code.is_some_and(|code| code != 0) && flag.stderr.contains("--colour"), "{flag:?}");
    }
    Ok(())
}

async fn flags_override_variables_which_override_the_file(sandbox: &Sandbox) -> Result<()> {
    let program = "webgateway-dataplane";
    let bad_file = sandbox.write("dataplane.toml", "https_port = 70000")?;
    let good_file = sandbox.write("good.toml", "https_port = 1")?;
    let variable = [("WEBGATEWAY_HTTPS_PORT", "70001")];
    let by_variable = check(program, &good_file, &variable).await?;
    ensure!(by_variable.code != Some(0), "the variable counts: {by_variable:?}");
    let args =
        ["--config", &bad_file.display().to_string(), "--check", "--https-port", "2"].map(str::to_owned);
    let by_flag = process::run(program, &args, &variable).await?;
    ensure!(by_flag.code == Some(0), "the flag beats both: {by_flag:?}");
    Ok(())
}

/// Starts a controlplane that must exit with an error, and returns its log.
async fn start_refused(sandbox: &Sandbox) -> Result<String> {
    let mut controlplane = Controlplane::start_unready(sandbox, "")?;
    let status = controlplane.process().end(std::time::Duration::from_secs(15)).await?;
    let log = controlplane.process().log()?;
    ensure!(status.code().is_some_and(|code| code != 0), "{status}: {log}");
    Ok(log)
}

async fn a_corrupt_database_is_not_touched(sandbox: &Sandbox) -> Result<()> {
    for content in
        ["this is no database at all, but a text of some length", "SQLite format 3\0 and then nothing good"]
    {
        let database = sandbox.path("controlplane").join("gateway.db");
        std::fs::create_dir_all(sandbox.path("controlplane"))?;
        std::fs::write(&database, content.repeat(100))?;
        let log = start_refused(sandbox).await?;
        ensure!(log.contains("gateway.db"), "it names the file: {log}");
        ensure!(std::fs::read_to_string(&database)? == content.repeat(100), "it must not be rewritten");
    }
    Ok(())
}

async fn a_database_of_a_newer_build_is_not_touched(sandbox: &Sandbox) -> Result<()> {
    let mut controlplane = Controlplane::start(sandbox).await?;
    controlplane.process().signal(nix::sys::signal::Signal::SIGTERM)?;
    controlplane.process().end(std::time::Duration::from_secs(10)).await?;
    let newer = "INSERT INTO __diesel_schema_migrations(version) VALUES ('99990101000000');";
    let changed = std::process::Command::new("sqlite3").arg(controlplane.database()).arg(newer).status();
    if !changed.is_ok_and(|status| status.success()) {
        // The machine may lack sqlite3; unit tests of the store cover this case too.
        return Ok(());
    }
    let log = start_refused(sandbox).await?;
    ensure!(log.contains("newer"), "{log}");
    Ok(())
}

async fn a_missing_directory_is_reported(sandbox: &Sandbox) -> Result<()> {
    let feed = format!("unix:{}", sandbox.path("feed.sock").display());
    for (key, value) in [("db_path", feed.as_str()), ("feed", "unix:/nonexistent/feed.sock")] {
        let database = if key == "feed" {
            sandbox.path("g.db").display().to_string()
        } else {
            "/nonexistent/g.db".into()
        };
        let config = format!(
            "base_domain = \"gw.example\"\n[services_storage]\ndb_path = \"{database}\"\n\
             [feed]\nlisten = \"{value}\"\n[certificates]\nmodule = \"internal\"\n"
        );
        let config = sandbox.write("controlplane.toml", &config)?;
        let args = ["--config".to_owned(), config.display().to_string()];
        let refused = process::run("webgateway-controlplane", &args, &[]).await?;
        ensure!(refused.code.is_some_and(|code| code != 0), "{refused:?}");
        ensure!(refused.stderr.contains("/nonexistent") && refused.stderr.contains(key), "{refused:?}");
    }
    Ok(())
}

async fn a_second_controlplane_is_refused(sandbox: &Sandbox) -> Result<()> {
    let mut first = Controlplane::start(sandbox).await?;
    let log = start_refused(sandbox).await?;
    ensure!(log.contains("8080") || log.contains("gateway.db") || log.contains("feed.sock"), "{log}");
    first.process().ensure_running()?;
    webgateway_tests::client::Connection::plain(first.rpc()?)
        .await?
        .get("127.0.0.1:8080", "/openrpc.json")
        .await?
        .expect(200)?;
    Ok(())
}
