//! Parser of the project's documents: links, code spans and code blocks.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folders whose documents are read; the first is the root.
const FOLDERS: [&str; 3] = ["", "docs", "deploy"];

/// A Markdown document of the project.
#[derive(Debug)]
pub struct Document {
    /// The path from the root of the project.
    pub path: String,
    text: String,
}

/// A fenced code block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The line in the document where the block begins.
    pub line: usize,
    /// The language, which is the first word after the fence; empty if there is none.
    pub language: String,
    /// The rest of that line, which says how the block is tested.
    pub tag: String,
    /// The content.
    pub text: String,
}

/// Returns the root of the project.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Document {
    /// Reads all documents, sorted by path.
    pub fn all() -> Result<Vec<Self>> {
        let mut paths = Vec::new();
        for folder in FOLDERS {
            for entry in fs::read_dir(root().join(folder))? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name.ends_with(".md") {
                    paths.push(Path::new(folder).join(name).to_string_lossy().into_owned());
                }
            }
        }
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Reads the document at a path from the root.
    pub fn read(path: &str) -> Result<Self> {
        let text = fs::read_to_string(root().join(path)).with_context(|| path.to_owned())?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// Creates a document from a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self { path: "text.md".to_owned(), text: text.to_owned() }
    }

    /// Returns the number of lines.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// Returns the code blocks.
    pub fn blocks(&self) -> Result<Vec<Block>> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(info), None) => {
                    let (language, tag) = info.split_once(' ').unwrap_or((info, ""));
                    let [language, tag] = [language, tag].map(|word| word.trim().to_owned());
                    open = Some(Block { line: index + 1, language, tag, text: String::new() });
                }
                (None, Some(block)) => block.text.extend([line, "\n"]),
                (None, None) => {}
            }
        }
        match open {
            Some(block) => bail!("{}:{}: the code block has no end", self.path, block.line),
            None => Ok(blocks),
        }
    }

    /// Returns the text outside of code blocks, each run of white space as one space.
    #[must_use]
    pub fn prose(&self) -> String {
        let mut inside = false;
        let prose = self.text.lines().filter(|line| {
            let is_fence = line.trim_start().starts_with("```");
            inside ^= is_fence;
            !inside && !is_fence
        });
        prose.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    }

    /// Returns the targets of the links in the prose.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let ends = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        ends.map(|(target, _)| target.to_owned()).collect()
    }

    /// Returns the prose split at backticks: alternating text and code spans, starting with text.
    #[must_use]
    pub fn spans(&self) -> Vec<String> {
        self.prose().split('`').map(str::to_owned).collect()
    }

    /// Returns the anchors of the headings, as GitHub creates them.
    #[must_use]
    pub fn anchors(&self) -> Vec<String> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        let anchors = headings.map(|line| {
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            let slug: String = line.trim_start_matches('#').trim().chars().filter(kept).collect();
            let slug = slug.to_lowercase().replace(' ', "-");
            let count = seen.entry(slug.clone()).or_default();
            *count += 1;
            if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
        });
        anchors.collect()
    }
}
