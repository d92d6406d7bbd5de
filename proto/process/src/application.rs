//! The lifecycle of both processes: read the settings, check them, bind the listeners and run.
//!
//! The exit code is 0 after a requested stop, 1 after a failure, and 2 for an invalid configuration.

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

/// A process with its configuration and lifecycle.
pub trait Application: Sized {
    /// The program and its configuration keys.
    const PROGRAM: Program;
    /// The names of the sockets that the process accepts from systemd.
    const SOCKETS: &'static [&'static str];
    /// The deserialized settings.
    type Settings: DeserializeOwned;
    /// A valid configuration.
    type Config;
    /// The error of settings that are not a valid configuration.
    type ConfigError: Error + 'static;
    /// A lack of the machine that keeps the process from running.
    type Problem: Error + 'static;
    /// The error of starting or running the process.
    type Error: Error + 'static;

    /// Converts the settings to a configuration, or returns an error if they are invalid.
    fn configure(settings: Self::Settings) -> Result<Self::Config, Self::ConfigError>;

    /// Returns what the process could not run with on this machine, such as missing directories. Changes nothing.
    fn problems(config: &Self::Config) -> Vec<Self::Problem>;

    /// Returns the log level, or filter directives of `tracing`.
    fn log_level(config: &Self::Config) -> &str;

    /// Returns the builder of the runtime on which the process is bound and run.
    fn runtime() -> Builder;

    /// Binds every listener and builds the process.
    fn bind(
        config: Self::Config,
        inherited: InheritedSockets,
    ) -> impl Future<Output = Result<Self, Self::Error>>;

    /// Runs until a stop is requested or an essential task fails.
    fn run(self) -> impl Future<Output = Result<(), Self::Error>>;

    /// Executes a subcommand instead of running, and returns the text to print. Never called for a program without
    /// subcommands.
    fn act(_: Self::Config, _argument: String) -> impl Future<Output = Result<String, Self::Error>> {
        std::future::ready(Ok(String::new()))
    }
}

/// The process cannot be configured.
#[derive(Debug, Error)]
enum ConfigureError<E: Error + 'static> {
    /// The command line, a variable or the file is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The settings are not a valid configuration.
    #[error(transparent)]
    Config(E),
    /// The log level is invalid.
    #[error(transparent)]
    LogLevel(#[from] LogLevelError),
    /// A socket passed by systemd cannot be used.
    #[error(transparent)]
    InheritedSockets(#[from] InheritedError),
}

/// The process failed.
#[derive(Debug, Error)]
enum RunError<E: Error + 'static> {
    /// The runtime cannot be started.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[from] io::Error),
    /// The check has found problems, which are printed.
    #[error("the configuration is valid, but the process could not run with it on this machine")]
    NotReady,
    /// The application could not start, or failed while it was running.
    #[error(transparent)]
    Application(E),
}

/// The action that the command line requests.
enum Action<C> {
    Check(C),
    Act(C, String),
    Run(C, InheritedSockets),
}

/// Runs a process to its end and returns its exit code. This is the body of its `main`.
#[must_use]
pub fn run<A: Application>() -> ExitCode {
    match read::<A>() {
        Ok(action) => match execute::<A>(action) {
            Ok(()) => {
                log::flush();
                ExitCode::SUCCESS
            }
            Err(error) => fail(A::PROGRAM.name, &error, FAILED),
        },
        Err(error) => fail(A::PROGRAM.name, &error, NOT_CONFIGURED),
    }
}

fn read<A: Application>() -> Result<Action<A::Config>, ConfigureError<A::ConfigError>> {
    let invocation = settings::read::<A::Settings>(&A::PROGRAM)?;
    let config = A::configure(invocation.settings).map_err(ConfigureError::Config)?;
    log::init(A::log_level(&config))?;
    Ok(match (invocation.check, invocation.verb) {
        (true, _) => Action::Check(config),
        (false, Some(argument)) => Action::Act(config, argument),
        (false, None) => Action::Run(config, InheritedSockets::take(A::SOCKETS)?),
    })
}

fn execute<A: Application>(action: Action<A::Config>) -> Result<(), RunError<A::Error>> {
    match action {
        Action::Check(config) => check::<A>(&config),
        Action::Act(config, argument) => {
            let text = runtime::<A>()?.block_on(A::act(config, argument)).map_err(RunError::Application)?;
            print(&text);
            Ok(())
        }
        Action::Run(config, inherited) => {
            descriptors::raise_limit();
            let run = async { A::bind(config, inherited).await?.run().await };
            runtime::<A>()?.block_on(run).map_err(RunError::Application)
        }
    }
}

/// Prints whether the process could run with a valid configuration.
fn check<A: Application>(config: &A::Config) -> Result<(), RunError<A::Error>> {
    let problems = A::problems(config);
    if problems.is_empty() {
        print("the configuration is valid");
        return Ok(());
    }
    for problem in &problems {
        log::last_line(&format!("{}: {problem}", A::PROGRAM.name));
    }
    Err(RunError::NotReady)
}

fn runtime<A: Application>() -> io::Result<Runtime> {
    A::runtime().enable_all().build()
}

fn fail(program: &str, error: &dyn Error, code: u8) -> ExitCode {
    log::last_line(&format!("{program}: {error}"));
    ExitCode::from(code)
}

/// Prints a line on stdout. Errors, such as a closed pipe, are ignored.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
