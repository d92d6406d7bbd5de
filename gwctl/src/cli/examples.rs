//! An example for each command, and the short form of the global options in the help of commands.

use clap::{Arg, Command};

/// The examples, by command.
const EXAMPLES: &[(&str, &str)] = &[
    ("routes create", "gwctl routes create -s myapp -b '[54f:1::2]:8080'"),
    ("routes list", "gwctl routes list --host shop. -o wide"),
    ("routes get", "gwctl routes get myapp.gateway.example.com"),
    ("routes update", "gwctl routes update myapp.gateway.example.com -b '[54f:1::3]:8080' --health /healthz"),
    ("routes delete", "gwctl routes delete myapp.gateway.example.com --wait"),
    ("routes apply", "gwctl routes apply -f routes.yaml --dry-run"),
    ("routes explain", "gwctl routes explain myapp.gateway.example.com"),
    ("certificates list", "gwctl certificates list"),
    ("certificates get", "gwctl certificates get -c app.example.org"),
    ("certificates renew", "gwctl certificates renew -c app.example.org"),
    ("certificates root", "gwctl certificates root > root.pem"),
    ("admin suspend", "gwctl admin suspend user1.pub --reason 'phishing' --for 7d"),
    ("admin unsuspend", "gwctl admin unsuspend user1.pub"),
    ("admin users", "gwctl admin users --suspended"),
    ("admin quota", "gwctl admin quota user1.pub --routes 50 --backends default"),
    ("nodes list", "gwctl nodes list"),
    ("nodes invite", "gwctl nodes invite edge2 --ttl 30m"),
    ("nodes drain", "gwctl nodes drain edge2"),
    ("nodes remove", "gwctl nodes remove edge2"),
    ("audit list", "gwctl audit list --caller user1.pub -n 20"),
    ("audit verify", "gwctl audit verify --file audit.jsonl"),
    ("audit export", "gwctl audit export --out audit.jsonl"),
    ("health", "gwctl health -u https://gateway.example.com/rpc"),
    ("version", "gwctl version"),
    ("keys generate", "gwctl keys generate user1"),
    ("login", "gwctl login -u https://gateway.example.com/rpc -k user1.priv"),
    ("import", "gwctl import caddy.json --out /etc/webgateway"),
    ("completions", "gwctl completions bash > ~/.local/share/bash-completion/completions/gwctl"),
    ("man", "gwctl man --out ~/.local/share/man/man1"),
];

/// The global options in the help of a command.
const GLOBAL: &str =
    "Global options: -u URL, -i KEY_ID, -k FILE, -o FORMAT, -v and others; `gwctl --help` describes them.";

/// Adds the examples. The help of commands mentions the global options in one line.
pub(super) fn add_to(root: Command) -> Command {
    let globals: Vec<Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    let globals = globals.into_iter().map(|arg| arg.hide_short_help(true).hide_long_help(true)).collect();
    with_examples(root, "", &globals)
}

fn with_examples(command: Command, path: &str, globals: &Vec<Arg>) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        let path = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command.mut_subcommand(name, |sub| {
            let example = EXAMPLES.iter().find(|(of, _)| *of == path);
            let example = example.map(|(_, line)| format!("Example:\n  {line}\n\n")).unwrap_or_default();
            with_examples(sub.args(globals).after_help(example + GLOBAL), &path, globals)
        })
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    /// Returns the paths of all commands without subcommands.
    fn leaves(command: &Command, path: &str) -> Vec<String> {
        let subcommands: Vec<&Command> = command.get_subcommands().collect();
        if subcommands.is_empty() {
            return vec![path.trim_start().to_owned()];
        }
        subcommands.iter().flat_map(|sub| leaves(sub, &format!("{path} {}", sub.get_name()))).collect()
    }

    #[test]
    fn every_command_has_an_example_that_is_valid() {
        let paths: Vec<String> = EXAMPLES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(leaves(&Cli::command(), ""), paths);
        for (path, line) in EXAMPLES {
            assert!(line.starts_with(&format!("gwctl {path}")), "{line}");
            let words = line.split('>').next().unwrap_or_default().replace('\'', "");
            let parsed = add_to(Cli::command()).try_get_matches_from(words.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }
}
