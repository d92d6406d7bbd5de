//! The reference of a program's keys in Markdown, of which `docs/configuration.md` is made.

use super::key::{Key, Kind, Program};

/// Returns the page with the part about `program` made anew from its keys; the part stands between the comments
/// `<!-- begin NAME -->` and `<!-- end NAME -->`. `None` if the page has no such part.
#[must_use]
pub fn renew(page: &str, program: &Program) -> Option<String> {
    let [begin, end] = ["begin", "end"].map(|word| format!("<!-- {word} {} -->", program.name));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    let entries: String = program.keys.iter().map(entry).collect();
    Some(format!("{before}{begin}\n{entries}\n{end}{after}"))
}

fn entry(key: &Key) -> String {
    let (meaning, default) = key.meaning_and_default();
    let default = match (key.default_value(), default) {
        (Some(value), _) => format!("default `{value}`"),
        (None, Some(words)) => format!("default: {words}"),
        (None, None) => "required".to_owned(),
    };
    let (kind, flag, variable) = (key.kind.describe(), key.flag(), key.variable());
    let reload = if key.is_live { "reloaded by SIGHUP" } else { "needs a restart" };
    let path = key.path;
    format!("\n### `{path}`\n\n{meaning}.\n\n{kind} · {default} · `{flag}` · `{variable}` · {reload}\n")
}

impl Kind {
    const fn describe(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Duration => "Duration, such as `30s` or `1h`",
            Self::Address => "`ADDRESS:PORT`",
            Self::Path => "Path",
            Self::Integer => "Whole number",
            Self::Bool => "`true` or `false`",
            Self::List => "List of texts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[Key] = &[
        Key::duration("a.b_c", "The time for it [default: 5s]"),
        Key::list("d", "The names [default: none]").live(),
        Key::text("e", "The domain. It has a name [required]"),
    ];

    #[test]
    fn the_part_of_a_program_is_made_of_its_keys() {
        let program = Program { name: "x", about: "", keys: KEYS, verbs: &[] };
        let page = "# Before\n<!-- begin x -->\nold\n<!-- end x -->\nafter\n";
        let page = renew(page, &program).unwrap();
        let entries = [
            "### `a.b_c`\n\nThe time for it.\n\nDuration, such as `30s` or `1h` · default `5s` · `--a-b-c` · `WEBGATEWAY_A_B_C` · needs a restart",
            "### `d`\n\nThe names.\n\nList of texts · default: none · `--d` · `WEBGATEWAY_D` · reloaded by SIGHUP",
            "### `e`\n\nThe domain. It has a name.\n\nText · required · `--e` · `WEBGATEWAY_E` · needs a restart",
        ]
        .join("\n\n");
        let expected = format!("# Before\n<!-- begin x -->\n\n{entries}\n\n<!-- end x -->\nafter\n");
        assert_eq!(page, expected);
        assert_eq!(renew(&page, &program), Some(page), "twice is once");
        assert_eq!(renew("# Nothing", &program), None);
    }
}
