//! `webgateway-dataplane`: reads its configuration and runs.

use std::process::ExitCode;

use webgateway_dataplane::config::{Config, PROGRAM};
use webgateway_dataplane::{app, join};
use webgateway_process::{Inherited, log, settings};

/// Requests live and die on one thread: an allocator with heaps per thread serves them best.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration is wrong.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let invocation = match settings::read::<Config>(&PROGRAM) {
        Ok(invocation) => invocation,
        Err(error) => return wrong_configuration(&error.to_string()),
    };
    let config = invocation.settings;
    if let Err(error) = app::check(&config) {
        return wrong_configuration(&error);
    }
    if let Err(error) = log::init(&config.log_level) {
        return wrong_configuration(&error.to_string());
    }
    if invocation.check {
        println!("the configuration is good");
        return ExitCode::SUCCESS;
    }
    if let Some(token) = &invocation.verb {
        return joined(token, &config);
    }
    let inherited = match Inherited::take(app::SOCKETS) {
        Ok(inherited) => inherited,
        Err(error) => return wrong_configuration(&error.to_string()),
    };
    // Feed and admin run here, the workers on threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(app::run(config, inherited)))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("webgateway-dataplane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Joins, and says what to do next.
fn joined(token: &str, config: &Config) -> ExitCode {
    let run = || {
        let token = join::token(token)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok::<_, anyhow::Error>(runtime.block_on(join::join(&token, &config.state_dir))?)
    };
    match run() {
        Ok(identity) => {
            println!("joined as {} at {}", identity.name, identity.address);
            println!("next: systemctl restart webgateway-dataplane");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("webgateway-dataplane: join: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wrong_configuration(error: &str) -> ExitCode {
    eprintln!("webgateway-dataplane: {error}");
    ExitCode::from(EXIT_CONFIG)
}
