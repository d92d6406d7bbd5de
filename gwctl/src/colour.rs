//! The colours of answers and messages. anstream decides whether there are any, as it does for clap's help.

use std::io::{stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::AutoStream;
use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};

/// True if stdout shows colours. Decided once, before anything is printed.
static STDOUT: AtomicBool = AtomicBool::new(false);
/// True if stderr shows colours.
static STDERR: AtomicBool = AtomicBool::new(false);

/// A meaning that has a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// All is well.
    Good,
    /// Not yet, or not any more soon.
    Waiting,
    /// Something is not served, or not there.
    Bad,
    /// The word `error:`
    Error,
    /// The word `warning:`
    Warning,
    /// The next step for the user.
    Hint,
}

/// Takes what `--color` says; `auto` means a terminal that is not a dumb one, and what `NO_COLOR`, `CLICOLOR` and
/// `CLICOLOR_FORCE` ask for.
pub(crate) fn choose(choice: ColorChoice) {
    let choice = match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
    STDOUT.store(AutoStream::choice(&stdout()) != anstream::ColorChoice::Never, Ordering::Relaxed);
    STDERR.store(AutoStream::choice(&stderr()) != anstream::ColorChoice::Never, Ordering::Relaxed);
}

/// Returns a part of an error or a warning in its colour.
pub(crate) fn on_stderr(ink: Ink, text: &str) -> String {
    paint(STDERR.load(Ordering::Relaxed).then_some(ink), text)
}

/// Returns the word for a state in its colour.
pub(crate) fn state(text: &str) -> String {
    let is_on = STDOUT.load(Ordering::Relaxed);
    paint(ink_of(text).filter(|_| is_on), text)
}

/// Returns the sign of a change in its colour.
pub(crate) fn sign(text: &str) -> String {
    let inks = [("+", Ink::Good), ("~", Ink::Waiting), ("-", Ink::Bad)];
    let ink = inks.into_iter().find(|(sign, _)| *sign == text).map(|(_, ink)| ink);
    paint(ink.filter(|_| STDOUT.load(Ordering::Relaxed)), text)
}

/// Returns the colour of a state; one state may be several words with commas.
fn ink_of(state: &str) -> Option<Ink> {
    // More may follow a word, such as why.
    let begins = |part: &str, word: &str| {
        part.strip_prefix(word).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    let says = |words: &[&str]| state.split(',').any(|part| words.iter().any(|word| begins(part, word)));
    let inks = [
        (Ink::Bad, &["away", "removed", "suspended", "failing", "expired"][..]),
        (Ink::Waiting, &["waiting", "draining", "to drain"]),
        (Ink::Good, &["active", "connected", "valid"]),
    ];
    inks.into_iter().find(|(_, words)| says(words)).map(|(ink, _)| ink)
}

/// Returns one line of a table with its state in colour; the state stands behind the cells `before` it.
pub(crate) fn state_in(line: &str, before: &[String], state: &str) -> String {
    let mut start = 0;
    for cell in before.iter().map(String::as_str).chain([state]) {
        let Some(at) = line.get(start..).and_then(|rest| rest.find(cell)) else { return line.to_owned() };
        start += at + cell.len();
    }
    let (before, rest) = (&line[..start - state.len()], &line[start..]);
    format!("{before}{}{rest}", self::state(state))
}

fn paint(ink: Option<Ink>, text: &str) -> String {
    let style = match ink {
        None => return text.to_owned(),
        Some(Ink::Good) => AnsiColor::Green.on_default(),
        Some(Ink::Waiting) => AnsiColor::Yellow.on_default(),
        Some(Ink::Bad) => AnsiColor::Red.on_default(),
        Some(Ink::Error) => AnsiColor::Red.on_default().bold(),
        Some(Ink::Warning) => AnsiColor::Yellow.on_default().bold(),
        Some(Ink::Hint) => Style::new().dimmed(),
    };
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_colour_of_its_worst_word() {
        for (state, ink) in [
            ("active", Some(Ink::Good)),
            ("waiting for certificate", Some(Ink::Waiting)),
            ("connected,draining", Some(Ink::Waiting)),
            ("away,removed", Some(Ink::Bad)),
            ("suspended until tomorrow: spam", Some(Ink::Bad)),
            ("activated", None),
        ] {
            assert_eq!(ink_of(state), ink, "{state}");
        }
    }
}
