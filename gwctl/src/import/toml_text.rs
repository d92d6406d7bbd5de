//! TOML, written key by key in the order that reads best.

use std::fmt::Write;

use toml::Value;

/// A file that is being written.
pub(super) struct TomlText(String);

impl TomlText {
    /// Begins with a comment.
    pub(super) fn new(comment: &str) -> Self {
        Self(format!("# {comment}\n"))
    }

    /// `[name]`
    pub(super) fn table(&mut self, name: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "\n[{name}]");
    }

    /// `key = "text"`, if there is one.
    pub(super) fn text(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.value(key, &Value::from(text));
        }
    }

    /// `key = number`, if there is one.
    pub(super) fn number(&mut self, key: &str, number: Option<u16>) {
        if let Some(number) = number {
            self.value(key, &Value::from(i64::from(number)));
        }
    }

    /// `key = ["text", …]`, unless it is empty.
    pub(super) fn list(&mut self, key: &str, list: &[String]) {
        if !list.is_empty() {
            self.value(key, &Value::Array(list.iter().map(|text| Value::from(text.as_str())).collect()));
        }
    }

    fn value(&mut self, key: &str, value: &Value) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    /// The whole file.
    pub(super) fn finish(self) -> String {
        self.0
    }
}
