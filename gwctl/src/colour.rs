//! Colours: whether there are any, and what has which.

use std::ffi::OsStr;
use std::io::{IsTerminal, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};

/// Whether answers have colours. Decided once, before anything is printed.
static ANSWERS: AtomicBool = AtomicBool::new(false);
/// Whether errors and warnings have.
static COMPLAINTS: AtomicBool = AtomicBool::new(false);

/// What is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// All is well.
    Good,
    /// Not yet, or not any more soon.
    Waiting,
    /// It is not served, or not there.
    Bad,
    /// The word `error:`
    Error,
    /// The word `warning:`
    Warning,
    /// What to do next.
    Hint,
}

/// Takes what `--color` says; `auto` means a terminal, without `NO_COLOR`, that is not a dumb one.
pub(crate) fn choose(choice: ColorChoice) {
    let (no_color, term) = (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
    let decide = |is_terminal| decide(choice, is_terminal, no_color.as_deref(), term.as_deref());
    ANSWERS.store(decide(stdout().is_terminal()), Ordering::Relaxed);
    COMPLAINTS.store(decide(stderr().is_terminal()), Ordering::Relaxed);
}

fn decide(choice: ColorChoice, is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        // An empty NO_COLOR says nothing (no-color.org).
        ColorChoice::Auto => {
            is_terminal && no_color.is_none_or(OsStr::is_empty) && term.is_some_and(|term| term != "dumb")
        }
    }
}

/// A part of an error or a warning, in its colour.
pub(crate) fn complain(ink: Ink, text: &str) -> String {
    paint(COMPLAINTS.load(Ordering::Relaxed).then_some(ink), text)
}

/// The word for a state, in its colour.
pub(crate) fn state(text: &str) -> String {
    let is_on = ANSWERS.load(Ordering::Relaxed);
    paint(ink_of(text).filter(|_| is_on), text)
}

/// The sign of a change, in its colour.
pub(crate) fn sign(text: &str) -> String {
    let inks = [("+", Ink::Good), ("~", Ink::Waiting), ("-", Ink::Bad)];
    let ink = inks.into_iter().find(|(sign, _)| *sign == text).map(|(_, ink)| ink);
    paint(ink.filter(|_| ANSWERS.load(Ordering::Relaxed)), text)
}

/// What a state is to its reader; one state may be several words with commas.
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

/// One line of a table, in which the state stands behind the cells `before` it.
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
    fn a_terminal_has_colours_unless_somebody_says_no() {
        let (xterm, dumb, one) = (Some(OsStr::new("xterm")), Some(OsStr::new("dumb")), Some(OsStr::new("1")));
        for (choice, is_terminal, no_color, term, coloured) in [
            (ColorChoice::Auto, true, None, xterm, true),
            (ColorChoice::Auto, true, Some(OsStr::new("")), xterm, true),
            (ColorChoice::Auto, true, one, xterm, false),
            (ColorChoice::Auto, true, None, dumb, false),
            (ColorChoice::Auto, true, None, None, false),
            (ColorChoice::Auto, false, None, xterm, false),
            (ColorChoice::Always, false, one, dumb, true),
            (ColorChoice::Never, true, None, xterm, false),
        ] {
            assert_eq!(decide(choice, is_terminal, no_color, term), coloured, "{choice} {is_terminal}");
        }
    }

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
