//! Formatting of watched routes: a growing table, JSON lines, or YAML documents.

use gwctl::CallError;
use serde_json::Value;
use webgateway_proto::api::RouteView;
use webgateway_proto::model::KeyId;

use crate::cli::Format;
use crate::colour;
use crate::commands::route_table::{COLUMNS, route_cells};
use crate::diff::RouteEvent;
use crate::error::CommandError;
use crate::output;
use crate::printable::printable;

/// The index of the column STATE. Only the owner follows it.
const STATE: usize = COLUMNS.len() - 1;

/// Formats events, one per line.
pub(super) struct EventFormatter {
    format: Format,
    caller: KeyId,
    /// The widths of the columns before the state. They start wide, so that later lines are mostly aligned with earlier
    /// ones.
    widths: [usize; STATE],
}

/// A row of the table. The owner is shown if it is not the caller.
struct EventRow<'a> {
    sign: &'a str,
    cells: [String; COLUMNS.len()],
    owner: Option<String>,
}

impl EventFormatter {
    pub(super) fn new(format: Format, caller: &KeyId) -> Self {
        Self { format, caller: caller.clone(), widths: [24, 11, 20] }
    }

    /// Formats the routes that exist at the beginning. A table starts with its head.
    pub(super) fn format_initial(&mut self, events: &[RouteEvent]) -> Result<String, CommandError> {
        let lines = self.format(events)?;
        Ok(match self.format {
            Format::Table | Format::Wide => self.head(events) + &lines,
            Format::Json | Format::Yaml => lines,
        })
    }

    /// Formats events, each with its line ending.
    pub(super) fn format(&mut self, events: &[RouteEvent]) -> Result<String, CommandError> {
        match self.format {
            Format::Json => Ok(events.iter().map(|event| format!("{}\n", event.json())).collect()),
            Format::Yaml => {
                let document =
                    |event: &RouteEvent| Ok(format!("---\n{}\n", output::yaml(&event.json())?.trim_end()));
                events.iter().map(document).collect()
            }
            Format::Table | Format::Wide => {
                let rows: Vec<EventRow<'_>> =
                    events.iter().map(|event| self.row(event)).collect::<Result<_, CommandError>>()?;
                for row in &rows {
                    for (width, cell) in self.widths.iter_mut().zip(&row.cells) {
                        *width = (*width).max(cell.chars().count());
                    }
                }
                Ok(rows.iter().map(|row| self.line(row)).collect())
            }
        }
    }

    fn head(&self, events: &[RouteEvent]) -> String {
        let is_others = |event: &RouteEvent| event.route["owner"] != self.caller.as_str();
        let owner = events.iter().any(is_others).then(|| "OWNER".to_owned());
        self.line(&EventRow { sign: "", cells: COLUMNS.map(str::to_owned), owner })
    }

    fn row<'a>(&self, event: &RouteEvent) -> Result<EventRow<'a>, CommandError> {
        let route: RouteView = parse_route(&event.route)?;
        let escape = |cell: String| printable(&cell).into_owned();
        let owner = (route.owner != self.caller.as_str()).then(|| escape(route.owner.clone()));
        Ok(EventRow { sign: event.kind.sign(), cells: route_cells(&route).map(escape), owner })
    }

    fn line(&self, EventRow { sign, cells, owner }: &EventRow<'_>) -> String {
        let mut line = format!("{sign:1}  ");
        for (cell, width) in cells.iter().zip(self.widths) {
            line += &format!("{cell:width$}  ");
        }
        line += &cells[STATE];
        if let Some(owner) = owner {
            line += &format!("  {owner}");
        }
        let line = colour::paint_state_in_line(&line, &cells[..STATE], &cells[STATE]);
        format!("{}{}\n", colour::paint_sign(sign), &line[sign.len()..])
    }
}

fn parse_route(route: &Value) -> Result<RouteView, CommandError> {
    serde_json::from_value(route.clone()).map_err(|error| CallError::Decode(error).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::diff::ChangeKind;

    fn event(kind: ChangeKind, host: &str, owner: &str) -> RouteEvent {
        let route = json!({
            "id": "01999999-9999-7999-8999-999999999999", "owner": owner, "host": host, "mode": "terminate",
            "balance": "random", "backends": ["[400::1]:80"], "state": "suspended", "reason": "suspended: spam\n",
            "version": 7, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        });
        RouteEvent { kind, route }
    }

    #[test]
    fn later_lines_are_aligned_with_the_first_ones() {
        let mut formatter = EventFormatter::new(Format::Table, &"me.pub".parse().unwrap());
        let listed =
            formatter.format_initial(&[event(ChangeKind::Listed, "a.gw.example", "me.pub")]).unwrap();
        let changed = formatter.format(&[event(ChangeKind::Deleted, "b.gw.example", "you.pub")]).unwrap();
        let expected = "   HOST                      MODE         BACKENDS              STATE
   a.gw.example              terminate    [400::1]:80           suspended
-  b.gw.example              terminate    [400::1]:80           suspended  you.pub
";
        assert_eq!(listed + &changed, expected);
    }

    #[test]
    fn json_has_a_line_and_yaml_a_document_per_event() {
        let events = [event(ChangeKind::Created, "a", "me.pub"), event(ChangeKind::Changed, "a", "me.pub")];
        let of =
            |format| EventFormatter::new(format, &"me.pub".parse().unwrap()).format_initial(&events).unwrap();
        let words: Vec<String> = of(Format::Json)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].to_string())
            .collect();
        assert_eq!(words, ["\"created\"", "\"changed\""]);
        let yaml = of(Format::Yaml);
        assert_eq!(yaml.matches("---\nevent: c").count(), 2, "{yaml}");
        assert_eq!(
            EventFormatter::new(Format::Json, &"me.pub".parse().unwrap()).format_initial(&[]).unwrap(),
            ""
        );
    }
}
