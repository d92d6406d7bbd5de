//! Logs that cannot be written, as the reader is gone or stalled or the disk is full: everything else goes on.

use std::fs::File;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::libc::O_NONBLOCK;
use nix::sys::signal::Signal;
use webgateway_tests::backend::Backend;
use webgateway_tests::controlplane::{Controlplane, ControlplaneConfig};
use webgateway_tests::gateway::Gateway;
use webgateway_tests::gwctl::User;
use webgateway_tests::netns::overlay;
use webgateway_tests::process;
use webgateway_tests::sandbox::Sandbox;
use webgateway_tests::scenarios;

use crate::setup::full::FullSetup;

scenarios![
    a_log_without_a_reader_does_not_stop_the_processes,
    a_stalled_log_reader_delays_nothing,
    a_full_disk_does_not_stop_the_processes,
    a_closed_stderr_does_not_stop_the_processes,
    a_log_that_never_had_a_reader_does_not_stop_the_processes,
    lines_for_the_journal_begin_with_their_priority,
    an_inherited_journal_stream_changes_no_line,
    gwctl_succeeds_if_its_reader_is_gone,
];

const HOST: &str = "app.gw.example";
/// Enough requests to fill a pipe: each logs several lines at the level `debug`.
const REQUESTS: usize = 400;

async fn a_log_without_a_reader_does_not_stop_the_processes(sandbox: &Sandbox) -> Result<()> {
    let logs = Logs::new(sandbox);
    let readers = logs.pipes()?;
    let setup = start(sandbox).await?;
    drop(readers);
    expect_normal_operation(setup, true).await
}

async fn a_stalled_log_reader_delays_nothing(sandbox: &Sandbox) -> Result<()> {
    let logs = Logs::new(sandbox);
    let _readers = logs.pipes()?;
    expect_normal_operation(start(sandbox).await?, false).await
}

async fn a_full_disk_does_not_stop_the_processes(sandbox: &Sandbox) -> Result<()> {
    let logs = Logs::new(sandbox);
    logs.0.iter().try_for_each(|log| symlink("/dev/full", log))?;
    expect_normal_operation(start(sandbox).await?, true).await
}

/// Starts the processes with stderr closed (`2>&-`).
async fn a_closed_stderr_does_not_stop_the_processes(sandbox: &Sandbox) -> Result<()> {
    expect_normal_operation(start_with_shell(sandbox, ["exec 2>&-"; 2]).await?, false).await
}

async fn a_log_that_never_had_a_reader_does_not_stop_the_processes(sandbox: &Sandbox) -> Result<()> {
    let without_reader = |name| {
        let pipe = sandbox.path(name).display().to_string();
        // The shell waits for the pipe's reader, and the next line for its end.
        format!("mkfifo '{pipe}'; : <'{pipe}' &\nexec 2>'{pipe}'\nwait")
    };
    let [controlplane, gateway] = ["controlplane.pipe", "dataplane.pipe"].map(without_reader);
    expect_normal_operation(start_with_shell(sandbox, [&controlplane, &gateway]).await?, true).await
}

async fn lines_for_the_journal_begin_with_their_priority(sandbox: &Sandbox) -> Result<()> {
    expect_priorities(sandbox, "/proc/self/fd/2", true).await
}

async fn an_inherited_journal_stream_changes_no_line(sandbox: &Sandbox) -> Result<()> {
    expect_priorities(sandbox, "/dev/null", false).await
}

/// Runs the processes with `JOURNAL_STREAM` set to `stream`, and fails unless their lines have priorities, or have none.
async fn expect_priorities(sandbox: &Sandbox, stream: &str, is_journal: bool) -> Result<()> {
    let shell = format!("export JOURNAL_STREAM=$(stat -Lc %d:%i {stream})");
    expect_normal_operation(start_with_shell(sandbox, [&shell; 2]).await?, false).await?;
    for log in Logs::new(sandbox).0 {
        let text = std::fs::read_to_string(&log)?;
        let priority = |line: &str| match line.as_bytes() {
            [b'<', level @ b'0'..=b'7', b'>', ..] => Some(*level),
            _ => None,
        };
        for (level, word) in [(b'4', " WARN "), (b'6', " INFO "), (b'7', " DEBUG ")] {
            let of_level = || text.lines().filter(|line| line.contains(word));
            ensure!(level != b'6' || of_level().next().is_some(), "{log:?} has no line with{word}");
            let wrong = of_level().find(|line| priority(line) != is_journal.then_some(level));
            ensure!(wrong.is_none(), "{wrong:?}");
        }
    }
    Ok(())
}

