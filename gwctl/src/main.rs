//! `gwctl`: the command line of webgateway's API.

mod args;
mod cli;
mod client;
mod clock;
mod commands;
mod fault;
mod import;
mod keys;
mod output;
mod printable;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Action;
use crate::cli::Cli;
use crate::commands::Manner;
use crate::fault::{Fault, Kind};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are such errors too, and go to stdout. Without anybody who reads, so be it.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(Kind::Usage.exit_code())
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let manner = Manner { format: cli.global.output, verbose: cli.global.verbose };
    match run(cli, manner) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            output::fault(manner.format, &fault);
            ExitCode::from(fault.kind.exit_code())
        }
    }
}

fn run(cli: Cli, manner: Manner) -> Result<(), Fault> {
    let action = Action::parse(&cli.global, cli.command)?;
    commands::run(action, manner)
}
