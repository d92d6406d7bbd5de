//! The output of a watch: a table that goes on, JSON Lines, or YAML documents.

use gwctl::CallError;
use serde_json::Value;
use webgateway_proto::api::RouteView;
use webgateway_proto::model::KeyId;

use crate::cli::Format;
use crate::colour;
use crate::commands::routes::{HEAD, columns};
use crate::difference::Event;
use crate::error::CommandError;
use crate::output;
use crate::printable::printable;

/// The place of the state among the columns; the owner comes after it.
const STATE: usize = HEAD.len() - 1;

/// Writes events, each on a line of its own.
pub(super) struct Lines {
    format: Format,
    caller: KeyId,
    /// The widths of the columns before the state: later lines mostly stand below the first ones.
    widths: [usize; STATE],
}

/// A row of the table: the sign, the columns, and the owner if it is not the caller.
struct Row<'a> {
    sign: &'a str,
    columns: [String; HEAD.len()],
    owner: Option<String>,
}

impl Lines {
    pub(super) fn new(format: Format, caller: &KeyId) -> Self {
        Self { format, caller: caller.clone(), widths: [36, 24, 11, 11, 18] }
    }

    /// Returns the lines of what was there first; the table has a head.
    pub(super) fn listed(&mut self, events: &[Event]) -> Result<String, CommandError> {
        let lines = self.of(events)?;
        Ok(match self.format {
            Format::Table => self.head(events) + &lines,
            Format::Json | Format::Yaml => lines,
        })
    }

    /// Returns the events' lines, each with its end.
    pub(super) fn of(&mut self, events: &[Event]) -> Result<String, CommandError> {
        match self.format {
            Format::Json => Ok(events.iter().map(|event| format!("{}\n", event.json())).collect()),
            Format::Yaml => {
                let document =
                    |event: &Event| Ok(format!("---\n{}\n", output::yaml(&event.json())?.trim_end()));
                events.iter().map(document).collect()
            }
            Format::Table => {
                let rows: Vec<Row<'_>> =
                    events.iter().map(|event| self.row(event)).collect::<Result<_, CommandError>>()?;
                for row in &rows {
                    for (width, cell) in self.widths.iter_mut().zip(&row.columns) {
                        *width = (*width).max(cell.chars().count());
                    }
                }
                Ok(rows.iter().map(|row| self.line(row)).collect())
            }
        }
    }

    fn head(&self, events: &[Event]) -> String {
        let is_others = |event: &Event| event.route["owner"] != self.caller.as_str();
        let owner = events.iter().any(is_others).then(|| "OWNER".to_owned());
        self.line(&Row { sign: "", columns: HEAD.map(str::to_owned), owner })
    }

    fn row<'a>(&self, event: &Event) -> Result<Row<'a>, CommandError> {
        let route: RouteView = read(&event.route)?;
        let safe = |cell: String| printable(&cell).into_owned();
        let owner = (route.owner != self.caller.as_str()).then(|| safe(route.owner.clone()));
        Ok(Row { sign: event.kind.sign(), columns: columns(&route).map(safe), owner })
    }

    fn line(&self, Row { sign, columns, owner }: &Row<'_>) -> String {
        let mut line = format!("{sign:1}  ");
        for (cell, width) in columns.iter().zip(self.widths) {
            line += &format!("{cell:width$}  ");
        }
        line += &columns[STATE];
        if let Some(owner) = owner {
            line += &format!("  {owner}");
        }
        let line = colour::state_in(&line, &columns[..STATE], &columns[STATE]);
        format!("{}{}\n", colour::sign(sign), &line[sign.len()..])
    }
}

fn read(route: &Value) -> Result<RouteView, CommandError> {
    serde_json::from_value(route.clone()).map_err(|error| CallError::Decode(error).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::difference::ChangeKind;

    fn event(kind: ChangeKind, host: &str, owner: &str) -> Event {
        let route = json!({
            "id": "01999999-9999-7999-8999-999999999999", "owner": owner, "host": host, "mode": "terminate",
            "balance": "random", "backends": ["[400::1]:80"], "state": "suspended", "reason": "suspended: spam\n",
            "version": 7, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        });
        Event { kind, route }
    }

    #[test]
    fn later_lines_stand_below_the_first_ones() {
        let mut lines = Lines::new(Format::Table, &"me.pub".parse().unwrap());
        let listed = lines.listed(&[event(ChangeKind::Listed, "a.gw.example", "me.pub")]).unwrap();
        let changed = lines.of(&[event(ChangeKind::Deleted, "b.gw.example", "you.pub")]).unwrap();
        let expected = "   ID                                    HOST                      MODE         METHOD       BACKENDS            STATE
   01999999-9999-7999-8999-999999999999  a.gw.example              terminate    random       [400::1]:80         suspended: spam\\n
-  01999999-9999-7999-8999-999999999999  b.gw.example              terminate    random       [400::1]:80         suspended: spam\\n  you.pub
";
        assert_eq!(listed + &changed, expected);
    }

    #[test]
    fn programs_read_a_line_or_a_document_each() {
        let events = [event(ChangeKind::Created, "a", "me.pub"), event(ChangeKind::Changed, "a", "me.pub")];
        let of = |format| Lines::new(format, &"me.pub".parse().unwrap()).listed(&events).unwrap();
        let words: Vec<String> = of(Format::Json)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].to_string())
            .collect();
        assert_eq!(words, ["\"created\"", "\"changed\""]);
        let yaml = of(Format::Yaml);
        assert_eq!(yaml.matches("---\nevent: c").count(), 2, "{yaml}");
        assert_eq!(Lines::new(Format::Json, &"me.pub".parse().unwrap()).listed(&[]).unwrap(), "");
    }
}