/// Runs `gwctl … | head -0` with more output than a pipe holds.
async fn gwctl_succeeds_if_its_reader_is_gone(sandbox: &Sandbox) -> Result<()> {
    let setup = FullSetup::start(sandbox).await?;
    let gwctl = process::find("gwctl")?;
    for args in [&["routes", "list"][..], &["--help"], &["routes", "list", "-o", "json"], &["audit", "log"]] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = Command::new(&gwctl);
        command.args(args).envs(setup.alice.env()?).stdin(Stdio::null());
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn()?;
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(!said.contains("panicked"), "{args:?}: {said}");
        ensure!(ended.status.code().is_some_and(|code| code != 101), "{args:?}: {}", ended.status);
    }
    Ok(())
}

/// The log paths of the two processes, which the scenario creates before they start.
struct Logs([PathBuf; 2]);

impl Logs {
    fn new(sandbox: &Sandbox) -> Self {
        Self(["controlplane.log", "dataplane.log"].map(|name| sandbox.path(name)))
    }

    /// Makes each log a named pipe; returns their readers.
    fn pipes(&self) -> Result<Vec<File>> {
        let make = |log| -> Result<File> {
            ensure!(Command::new("mkfifo").arg(log).status()?.success(), "mkfifo");
            Ok(File::options().read(true).custom_flags(O_NONBLOCK).open(log)?)
        };
        self.0.iter().map(make).collect()
    }
}

async fn start(sandbox: &Sandbox) -> Result<FullSetup> {
    start_with_shell(sandbox, ["true"; 2]).await
}

/// Starts the controlplane and the gateway, each with lines of shell before it.
async fn start_with_shell(sandbox: &Sandbox, [controlplane, gateway]: [&str; 2]) -> Result<FullSetup> {
    let controlplane_config =
        ControlplaneConfig { shell: Some(controlplane.to_owned()), ..ControlplaneConfig::default() };
    let controlplane = Controlplane::start_on(sandbox, &controlplane_config).await?;
    let config = controlplane.gateway_config().await?.top("access_log = true").shell(gateway);
    let gateway = Gateway::start(sandbox, &config).await?;
    let admin = User::create(&controlplane, sandbox.dir(), "admin").await?;
    let alice = User::create(&controlplane, sandbox.dir(), "alice").await?;
    Ok(FullSetup { controlplane, gateway, admin, alice })
}

/// Fails unless changes, the feed, requests, readiness and shutdown work as usual.
async fn expect_normal_operation(mut setup: FullSetup, lost: bool) -> Result<()> {
    let _backend = Backend::http(overlay(1, 8080)).await?;
    setup.alice.create_route(&format!("-f {HOST} -b [400::1]:8080")).await?;
    setup.wait_for_status(HOST, 200).await?;
    let mut connection = setup.client()?.connect(HOST).await?;
    for _ in 0..REQUESTS {
        connection.get(HOST, "/").await?.expect(200)?;
    }
    let second = "second.gw.example";
    setup.alice.create_route(&format!("-f {second} -b [400::1]:8080")).await?;
    setup.wait_for_status(second, 200).await?;
    setup.gateway.ready().await?;
    let metrics = setup.gateway.metrics().await?;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("webgateway_log_lines_dropped_total "));
    let dropped: u64 = dropped.context("no metric of lost lines")?.parse()?;
    ensure!(!lost || dropped > 0, "lost lines are not counted");
    for process in [setup.gateway.process(), setup.controlplane.process()] {
        process.signal(Signal::SIGTERM)?;
        let status = process.end(Duration::from_secs(10)).await?;
        ensure!(status.code() == Some(0), "{status}");
    }
    Ok(())
}
