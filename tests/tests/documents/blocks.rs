//! Code blocks: a tag after the language says how each is tested.

use std::process::Command;

use webgateway_tests::document::{Block, Document, root};

/// The tags of blocks of commands, and what each means.
const COMMANDS: &[(&str, &str)] = &[
    ("run", "run in a story, `tests/tests/stories/documents.rs`, against a real gateway"),
    ("until-interrupted", "started there, and ended by Ctrl-C once it has printed something"),
    ("dev", "run in the story of `make dev`, `tests/tests/stories/tour.rs`"),
    ("make", "targets of the Makefile: `make -n` knows them"),
    ("cargo", "packages, tests and examples that exist"),
    ("real-machine", "not run: it changes the machine, or needs more than one; its syntax is checked"),
];

/// The tags of configurations; the story checks them with `--check`.
const CONFIGURATIONS: &[&str] = &["controlplane", "dataplane"];

/// Returns what is wrong with the blocks of a document.
pub(crate) fn findings(document: &Document) -> Vec<String> {
    let blocks = match document.blocks() {
        Ok(blocks) => blocks,
        Err(error) => return vec![error.to_string()],
    };
    let wrong = blocks.iter().filter_map(|block| Some(format!("line {}: {}", block.line, wrong(block)?)));
    let spans = document.spans();
    let unknown = spans.iter().skip(1).step_by(2).filter_map(|span| unknown_command(span));
    wrong.chain(unknown).collect()
}

fn wrong(block: &Block) -> Option<String> {
    match block.language.as_str() {
        "sh" if !COMMANDS.iter().any(|(tag, _)| *tag == block.tag) => {
            let tags = COMMANDS.iter().map(|(tag, meaning)| format!("`sh {tag}`: {meaning}"));
            Some(format!("`sh {}` does not say how it is tested; write\n{}", block.tag, join(tags)))
        }
        "sh" => syntax(&block.text).or_else(|| block.text.lines().find_map(unknown_command)),
        "bash" | "shell" | "console" => Some("commands are in `sh` blocks".to_owned()),
        "toml" if !CONFIGURATIONS.contains(&block.tag.as_str()) => {
            Some(format!("`toml` needs one of the tags {}", CONFIGURATIONS.join(", ")))
        }
        "" if block.text.contains("gwctl ") && !block.text.contains('▶') => {
            Some("commands are in `sh` blocks".to_owned())
        }
        _ => None,
    }
}

fn join(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Returns what bash says about a script that it cannot parse.
fn syntax(script: &str) -> Option<String> {
    let checked = Command::new("bash").args(["-n", "-c", script]).output().unwrap();
    (!checked.status.success()).then(|| String::from_utf8_lossy(&checked.stderr).into_owned())
}

/// Returns a complaint about a `make` or `cargo` command that names what does not exist.
fn unknown_command(command: &str) -> Option<String> {
    let command = command.split(" #").next().unwrap_or_default().trim();
    if command.starts_with("make ") {
        let script = format!("make -n --no-print-directory {}", command.trim_start_matches("make "));
        let checked = Command::new("bash").args(["-c", &script]).current_dir(root()).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        return (!checked.status.success()).then(|| format!("`{command}`: {said}"));
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    if !words.contains(&"cargo") || !words.contains(&"-p") {
        return None;
    }
    let unknown = words.windows(2).find(|pair| match pair[0] {
        "-p" => !packages().iter().any(|package| package == pair[1]),
        "--test" => !root().join("tests/tests").join(pair[1]).join("main.rs").is_file(),
        "--example" => !root().join("gwctl/examples").join(pair[1]).with_extension("rs").is_file(),
        _ => false,
    });
    unknown.map(|pair| format!("`{command}`: there is no {}", pair[1]))
}

fn packages() -> Vec<String> {
    let workspace = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let own = workspace.split("[[package]]").filter(|package| !package.contains("\nsource = "));
    let name =
        |package: &str| package.lines().find_map(|line| line.strip_prefix("name = ")).map(str::to_owned);
    own.filter_map(name).map(|name| name.trim_matches('"').to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        findings(&Document::of(text)).len()
    }

    #[test]
    fn a_block_needs_a_tag() {
        for good in
            ["```sh run\ntrue\n```", "```sh real-machine\nreboot\n```", "```\nplain\n```", "```json\n{}\n```"]
        {
            assert_eq!(found(good), 0, "{good}");
        }
        for bad in [
            "```sh\ntrue\n```",
            "```sh somehow\ntrue\n```",
            "```bash\ntrue\n```",
            "```\ngwctl routes list\n```",
            "```sh run\nif\n```",
            "```sh run\nno end",
            "```toml\nx = 1\n```",
        ] {
            assert_eq!(found(bad), 1, "{bad}");
        }
    }

    #[test]
    fn what_is_named_exists() {
        for good in [
            "`make build`",
            "```sh make\nmake sim SIM=\"--nodes 1\" # so\n```",
            "`cargo test -p gwctl`",
            "```sh cargo\ncargo test -p webgateway-tests --test stories -- x\n```",
        ] {
            assert_eq!(found(good), 0, "{good}");
        }
        for bad in [
            "`make nothing`",
            "```sh make\nmake build\nmake nothing\n```",
            "`UPDATE=1 cargo test -p nothing`",
            "`cargo test -p webgateway-tests --test nothing`",
            "`cargo run -p gwctl --example nothing`",
        ] {
            assert_eq!(found(bad), 1, "{bad}");
        }
    }
}
