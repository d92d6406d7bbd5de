//! Links in documents: the target of a relative link exists, and so does the heading of its anchor.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use webgateway_tests::document::{Document, root};

/// Returns the broken links of a document.
pub(crate) fn findings(document: &Document) -> Result<Vec<String>> {
    let links = document.links();
    links.iter().filter_map(|link| broken(document, link).transpose()).collect()
}

fn broken(document: &Document, link: &str) -> Result<Option<String>> {
    if link.starts_with("https://") {
        return Ok(None);
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let folder = Path::new(&document.path).parent().unwrap_or(Path::new(""));
    let target = if path.is_empty() { PathBuf::from(&document.path) } else { normal(&folder.join(path)) };
    if !path.is_empty() && !root().join(&target).exists() {
        return Ok(Some(format!("`{link}`: {} does not exist", target.display())));
    }
    let Some(anchor) = anchor else { return Ok(None) };
    let anchors = match path {
        "" => document.anchors(),
        _ => Document::read(&target.to_string_lossy())?.anchors(),
    };
    let is_known = anchors.iter().any(|known| known == anchor);
    let known = anchors.join(", ");
    let broken = || format!("`{link}`: {} has no such heading; there are {known}", target.display());
    Ok((!is_known).then(broken))
}

/// Returns the path without `..` in it.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_file_and_a_heading() {
        for (link, count) in [
            ("README.md", 0),
            ("README.md#install", 0),
            ("docs/configuration.md#feedlisten", 0),
            ("docs/configuration.md#log_level-1", 0),
            ("#one-and-two", 0),
            ("https://example.com/nothing", 0),
            ("#three", 1),
            ("docs/../NOTHING.md", 1),
            ("README.md#nothing", 1),
        ] {
            let document = Document::of(&format!("# One, and *two*\nSee [this]({link}).\n"));
            let found = findings(&document).unwrap();
            assert_eq!(found.len(), count, "{link}: {found:?}");
        }
    }
}
