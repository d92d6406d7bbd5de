//! Rules for single files: the first line, the length, the name, and the libraries that may be used.

use crate::source::Source;

const MAX_LINES: usize = 400;
const VAGUE_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "types", "manager", "misc"];

/// Libraries and generated modules, each with the only places that may use it.
const RESTRICTED: &[(&str, &[&str])] = &[
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

/// The files that map errors to status codes, without a default arm for new errors.
const STATUS_TABLES: &[&str] = &[
    "dataplane/src/http/error.rs",
    "controlplane/src/api/errors.rs",
    "controlplane/src/api/errors/authentication.rs",
];

/// Returns the rules that the file breaks by itself.
pub(crate) fn findings(source: &Source) -> Vec<String> {
    let rules = [
        has_module_comment,
        is_short_enough,
        has_specific_name,
        uses_allowed_libraries,
        has_no_default_status,
    ];
    rules.iter().filter_map(|rule| rule(source)).collect()
}

fn has_module_comment(source: &Source) -> Option<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let has_text = first.strip_prefix("//! ").is_some_and(|rest| !rest.trim().is_empty());
    (!has_text).then(|| "does not begin with a `//!` line on the responsibility of the module".into())
}

fn is_short_enough(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > MAX_LINES).then(|| format!("has {lines} lines, at most {MAX_LINES} are allowed"))
}

fn has_specific_name(source: &Source) -> Option<String> {
    let parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    let vague = parts.into_iter().find(|part| VAGUE_NAMES.contains(part))?;
    Some(format!("`{vague}` does not say what the module is for"))
}

fn uses_allowed_libraries(source: &Source) -> Option<String> {
    let code = source.code();
    let (word, places) = RESTRICTED.iter().find(|(word, places)| {
        has_name(&code, word) && !places.iter().any(|place| source.is_in(place)) && !source.is_in("tests")
    })?;
    Some(format!("uses `{word}`, which only {} may", places.join(", ")))
}

/// Returns true if the code contains the word, not as the end of a longer one.
fn has_name(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '"')
    })
}

fn has_no_default_status(source: &Source) -> Option<String> {
    let is_table = STATUS_TABLES.contains(&source.path.as_str());
    (is_table && source.code().contains("_ =>")).then(|| "has a `_ =>`: name every error".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_file_needs_a_module_comment() {
        assert!(findings(&file("a/src/b.rs", "//! This.\n")).is_empty());
        assert_eq!(findings(&file("a/src/b.rs", "use x;\n")).len(), 1);
        assert_eq!(findings(&file("a/src/b.rs", "//! \nuse x;\n")).len(), 1);
        assert_eq!(findings(&file("a/src/b.rs", "//!\n")).len(), 1);
    }

    #[test]
    fn a_file_has_at_most_400_lines() {
        let text = |lines: usize| format!("//! This.\n{}", "x\n".repeat(lines - 1));
        assert!(findings(&file("a/src/b.rs", &text(400))).is_empty());
        assert_eq!(findings(&file("a/src/b.rs", &text(401))).len(), 1);
    }

    #[test]
    fn vague_names_are_refused() {
        for path in ["a/src/util.rs", "a/src/common/x.rs", "a/src/types/mod.rs", "a/src/manager.rs"] {
            assert_eq!(findings(&file(path, "//! This.\n")).len(), 1, "{path}");
        }
        assert!(findings(&file("a/src/utility_bill.rs", "//! This.\n")).is_empty());
    }

    #[test]
    fn libraries_are_used_in_their_places_only() {
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
        let allowed = "//! This.\n// diesel does it\nlet hardwire::X = \"diesel\";\n";
        assert!(findings(&file("dataplane/src/feed/apply.rs", allowed)).is_empty());
    }

    #[test]
    fn a_status_table_has_no_default() {
        let text = "//! This.\nmatch error {\n    _ => 500,\n}\n";
        assert_eq!(findings(&file("dataplane/src/http/error.rs", text)).len(), 1);
        assert!(findings(&file("dataplane/src/http/body.rs", text)).is_empty());
    }
}
