//! Output: results on stdout as text, JSON or YAML; errors and warnings on stderr.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cli::Format;
use crate::colour::{self, ColourRole};
use crate::error::{CommandError, FailureKind};
use crate::printable::printable;

/// The options for output and retries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputOptions {
    pub(crate) format: Format,
    pub(crate) verbose: bool,
    /// The time for which failed calls are retried.
    pub(crate) retry_for: Duration,
}

/// The name of the column or property that is printed in colour.
const STATE: &str = "STATE";

/// A result as text and as JSON. The JSON is the gateway's own, so that it keeps the fields of a newer gateway.
#[derive(Debug)]
pub(crate) struct Report {
    json: Value,
    /// The result in YAML, if it differs from the one in JSON.
    yaml: Option<Value>,
    text: Result<String, serde_json::Error>,
}

impl Report {
    /// Creates a report from the gateway's result. `text` formats its typed form.
    pub(crate) fn from_result<T: DeserializeOwned>(result: Value, text: impl FnOnce(T) -> String) -> Self {
        let text = serde_json::from_value(result.clone()).map(text);
        Self { json: result, yaml: None, text }
    }

    /// Creates a report from both forms.
    pub(crate) fn new(json: Value, text: String) -> Self {
        Self { json, yaml: None, text: Ok(text) }
    }

    /// Returns the report with another result in YAML.
    pub(crate) fn with_yaml(self, yaml: Value) -> Self {
        Self { yaml: Some(yaml), ..self }
    }

    /// Returns the result as JSON.
    pub(crate) fn json(&self) -> &Value {
        &self.json
    }

    /// Creates a report that prints nothing, for a command that has already written to stdout.
    pub(crate) fn empty() -> Self {
        Self::new(Value::Null, String::new())
    }

    /// Prints the report on stdout.
    pub(crate) fn print(self, format: Format) -> Result<(), CommandError> {
        if self.json.is_null() {
            return Ok(());
        }
        let text = match format {
            Format::Table | Format::Wide => self.text.map_err(|error| {
                let message = format!("the gateway's response has an unexpected format: {error}");
                CommandError::new(FailureKind::Unexpected, message)
            })?,
            Format::Json => format!("{:#}", self.json),
            Format::Yaml => yaml(self.yaml.as_ref().unwrap_or(&self.json))?,
        };
        write_stdout(&format!("{}\n", text.trim_end())).map(drop)
    }
}

/// Converts a result to YAML.
pub(crate) fn yaml(result: &Value) -> Result<String, CommandError> {
    serde_saphyr::to_string(result).map_err(|error| {
        CommandError::new(FailureKind::Unexpected, format!("the result cannot be written as YAML: {error}"))
    })
}

/// Writes to stdout without buffering; returns false if the reader has closed the pipe.
pub(crate) fn write_stdout(text: &str) -> Result<bool, CommandError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader such as `head` exits before the end: that is no error.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            Err(CommandError::new(FailureKind::Unexpected, format!("the result cannot be printed: {error}")))
        }
        Ok(()) => Ok(true),
    }
}

/// Prints an error on stderr.
pub(crate) fn error(format: Format, error: &CommandError) {
    let text = match format {
        Format::Table | Format::Wide => error_text(error),
        Format::Json | Format::Yaml => json!({ "error": error_json(error) }).to_string(),
    };
    write_stderr(&text);
}

/// Prints a warning on stderr.
pub(crate) fn warn(format: Format, message: &str) {
    match format {
        Format::Table | Format::Wide => {
            write_stderr(&format!(
                "{} {}",
                colour::paint_stderr(ColourRole::Warning, "warning:"),
                printable(message)
            ));
        }
        Format::Json | Format::Yaml => write_stderr(&json!({ "warning": message }).to_string()),
    }
}

/// Formats a table with one line per row, in columns without borders. The column STATE is coloured.
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
            *line = colour::paint_state_in_line(line, &row[..at], &row[at]);
        }
    }
    lines.join("\n")
}

/// Formats the properties of an object, one per line.
pub(crate) fn details(properties: &[(&str, String)]) -> String {
    let width = properties.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let line = |(name, value): &(&str, String)| {
        let value = printable(value);
        let value = if *name == STATE { colour::paint_state(&value).into() } else { value };
        format!("{name:width$}{value}")
    };
    let lines: Vec<String> = properties.iter().map(line).collect();
    lines.join("\n")
}

fn error_text(failure: &CommandError) -> String {
    let mut text = colour::paint_stderr(ColourRole::Error, "error:") + " ";
    if let Some(at) = failure.flag.as_deref().or(failure.field.as_deref()) {
        text += &format!("{}: ", printable(at));
    }
    text += &printable(&failure.message);
    if let Some(hint) = &failure.hint {
        text += "\n  ";
        text += &colour::paint_stderr(ColourRole::Hint, &format!("hint: {}", printable(hint)));
    }
    text
}

fn error_json(failure: &CommandError) -> Value {
    let mut error = json!({
        "exit_code": failure.kind.exit_code(),
        "kind": failure.identifier,
        "message": failure.message,
    });
    let optional = [
        ("field", failure.field.as_deref()),
        ("flag", failure.flag.as_deref()),
        ("hint", failure.hint.as_deref()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            error[name] = value.into();
        }
    }
    error
}

fn write_stderr(text: &str) {
    // If stderr is closed, the message is lost: that is no reason to fail.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_taken() -> CommandError {
        CommandError {
            identifier: "host_taken".into(),
            field: Some("subdomain".into()),
            flag: Some("-s/--subdomain".into()),
            hint: Some("choose another".into()),
            ..CommandError::new(FailureKind::Conflict, "a.gw.example is taken\u{1b}[2J")
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
    fn an_error_shows_the_flag_and_the_hint() {
        let text = "error: -s/--subdomain: a.gw.example is taken\\u{1b}[2J\n  hint: choose another";
        assert_eq!(error_text(&host_taken()), text);
        assert_eq!(error_text(&CommandError::new(FailureKind::Conflict, "x")), "error: x");
    }

    #[test]
    fn an_error_in_json_has_all_fields() {
        let expected = json!({
            "exit_code": 7, "kind": "host_taken", "message": "a.gw.example is taken\u{1b}[2J",
            "field": "subdomain", "flag": "-s/--subdomain", "hint": "choose another",
        });
        assert_eq!(error_json(&host_taken()), expected);
    }

    #[test]
    fn an_unexpected_result_is_an_error_in_text_only() {
        let report = || Report::from_result(json!({ "new": 1 }), |list: Vec<u8>| format!("{list:?}"));
        assert!(report().print(Format::Table).is_err());
        assert!(report().print(Format::Json).is_ok());
    }
}
