//! Shell completion of commands, flags and hosts.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use clap::{Command, FromArgMatches};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use gwctl::api::{RouteList, RouteListParams, RouteView, method};
use gwctl::{Client, Endpoint, Signer};
use tokio::time::timeout;

use crate::args::Credentials;
use crate::cli::{self, Shell};
use crate::printable::printable;
use crate::profiles;

/// The environment variable with which the shell's script asks gwctl to complete a command line instead of running it.
const VARIABLE: &str = "_GWCTL_COMPLETE";
/// The maximum time for fetching the routes while the shell waits.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Prints the completions if a shell asks for them; returns `None` otherwise.
pub(crate) fn try_complete() -> Option<Result<(), clap::Error>> {
    let directory = std::env::current_dir().ok();
    let env = CompleteEnv::with_factory(command_with_candidates).var(VARIABLE);
    match env.try_complete(std::env::args_os(), directory.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(Ok(())),
        Err(error) => Some(Err(error)),
    }
}

/// Returns the script that registers gwctl's completion in a shell.
pub(crate) fn registration_script(shell: Shell) -> io::Result<Vec<u8>> {
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Elvish => "elvish",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
        Shell::Zsh => "zsh",
    };
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells.completer(name).ok_or(io::ErrorKind::Unsupported)?;
    shell.write_registration(VARIABLE, "gwctl", "gwctl", "gwctl", &mut script)?;
    Ok(script)
}

/// Returns the definition of the command line with completers for the hosts of routes.
fn command_with_candidates() -> Command {
    let hosts =
        || ArgValueCandidates::new(|| route_candidates(|route| (route.host.clone(), route.id.clone())));
    cli::command().mut_subcommand("routes", |routes| {
        let routes = ["get", "update", "delete"].into_iter().fold(routes, |routes, name| {
            let select = |command: Command| {
                command.mut_arg("route", |arg| arg.add(hosts())).mut_arg("route_flag", |arg| arg.add(hosts()))
            };
            routes.mut_subcommand(name, select)
        });
        routes.mut_subcommand("explain", |explain| explain.mut_arg("host", |arg| arg.add(hosts())))
    })
}

/// Returns a candidate with a help text for each route. After any error or timeout there are no candidates and no
/// message, so that the command line that the user is typing stays undisturbed.
fn route_candidates(of: fn(&RouteView) -> (String, String)) -> Vec<CompletionCandidate> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let Some(routes) = fetch_routes(words.collect()) else { return Vec::new() };
    let candidate = |route| {
        let (value, help) = of(route);
        CompletionCandidate::new(printable(&value).into_owned())
            .help(Some(printable(&help).into_owned().into()))
    };
    routes.iter().map(candidate).collect()
}

/// Fetches the routes with the gateway and the key that the unfinished command line selects.
fn fetch_routes(words: Vec<OsString>) -> Option<Vec<RouteView>> {
    let matches = cli::command().ignore_errors(true).try_get_matches_from(words).ok()?;
    let global = profiles::apply(crate::cli::Global::from_arg_matches(&matches).ok()?).ok()?;
    let credentials = Credentials::parse(global.id.as_deref(), global.key.as_deref()).ok()?;
    let key = gwctl::keys::load(&credentials.key_file).ok()?.key;
    let client = Client::new(Endpoint::parse(global.url()).ok()?).signed_by(Signer::new(credentials.id, key));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let params = RouteListParams::default();
    let list = runtime.block_on(async { timeout(TIMEOUT, client.call(method::ROUTES_LIST, &params)).await });
    runtime.shutdown_background();
    let list: RouteList = list.ok()?.ok()?;
    Some(list.routes)
}
