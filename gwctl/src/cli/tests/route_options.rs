//! The generator of `docs/route-options.md` from the model and the flags. `UPDATE=1 cargo test -p gwctl route_options`
//! writes it.

use std::fmt::Write;
use std::path::Path;

use clap::{Arg, CommandFactory};
use schemars::generate::SchemaSettings;
use serde_json::Value;
use webgateway_proto::model::RouteOptions;

use crate::cli::Cli;
use crate::cli::options::HEADING;

const HEAD: &str = "\
# Route options

The options of a route are its settings beyond host, mode and backends. The API, the file for `gwctl routes apply` and
the feed file use the names below; `gwctl routes create` and `gwctl routes update` have flags for each option. In an
update, an option that is left out keeps its value, and `null` (`--reset NAME`) resets it to its default. A node that is
older than the controlplane may not know an option. It never ignores such an option: it rejects the route, reports the
rejection, and keeps serving the previous version of the route.
";

#[test]
fn every_option_has_flags_and_is_documented() {
    let page = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/route-options.md");
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(&path, page).unwrap();
    }
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    let update = "UPDATE=1 cargo test -p gwctl route_options";
    assert!(current == page, "docs/route-options.md is out of date; to update it: {update}");
}

fn page() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<RouteOptions>();
    let properties = schema.as_value()["properties"].clone();
    let (default, sample) = (json(&RouteOptions::default()), json(&RouteOptions::sample()));
    let mut page = HEAD.to_owned();
    for name in RouteOptions::NAMES {
        let described = properties[name]["description"].as_str().unwrap();
        let default = default.get(name).cloned().unwrap_or_default();
        let sample = &sample[name];
        let default = if default.is_null() { "none".to_owned() } else { format!("`{default}`") };
        write!(page, "\n## {name}\n\n{described}\nDefault: {default}. Example: `\"{name}\": {sample}`.\n\n")
            .unwrap();
        let flags = flags_of(name);
        assert!(!flags.is_empty(), "`{name}` has no flag of the same name");
        page.extend(flags.iter().map(flag_text));
    }
    page
}

fn json(options: &RouteOptions) -> Value {
    serde_json::to_value(options).unwrap()
}

/// Returns the flags of an option. They have its name, except for `--method`.
fn flags_of(option: &str) -> Vec<Arg> {
    let root = Cli::command();
    let create = root.find_subcommand("routes").and_then(|routes| routes.find_subcommand("create")).unwrap();
    let name = option.replace('_', "-").replace("balance", "method");
    let is_named = |arg: &&Arg| {
        let long = arg.get_long().unwrap_or_default();
        long == name || long.strip_prefix(&name).is_some_and(|rest| rest.starts_with('-'))
    };
    let options = create.get_arguments().filter(|arg| arg.get_help_heading() == Some(HEADING));
    options.filter(is_named).cloned().collect()
}

fn flag_text(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    if !arg.get_action().takes_values() {
        return format!("- `{short}--{}`: {}\n", arg.get_long().unwrap(), arg.get_help().unwrap());
    }
    let names = arg.get_value_names().unwrap_or_default();
    let values: String = names.iter().map(|name| format!(" <{name}>")).collect();
    let help = arg.get_help().unwrap().to_string();
    let mut text = format!("- `{short}--{}{values}`: {help}\n", arg.get_long().unwrap());
    for value in arg.get_possible_values() {
        let meaning = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
        writeln!(text, "  - `{}`{meaning}", value.get_name()).unwrap();
    }
    text
}
