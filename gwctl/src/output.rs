//! Printing: answers on stdout, as text, JSON or YAML; errors and warnings on stderr.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cli::Format;
use crate::colour::{self, Ink};
use crate::error::{CommandError, Kind};
use crate::printable::printable;

/// The choices for output and retries of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputOptions {
    pub(crate) format: Format,
    pub(crate) verbose: bool,
    /// The time for which a call is tried again.
    pub(crate) retry_for: Duration,
}

/// The column, or property, that has colours.
const STATE: &str = "STATE";

/// An answer as text and as JSON. The JSON is the gateway's own, so that nothing a newer one says is lost.
#[derive(Debug)]
pub(crate) struct Report {
    json: Value,
    text: Result<String, serde_json::Error>,
}

impl Report {
    /// A report of a result, and of the text of its typed form.
    pub(crate) fn of<T: DeserializeOwned>(result: Value, text: impl FnOnce(T) -> String) -> Self {
        let text = serde_json::from_value(result.clone()).map(text);
        Self { json: result, text }
    }

    /// A report of both forms as they are.
    pub(crate) fn new(json: Value, text: String) -> Self {
        Self { json, text: Ok(text) }
    }

    /// Returns the JSON form.
    pub(crate) fn json(&self) -> &Value {
        &self.json
    }

    /// A report that prints nothing, for a command that wrote to stdout already.
    pub(crate) fn silent() -> Self {
        Self::new(Value::Null, String::new())
    }

    /// Prints it on stdout.
    pub(crate) fn print(self, format: Format) -> Result<(), CommandError> {
        if self.json.is_null() {
            return Ok(());
        }
        let text = match format {
            Format::Table => self.text.map_err(|error| {
                let message = format!("the gateway's answer is not understood: {error}");
                CommandError::new(Kind::Unexpected, message)
            })?,
            Format::Json => format!("{:#}", self.json),
            Format::Yaml => yaml(&self.json)?,
        };
        put(&format!("{}\n", text.trim_end())).map(drop)
    }
}

/// Returns an answer as YAML.
pub(crate) fn yaml(answer: &Value) -> Result<String, CommandError> {
    serde_saphyr::to_string(answer).map_err(|error| {
        CommandError::new(Kind::Unexpected, format!("the answer cannot be written as YAML: {error}"))
    })
}

/// Writes on stdout at once; returns false if nobody reads it any more.
pub(crate) fn put(text: &str) -> Result<bool, CommandError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads has enough, such as `head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            Err(CommandError::new(Kind::Unexpected, format!("the answer cannot be printed: {error}")))
        }
        Ok(()) => Ok(true),
    }
}

/// Prints a failure on stderr.
pub(crate) fn error(format: Format, error: &CommandError) {
    let text = match format {
        Format::Table => error_text(error),
        Format::Json | Format::Yaml => json!({ "error": error_json(error) }).to_string(),
    };
    say(&text);
}

/// Prints a warning on stderr.
pub(crate) fn warn(format: Format, message: &str) {
    match format {
        Format::Table => {
            say(&format!("{} {}", colour::on_stderr(Ink::Warning, "warning:"), printable(message)));
        }
        Format::Json | Format::Yaml => say(&json!({ "warning": message }).to_string()),
    }
}

/// Returns one line per row, in columns without borders, so that it reads well and is easily cut. The column STATE
/// has colours.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head);
    let rows: Vec<[String; N]> = rows.map(|row| row.map(|cell| printable(&cell).into_owned())).collect();
    table.add_rows(rows.iter().cloned());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    if let Some(at) = head.iter().position(|name| *name == STATE) {
        for (line, row) in lines.iter_mut().skip(1).zip(&rows) {
            *line = colour::state_in(line, &row[..at], &row[at]);
        }
    }
    lines.join("\n")
}

/// Returns one line per property of one thing.
pub(crate) fn details(properties: &[(&str, String)]) -> String {
    let width = properties.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let line = |(name, value): &(&str, String)| {
        let value = printable(value);
        let value = if *name == STATE { colour::state(&value).into() } else { value };
        format!("{name:width$}{value}")
    };
    let lines: Vec<String> = properties.iter().map(line).collect();
    lines.join("\n")
}

fn error_text(failure: &CommandError) -> String {
    let mut text = colour::on_stderr(Ink::Error, "error:") + " ";
    if let Some(at) = failure.flag.as_deref().or(failure.field.as_deref()) {
        text += &format!("{}: ", printable(at));
    }
    text += &printable(&failure.message);
    if let Some(hint) = &failure.hint {
        text += "\n  ";
        text += &colour::on_stderr(Ink::Hint, &format!("hint: {}", printable(hint)));
    }
    text
}

fn error_json(failure: &CommandError) -> Value {
    let mut error = json!({
        "exit_code": failure.kind.exit_code(),
        "kind": failure.word,
        "message": failure.message,
    });
    let more = [
        ("field", failure.field.as_deref()),
        ("flag", failure.flag.as_deref()),
        ("hint", failure.hint.as_deref()),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            error[name] = value.into();
        }
    }
    error
}

fn say(text: &str) {
    // Without stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> CommandError {
        CommandError {
            word: "host_taken".into(),
            field: Some("subdomain".into()),
            flag: Some("-s/--subdomain".into()),
            hint: Some("choose another".into()),
            ..CommandError::new(Kind::Conflict, "a.gw.example is taken\u{1b}[2J")
        }
    }

    #[test]
    fn a_table_has_one_line_per_row_and_no_borders() {
        let rows = [["1".into(), "a".repeat(300)], ["22".into(), "b\nc".into()]];
        let text = table(["ID", "HOST"], rows.into_iter());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["ID  HOST", &format!("1   {}", "a".repeat(300)), "22  b\\nc"]);
    }

    #[test]
    fn details_are_aligned() {
        let text = details(&[("ID", "1".into()), ("METHOD", "random".into())]);
        assert_eq!(text, "ID      1\nMETHOD  random");
    }

    #[test]
    fn a_failure_names_the_flag_and_what_to_do() {
        let text = "error: -s/--subdomain: a.gw.example is taken\\u{1b}[2J\n  hint: choose another";
        assert_eq!(error_text(&taken()), text);
        assert_eq!(error_text(&CommandError::new(Kind::Conflict, "x")), "error: x");
    }

    #[test]
    fn a_failure_in_json_has_all_of_it() {
        let expected = json!({
            "exit_code": 7, "kind": "host_taken", "message": "a.gw.example is taken\u{1b}[2J",
            "field": "subdomain", "flag": "-s/--subdomain", "hint": "choose another",
        });
        assert_eq!(error_json(&taken()), expected);
    }

    #[test]
    fn an_answer_of_another_shape_is_a_fault_in_text_alone() {
        let report = || Report::of(json!({ "new": 1 }), |list: Vec<u8>| format!("{list:?}"));
        assert!(report().print(Format::Table).is_err());
        assert!(report().print(Format::Json).is_ok());
    }
}
