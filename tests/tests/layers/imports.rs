//! The direction of imports: a module imports only from earlier ones in the order.

use crate::crates::{Crate, ROOT, is_below};
use crate::graph::Graph;
use crate::order::Layers;

/// Returns the modules without an entry in the order, and the imports of later modules.
///
/// The crate root may import everything. A child may import from its parent: if the parent imports the child as well,
/// that is a cycle.
pub(crate) fn findings(krate: &Crate, graph: &Graph, layers: &Layers) -> Vec<String> {
    let without_place = krate
        .modules
        .keys()
        .filter(|module| *module != ROOT && layers.rank(module).is_none())
        .map(|module| format!("`{module}` has no place in the order of {} yet", layers.src));
    let backwards = graph.edges().filter_map(|(from, to, name)| {
        let ((own, _), (rank, _)) = (layers.rank(from)?, layers.rank(to)?);
        let is_wrong = rank > own && !is_below(from, to);
        is_wrong.then(|| format!("`{from}` imports `{to}` ({name}), which is later in the order"))
    });
    without_place.chain(backwards).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crates::crates;
    use crate::source::Source;

    const LAYERS: Layers = Layers {
        src: "x/src",
        modules: &["config", "snapshot::table", "snapshot", "feed::apply", "feed", "app"],
    };

    /// Returns the findings of a crate in which one module has this text.
    fn findings_in(text: &str, module: &str) -> Vec<String> {
        let files = [
            ("lib", "mod config; mod snapshot; mod feed; mod app;"),
            ("config", "pub struct Config;"),
            ("snapshot", "mod table; pub use table::Table; pub struct Snapshot;"),
            ("snapshot::table", "pub struct Table;"),
            ("feed", "mod apply; mod client; pub use client::Client; pub use apply::Apply; pub struct Feed;"),
            ("feed::apply", "pub struct Apply;"),
            ("feed::client", "pub struct Client;"),
            ("app", "pub struct App;"),
        ];
        let text_of =
            |name: &str, usual: &str| if name == module { text.to_owned() } else { usual.to_owned() };
        let source = |(name, usual): (&str, &str)| Source {
            path: format!("x/src/{}.rs", name.replace("::", "/")),
            text: text_of(name, usual),
        };
        let mut sources: Vec<Source> = files.into_iter().map(source).collect();
        if !files.iter().any(|(name, _)| *name == module) {
            sources.push(source((module, text)));
        }
        let found = crates(&sources);
        findings(&found[0], &Graph::of(&found[0]), &LAYERS)
    }

    #[test]
    fn imports_of_later_modules_are_found() {
        assert!(findings_in("use crate::config::Config;", "feed::apply").is_empty());
        assert!(findings_in("use crate::snapshot::Snapshot;", "feed::apply").is_empty());
        assert_eq!(findings_in("use crate::feed::Feed;", "config").len(), 1);
        assert_eq!(findings_in("use crate::{config::Config, app::App};", "feed::client").len(), 1);
        assert_eq!(findings_in("fn f() { crate::feed::apply::run() }", "snapshot::table").len(), 1);
    }

    #[test]
    fn a_re_export_counts_as_its_defining_module() {
        assert!(findings_in("use crate::feed::Apply;", "feed::client").is_empty());
        assert!(findings_in("use super::Apply;", "feed::client").is_empty());
        assert_eq!(findings_in("use super::Client;", "feed::apply").len(), 1);
        assert_eq!(findings_in("use crate::feed; fn f(_: feed::Client) {}", "snapshot").len(), 1);
    }

    #[test]
    fn a_child_may_import_from_its_parent() {
        assert!(findings_in("use super::Snapshot;", "snapshot::table").is_empty());
        assert!(findings_in("use crate::snapshot::Snapshot;", "snapshot::table").is_empty());
    }

    #[test]
    fn a_module_needs_an_entry() {
        assert_eq!(findings_in("", "surprise").len(), 1);
    }
}
