//! A command line that is not understood, as an error for programs.
//!
//! `--output` and `--color` are looked for by hand: clap, told to ignore errors, reads nothing after the first one.

use std::ffi::OsStr;

use clap::ValueEnum;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{CommandError, Kind};

/// Returns the value that a command line chooses with a flag, even if clap cannot read the line.
pub(crate) fn asked<V: ValueEnum>(
    words: impl IntoIterator<Item = impl AsRef<OsStr>>,
    long: &str,
    short: Option<char>,
) -> Option<V> {
    let words: Vec<String> =
        words.into_iter().map(|word| word.as_ref().to_string_lossy().into_owned()).collect();
    let mut rest = words.iter().skip(1).take_while(|word| *word != "--");
    let mut chosen = None;
    while let Some(word) = rest.next() {
        let value = match word.strip_prefix(long) {
            Some("") => rest.next().map(String::as_str),
            Some(value) => value.strip_prefix('='),
            // -v may stand before it.
            None => match word.strip_prefix("-v").or_else(|| word.strip_prefix('-')).zip(short) {
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

/// Returns clap's error without its layout.
pub(crate) fn error(error: &clap::Error) -> CommandError {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return CommandError::new(Kind::Usage, "a command is missing").hint("`gwctl --help` lists them");
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(one_line);
    let message = paragraphs.next().unwrap_or_default();
    let told = |paragraph: &String| paragraph.starts_with("tip: ") || paragraph.starts_with("Usage: ");
    let hint = paragraphs.find(told);
    let hint = hint.map(|hint| hint.strip_prefix("tip: ").map(str::to_owned).unwrap_or(hint));
    let failure = CommandError::new(Kind::Usage, message.strip_prefix("error: ").unwrap_or(&message));
    let failure = failure.hint(hint.unwrap_or_else(|| "`--help` after a command shows its flags".to_owned()));
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
    fn the_format_is_found_wherever_it_stands() {
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
            let asked = asked(line.split(' '), "--output", Some('o'));
            assert_eq!(asked.unwrap_or(Format::Table), format, "{line}");
        }
    }

    #[test]
    fn a_refusal_has_one_line_a_flag_and_a_hint() {
        for (line, message, flag, hint) in [
            ("gwctl", "a command is missing", None, "`gwctl --help`"),
            ("gwctl routes lst", "unrecognized subcommand 'lst'", None, "'list'"),
            (
                "gwctl routes list --frobnicate",
                "unexpected argument '--frobnicate' found",
                Some("--frobnicate"),
                "Usage: ",
            ),
            ("gwctl routes get", "were not provided: --route <ID>", Some("--route <ID>"), "Usage: "),
        ] {
            let failure = super::error(&Cli::try_parse_from(line.split(' ')).unwrap_err());
            assert!(failure.message.contains(message), "{line}: {failure:?}");
            assert_eq!(failure.flag.as_deref(), flag, "{line}: {failure:?}");
            assert!(failure.hint.as_ref().is_some_and(|told| told.contains(hint)), "{line}: {failure:?}");
            assert_eq!(failure.kind, Kind::Usage);
        }
    }
}
