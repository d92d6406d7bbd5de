//! `make dev`: the whole gateway on loopback, with two routes that work, until Ctrl-C.

mod demo;
mod ports;
mod state;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use webgateway_tests::process::{self, Process};

use crate::demo::Demo;
use crate::state::State;

/// The timeout of stopping a process.
const STOP: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let done = process::trampoline().and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(dev())
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nwebgateway-dev: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dev() -> Result<()> {
    let (mut once, mut acme) = (false, false);
    for flag in std::env::args().skip(1) {
        match flag.as_str() {
            "--once" => once = true,
            "--acme" => acme = true,
            other => bail!("`{other}` is not known: there are --once and --acme"),
        }
    }
    let mut interrupts = Interrupts::watch()?;
    ports::must_be_free(acme).await?;
    let state = State::open(acme)?;
    let mut demo = Demo::begin(&state).await?;
    let shown = tokio::select! {
        shown = demo.show() => shown.map(|()| true),
        () = interrupts.next() => Ok(false),
    };
    let ended = match shown {
        Ok(true) if !once => match demo.suggest().await {
            Ok(()) => until_interrupted(&mut demo.processes, &mut interrupts).await,
            Err(error) => Err(error),
        },
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    let stopped = stop(&mut demo.processes).await;
    ended.and(stopped)
}

/// The signals of Ctrl-C and SIGTERM.
struct Interrupts {
    interrupt: Signals,
    terminate: Signals,
}

impl Interrupts {
    fn watch() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for an interrupt; a process that ends earlier is an error.
async fn until_interrupted(processes: &mut [Process], interrupts: &mut Interrupts) -> Result<()> {
    let mut look = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            () = interrupts.next() => return Ok(()),
            _ = look.tick() => for process in processes.iter_mut() {
                process.ensure_running()?;
            },
        }
    }
}

/// Stops the processes in the reverse of the order in which they started.
async fn stop(processes: &mut [Process]) -> Result<()> {
    for process in processes.iter_mut().rev() {
        if process.ended()?.is_none() {
            process.signal(Signal::SIGTERM)?;
            process.end(STOP).await?;
        }
    }
    println!("\nStopped.");
    Ok(())
}
