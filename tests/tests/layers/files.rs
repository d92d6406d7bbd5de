//! Rules that need one file alone: its first line, its length, its name, and what it may name.

use crate::source::Source;

const LONGEST: usize = 400;
const NAMES_THAT_SAY_NOTHING: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "types", "manager", "misc"];

/// A library or generated module, and the only places whose code may name it.
const DOORS: &[(&str, &[&str])] = &[
    (
        "wire::",
        &[
            "proto/src/feed",
            "dataplane/src/controlplane.rs",
            "dataplane/src/feed/client.rs",
            "dataplane/src/feed/enrolment.rs",
            "controlplane/src/feed/server.rs",
            "controlplane/src/feed/enrolment.rs",
            "controlplane/src/feed/enrolment",
            "controlplane/src/feed/server",
        ],
    ),
    ("webgateway_proto::api", &["controlplane/src/api", "gwctl/src"]),
    ("diesel", &["controlplane/src/store.rs", "controlplane/src/store"]),
    ("libsqlite3_sys", &["controlplane/src/store"]),
    ("hickory_", &["controlplane/src/dns"]),
    ("instant_acme", &["controlplane/src/certs/acme.rs", "controlplane/src/certs/acme"]),
];

/// The files in which errors become status codes: a new error must not fall into a default.
const TABLES: &[&str] = &[
    "dataplane/src/http/error.rs",
    "controlplane/src/api/errors.rs",
    "controlplane/src/api/errors/authentication.rs",
];

/// Returns the rules that the file breaks by itself.
pub(crate) fn findings(source: &Source) -> Vec<String> {
    let rules = [says_what_it_is, is_short, has_a_telling_name, keeps_behind_doors, has_no_default_status];
    rules.iter().filter_map(|rule| rule(source)).collect()
}

fn says_what_it_is(source: &Source) -> Option<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let says = first.strip_prefix("//! ").is_some_and(|rest| !rest.trim().is_empty());
    (!says).then(|| "does not begin with a `//!` line that says what lives there".into())
}

fn is_short(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > LONGEST).then(|| format!("has {lines} lines, at most {LONGEST} are allowed"))
}

fn has_a_telling_name(source: &Source) -> Option<String> {
    let parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    let empty = parts.into_iter().find(|part| NAMES_THAT_SAY_NOTHING.contains(part))?;
    Some(format!("`{empty}` does not say what lives there"))
}

fn keeps_behind_doors(source: &Source) -> Option<String> {
    let code = source.code();
    let (word, doors) = DOORS.iter().find(|(word, doors)| {
        names(&code, word) && !doors.iter().any(|door| source.is_in(door)) && !source.is_in("tests")
    })?;
    Some(format!("names `{word}`, which only {} may", doors.join(", ")))
}

/// Returns true if the word stands in the code and is not the end of a longer one.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '"')
    })
}

fn has_no_default_status(source: &Source) -> Option<String> {
    let is_table = TABLES.contains(&source.path.as_str());
    (is_table && source.code().contains("_ =>")).then(|| "has a `_ =>`: name every error".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert!(findings(&file("a/src/b.rs", "//! This.\n")).is_empty());
        assert_eq!(findings(&file("a/src/b.rs", "use x;\n")).len(), 1);
        assert_eq!(findings(&file("a/src/b.rs", "//! \nuse x;\n")).len(), 1);
        assert_eq!(findings(&file("a/src/b.rs", "//!\n")).len(), 1);
    }

    #[test]
    fn a_file_is_short() {
        let text = |lines: usize| format!("//! This.\n{}", "x\n".repeat(lines - 1));
        assert!(findings(&file("a/src/b.rs", &text(400))).is_empty());
        assert_eq!(findings(&file("a/src/b.rs", &text(401))).len(), 1);
    }

    #[test]
    fn a_name_tells() {
        for path in ["a/src/util.rs", "a/src/common/x.rs", "a/src/types/mod.rs", "a/src/manager.rs"] {
            assert_eq!(findings(&file(path, "//! This.\n")).len(), 1, "{path}");
        }
        assert!(findings(&file("a/src/utility_bill.rs", "//! This.\n")).is_empty());
    }

    #[test]
    fn libraries_stay_behind_their_doors() {
        let text = "//! This.\nuse diesel::prelude::*;\n";
        assert!(findings(&file("controlplane/src/store/users.rs", text)).is_empty());
        assert_eq!(findings(&file("controlplane/src/stores.rs", text)).len(), 1);
        assert_eq!(findings(&file("controlplane/src/domain/x.rs", text)).len(), 1);
        let text = "//! This.\nuse webgateway_proto::feed::wire::Put;\n";
        assert!(findings(&file("dataplane/src/feed/client.rs", text)).is_empty());
        assert_eq!(findings(&file("dataplane/src/feed/apply.rs", text)).len(), 1);
        let text = "//! This.\nuse webgateway_proto::api::RouteView;\n";
        assert!(findings(&file("controlplane/src/api/methods/routes.rs", text)).is_empty());
        assert_eq!(findings(&file("controlplane/src/domain/routes.rs", text)).len(), 1);
        let innocent = "//! This.\n// diesel does it\nlet hardwire::X = \"diesel\";\n";
        assert!(findings(&file("dataplane/src/feed/apply.rs", innocent)).is_empty());
    }

    #[test]
    fn a_table_has_no_default() {
        let text = "//! This.\nmatch error {\n    _ => 500,\n}\n";
        assert_eq!(findings(&file("dataplane/src/http/error.rs", text)).len(), 1);
        assert!(findings(&file("dataplane/src/http/body.rs", text)).is_empty());
    }
}
