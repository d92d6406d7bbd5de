//! Usage errors: command lines that clap cannot parse, as errors in JSON.
//!
//! On such a line `--output` and `--color` are found by hand, because clap stops parsing at the first error.

use std::ffi::OsStr;

use clap::ValueEnum;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{CommandError, FailureKind};

/// Returns the value of a flag, even if clap cannot parse the command line. The last valid value wins.
pub(crate) fn flag_value<V: ValueEnum>(
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    long: &str,
    short: Option<char>,
) -> Option<V> {
    let args: Vec<String> = args.into_iter().map(|arg| arg.as_ref().to_string_lossy().into_owned()).collect();
    let mut rest = args.iter().skip(1).take_while(|arg| *arg != "--");
    let mut chosen = None;
    while let Some(arg) = rest.next() {
        let value = match arg.strip_prefix(long) {
            Some("") => rest.next().map(String::as_str),
            Some(value) => value.strip_prefix('='),
            // The flag may be combined with -v, such as in -vojson.
            None => match arg.strip_prefix("-v").or_else(|| arg.strip_prefix('-')).zip(short) {
                Some((flag, short)) => match flag.strip_prefix(short) {
                    Some("") => rest.next().map(String::as_str),
                    Some(value) => Some(value.strip_prefix('=').unwrap_or(value)),
                    None => None,
                },
                None => None,
            },
        };
        chosen = value.and_then(|value| V::from_str(value, false).ok()).or(chosen);
    }
    chosen
}

/// Converts clap's error into a message, a flag and a hint, each on a single line.
pub(crate) fn error(error: &clap::Error) -> CommandError {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return CommandError::new(FailureKind::Usage, "a command is missing")
            .hint("`gwctl --help` lists them");
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(one_line);
    let message = paragraphs.next().unwrap_or_default();
    let is_hint = |paragraph: &String| paragraph.starts_with("tip: ") || paragraph.starts_with("Usage: ");
    let hint = paragraphs.find(is_hint);
    let hint = hint.map(|hint| hint.strip_prefix("tip: ").map(str::to_owned).unwrap_or(hint));
    let failure = CommandError::new(FailureKind::Usage, message.strip_prefix("error: ").unwrap_or(&message));
    let failure =
        failure.hint(hint.unwrap_or_else(|| "add `--help` to a command to see its flags".to_owned()));
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => failure.flag(flag.clone()),
        Some(ContextValue::Strings(flags)) => failure.flag(flags.join(", ")),
        Some(_) | None => failure,
    }
}

fn one_line(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Format};

    #[test]
    fn the_output_format_is_found_anywhere_on_the_line() {
        for (line, format) in [
            ("gwctl", Format::Table),
            ("gwctl -o json routes lst", Format::Json),
            ("gwctl routes lst -ojson", Format::Json),
            ("gwctl routes lst -vo json", Format::Json),
            ("gwctl routes lst -o=yaml", Format::Yaml),
            ("gwctl routes --output json", Format::Json),
            ("gwctl routes --output=json", Format::Json),
            ("gwctl routes --output=xml", Format::Table),
            ("gwctl routes -- -o json", Format::Table),
            ("gwctl routes -o", Format::Table),
        ] {
            let found = flag_value(line.split(' '), "--output", Some('o'));
            assert_eq!(found.unwrap_or(Format::Table), format, "{line}");
        }
    }

    #[test]
    fn an_error_has_a_message_a_flag_and_a_hint_of_one_line() {
        for (line, message, flag, hint) in [
            ("gwctl", "a command is missing", None, "`gwctl --help`"),
            ("gwctl routes lst", "unrecognized subcommand 'lst'", None, "'list'"),
            (
                "gwctl routes list --frobnicate",
                "unexpected argument '--frobnicate' found",
                Some("--frobnicate"),
                "Usage: ",
            ),
            ("gwctl routes get", "were not provided: <ROUTE>", Some("<ROUTE>"), "Usage: "),
        ] {
            let failure = super::error(&Cli::try_parse_from(line.split(' ')).unwrap_err());
            assert!(failure.message.contains(message), "{line}: {failure:?}");
            assert_eq!(failure.flag.as_deref(), flag, "{line}: {failure:?}");
            assert!(failure.hint.as_ref().is_some_and(|text| text.contains(hint)), "{line}: {failure:?}");
            assert_eq!(failure.kind, FailureKind::Usage);
        }
    }
}
