//! The skeleton of both processes: settings become a configuration, which is bound and run.
//!
//! The exit code is 0 for a process that stopped as it was told, 1 for one that failed, and 2 for one that cannot be
//! configured.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};

use crate::descriptors;
use crate::inherited::{InheritedError, InheritedSockets};
use crate::log::{self, LogLevelError};
use crate::settings::{self, Program, SettingsError};

const FAILED: u8 = 1;
const NOT_CONFIGURED: u8 = 2;

/// A process, from its settings to its end.
pub trait Application: Sized {
    /// The program and its keys.
    const PROGRAM: Program;
    /// The names of the sockets that it takes from the service manager.
    const SOCKETS: &'static [&'static str];
    /// The keys as they are given.
    type Settings: DeserializeOwned;
    /// A configuration that can be run.
    type Config;
    /// The reason why settings are no configuration.
    type ConfigError: Error + 'static;
    /// The reason why the process cannot start, or stopped.
    type Error: Error + 'static;

    /// Returns what the settings mean; refuses what cannot be run.
    fn configure(settings: Self::Settings) -> Result<Self::Config, Self::ConfigError>;

    /// Returns what is logged.
    fn log_level(config: &Self::Config) -> &str;

    /// Returns the runtime that the process is bound and run on.
    fn runtime() -> Builder;

    /// Binds every listener and builds what runs.
    fn bind(
        config: Self::Config,
        inherited: InheritedSockets,
    ) -> impl Future<Output = Result<Self, Self::Error>>;

    /// Runs until the process is told to stop, or something essential fails.
    fn run(self) -> impl Future<Output = Result<(), Self::Error>>;

    /// Does what a verb says instead of running; returns what to print. Not called for a program without verbs.
    fn act(_: Self::Config, _argument: String) -> impl Future<Output = Result<String, Self::Error>> {
        std::future::ready(Ok(String::new()))
    }
}

/// The process cannot be configured.
#[derive(Debug, Error)]
enum ConfigureError<E: Error + 'static> {
    /// The command line, a variable or the file.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The settings cannot be run.
    #[error(transparent)]
    Config(E),
    /// The log level is none.
    #[error(transparent)]
    LogLevel(#[from] LogLevelError),
    /// The sockets that the service manager passes cannot be used.
    #[error(transparent)]
    InheritedSockets(#[from] InheritedError),
}

/// The process failed.
#[derive(Debug, Error)]
enum RunError<E: Error + 'static> {
    /// There is no runtime.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[from] io::Error),
    /// The process says why.
    #[error(transparent)]
    Application(E),
}

/// The work that a process was started for.
enum Order<C> {
    Nothing,
    Act(C, String),
    Run(C, InheritedSockets),
}

/// Runs a process to its end: this is its `main`.
#[must_use]
pub fn run<A: Application>() -> ExitCode {
    match read::<A>() {
        Ok(order) => match execute::<A>(order) {
            Ok(()) => {
                log::flush();
                ExitCode::SUCCESS
            }
            Err(error) => complain(A::PROGRAM.name, &error, FAILED),
        },
        Err(error) => complain(A::PROGRAM.name, &error, NOT_CONFIGURED),
    }
}

fn read<A: Application>() -> Result<Order<A::Config>, ConfigureError<A::ConfigError>> {
    let invocation = settings::read::<A::Settings>(&A::PROGRAM)?;
    let config = A::configure(invocation.settings).map_err(ConfigureError::Config)?;
    log::init(A::log_level(&config))?;
    Ok(match (invocation.check, invocation.verb) {
        (true, _) => {
            print("the configuration is good");
            Order::Nothing
        }
        (false, Some(argument)) => Order::Act(config, argument),
        (false, None) => Order::Run(config, InheritedSockets::take(A::SOCKETS)?),
    })
}

fn execute<A: Application>(order: Order<A::Config>) -> Result<(), RunError<A::Error>> {
    match order {
        Order::Nothing => Ok(()),
        Order::Act(config, argument) => {
            let text = runtime::<A>()?.block_on(A::act(config, argument)).map_err(RunError::Application)?;
            print(&text);
            Ok(())
        }
        Order::Run(config, inherited) => {
            descriptors::raise_limit();
            let run = async { A::bind(config, inherited).await?.run().await };
            runtime::<A>()?.block_on(run).map_err(RunError::Application)
        }
    }
}

fn runtime<A: Application>() -> io::Result<Runtime> {
    A::runtime().enable_all().build()
}

fn complain(program: &str, error: &dyn Error, code: u8) -> ExitCode {
    log::last_line(&format!("{program}: {error}"));
    ExitCode::from(code)
}

/// Prints a line on stdout; without anybody who reads it, so be it.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
