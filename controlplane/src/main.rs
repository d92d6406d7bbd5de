//! The `webgateway-controlplane` binary. Exit codes: 0 stopped as told, 1 failed, 2 not configured.

use std::process::ExitCode;

use webgateway_controlplane::app::{App, Failed};
use webgateway_controlplane::config::{Config, PROGRAM, Settings};
use webgateway_controlplane::sockets::SOCKETS;
use webgateway_process::{Inherited, log, settings};

/// Gives back what the first load and each full sync took; with a million routes that is most of the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The process failed.
const FAILED: u8 = 1;
/// The configuration cannot be run.
const NOT_CONFIGURED: u8 = 2;

fn main() -> ExitCode {
    let invocation = match settings::read::<Settings>(&PROGRAM) {
        Ok(invocation) => invocation,
        Err(error) => return complain(&error, NOT_CONFIGURED),
    };
    let config = match invocation.settings.resolve() {
        Ok(config) => config,
        Err(error) => return complain(&error, NOT_CONFIGURED),
    };
    if let Err(error) = log::init(&config.log_level) {
        return complain(&error, NOT_CONFIGURED);
    }
    if invocation.check {
        println!("the configuration is good");
        return ExitCode::SUCCESS;
    }
    let inherited = match Inherited::take(SOCKETS) {
        Ok(inherited) => inherited,
        Err(error) => return complain(&error, NOT_CONFIGURED),
    };
    match run(config, inherited) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&*error, FAILED),
    }
}

fn run(config: Config, inherited: Inherited) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime
        .block_on(async {
            let app = App::bind(config, inherited).await?;
            app.run().await
        })
        .map_err(|error: Failed| error.into())
}

fn complain(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("webgateway-controlplane: {error}");
    ExitCode::from(code)
}
