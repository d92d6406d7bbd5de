//! Colours in results and messages. anstream decides whether they are on, as it does for clap's help.

use std::io::{stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::AutoStream;
use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};

/// True if stdout has colours. [`init`] sets it before anything is printed.
static STDOUT: AtomicBool = AtomicBool::new(false);
/// True if stderr has colours.
static STDERR: AtomicBool = AtomicBool::new(false);

/// The meaning of a coloured text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColourRole {
    /// A state in which the object works.
    Good,
    /// A transitional state, such as waiting or draining.
    Waiting,
    /// A state in which the object does not work.
    Bad,
    /// The prefix `error:`.
    Error,
    /// The prefix `warning:`.
    Warning,
    /// A hint.
    Hint,
}

/// Applies `--color`. With `auto`, colours are on for terminals other than `dumb`, unless `NO_COLOR`, `CLICOLOR` or
/// `CLICOLOR_FORCE` decide otherwise.
pub(crate) fn init(choice: ColorChoice) {
    let choice = match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
    STDOUT.store(AutoStream::choice(&stdout()) != anstream::ColorChoice::Never, Ordering::Relaxed);
    STDERR.store(AutoStream::choice(&stderr()) != anstream::ColorChoice::Never, Ordering::Relaxed);
}

/// Returns a part of a message on stderr in its colour.
pub(crate) fn paint_stderr(role: ColourRole, text: &str) -> String {
    paint(STDERR.load(Ordering::Relaxed).then_some(role), text)
}

/// Returns a state, as printed on stdout, in its colour.
pub(crate) fn paint_state(text: &str) -> String {
    let is_on = STDOUT.load(Ordering::Relaxed);
    paint(state_role(text).filter(|_| is_on), text)
}

/// Returns the sign of a change, as printed on stdout, in its colour.
pub(crate) fn paint_sign(text: &str) -> String {
    let roles = [("+", ColourRole::Good), ("~", ColourRole::Waiting), ("-", ColourRole::Bad)];
    let role = roles.into_iter().find(|(sign, _)| *sign == text).map(|(_, role)| role);
    paint(role.filter(|_| STDOUT.load(Ordering::Relaxed)), text)
}

/// Returns the colour role of a state. Of several words separated by commas, the worst one decides.
fn state_role(state: &str) -> Option<ColourRole> {
    // A reason may follow the word.
    let begins = |part: &str, word: &str| {
        part.strip_prefix(word).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    let has_any = |words: &[&str]| state.split(',').any(|part| words.iter().any(|word| begins(part, word)));
    let roles = [
        (ColourRole::Bad, &["away", "removed", "suspended", "failing", "expired"][..]),
        (ColourRole::Waiting, &["waiting", "draining", "to drain"]),
        (ColourRole::Good, &["active", "connected", "valid"]),
    ];
    roles.into_iter().find(|(_, words)| has_any(words)).map(|(role, _)| role)
}

/// Returns a line of a table with its state in colour. The cells `before` precede the state.
pub(crate) fn paint_state_in_line(line: &str, before: &[String], state: &str) -> String {
    let mut start = 0;
    for cell in before.iter().map(String::as_str).chain([state]) {
        let Some(at) = line.get(start..).and_then(|rest| rest.find(cell)) else { return line.to_owned() };
        start += at + cell.len();
    }
    let (before, rest) = (&line[..start - state.len()], &line[start..]);
    format!("{before}{}{rest}", paint_state(state))
}

fn paint(role: Option<ColourRole>, text: &str) -> String {
    let style = match role {
        None => return text.to_owned(),
        Some(ColourRole::Good) => AnsiColor::Green.on_default(),
        Some(ColourRole::Waiting) => AnsiColor::Yellow.on_default(),
        Some(ColourRole::Bad) => AnsiColor::Red.on_default(),
        Some(ColourRole::Error) => AnsiColor::Red.on_default().bold(),
        Some(ColourRole::Warning) => AnsiColor::Yellow.on_default().bold(),
        Some(ColourRole::Hint) => Style::new().dimmed(),
    };
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_colour_of_its_worst_word() {
        for (state, role) in [
            ("active", Some(ColourRole::Good)),
            ("waiting for certificate", Some(ColourRole::Waiting)),
            ("connected,draining", Some(ColourRole::Waiting)),
            ("away,removed", Some(ColourRole::Bad)),
            ("suspended until tomorrow: spam", Some(ColourRole::Bad)),
            ("activated", None),
        ] {
            assert_eq!(state_role(state), role, "{state}");
        }
    }
}
