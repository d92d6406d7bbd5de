//! Code blocks of documents: a tag after the language says how each is tested.

use std::fs;
use std::process::Command;

use anyhow::Result;
use webgateway_tests::document::{Block, Document, root};

/// The tags of blocks of commands, and what each means.
const COMMANDS: &[(&str, &str)] = &[
    ("run", "run in a scenario, `tests/tests/scenarios/documents.rs`, against a real gateway"),
    ("until-interrupted", "started there, and stopped by Ctrl-C once it has printed something"),
    ("dev", "run in the scenario of `make dev`, `tests/tests/scenarios/make_dev.rs`"),
    ("make", "targets of the Makefile: `make -n` knows them"),
    ("cargo", "packages, tests and examples that exist"),
    ("real-machine", "not run: it changes the machine, or needs more than one; its syntax is checked"),
];

/// The tags of configurations, which a scenario checks with `--check`.
const CONFIGURATIONS: &[&str] = &["controlplane", "dataplane"];

/// Returns the errors in the blocks and commands of a document.
pub(crate) fn findings(document: &Document) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for block in document.blocks()? {
        findings.extend(error_in(&block)?.map(|wrong| format!("line {}: {wrong}", block.line)));
    }
    for span in document.spans().iter().skip(1).step_by(2) {
        findings.extend(unknown_command(span)?);
    }
    Ok(findings)
}

fn error_in(block: &Block) -> Result<Option<String>> {
    let is_plain = block.language.is_empty();
    Ok(match block.language.as_str() {
        "sh" if !COMMANDS.iter().any(|(tag, _)| *tag == block.tag) => {
            let tags = COMMANDS.iter().map(|(tag, meaning)| format!("`sh {tag}`: {meaning}"));
            Some(format!("`sh {}` does not say how it is tested; write\n{}", block.tag, join(tags)))
        }
        "sh" => match syntax(&block.text)? {
            Some(wrong) => Some(wrong),
            None => first(block.text.lines().map(unknown_command))?,
        },
        "bash" | "shell" | "console" => Some("commands are in `sh` blocks".to_owned()),
        "toml" if !CONFIGURATIONS.contains(&block.tag.as_str()) => {
            Some(format!("`toml` needs one of the tags {}", CONFIGURATIONS.join(", ")))
        }
        _ if is_plain && block.text.lines().any(|line| line.starts_with("gwctl ")) => {
            Some("commands are in `sh` blocks".to_owned())
        }
        _ => None,
    })
}

fn first(found: impl Iterator<Item = Result<Option<String>>>) -> Result<Option<String>> {
    found.filter_map(Result::transpose).next().transpose()
}

fn join(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Returns bash's error if it cannot parse a script.
fn syntax(script: &str) -> Result<Option<String>> {
    stderr_of_failure(Command::new("bash").args(["-n", "-c", script]))
}

/// Returns the stderr of a command if it fails.
fn stderr_of_failure(command: &mut Command) -> Result<Option<String>> {
    let output = command.current_dir(root()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((!output.status.success()).then_some(said))
}

/// Returns an error if a `make` or `cargo` command names a target or package that does not exist.
fn unknown_command(command: &str) -> Result<Option<String>> {
    let command = command.split(" #").next().unwrap_or_default().trim();
    if let Some(targets) = command.strip_prefix("make ") {
        let said = stderr_of_failure(Command::new("bash").args(["-c", &format!("make -n {targets}")]))?;
        return Ok(said.map(|said| format!("`{command}`: {said}")));
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    if !words.contains(&"cargo") || !words.contains(&"-p") {
        return Ok(None);
    }
    let packages = packages()?;
    let unknown = words.windows(2).find(|pair| match pair[0] {
        "-p" => !packages.iter().any(|package| package == pair[1]),
        "--test" => !root().join("tests/tests").join(pair[1]).join("main.rs").is_file(),
        "--example" => !root().join("gwctl/examples").join(pair[1]).with_extension("rs").is_file(),
        _ => false,
    });
    Ok(unknown.map(|pair| format!("`{command}`: there is no {}", pair[1])))
}

/// Returns the names of the workspace's packages.
fn packages() -> Result<Vec<String>> {
    let locked = fs::read_to_string(root().join("Cargo.lock"))?;
    let own = locked.split("[[package]]").filter(|package| !package.contains("\nsource = "));
    let names = own.filter_map(|package| package.lines().find_map(|line| line.strip_prefix("name = ")));
    Ok(names.map(|name| name.trim_matches('"').to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        findings(&Document::of(text)).map_or(1, |findings| findings.len())
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
            "```sh cargo\ncargo test -p webgateway-tests --test scenarios -- x\n```",
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
