//! Pages of documentation: links lead somewhere, and configurations that are shown can be used.

use std::path::{Path, PathBuf};

use registryd::config;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All pages, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = Vec::new();
    for directory in ["", "docs", "docs/registries"] {
        for entry in std::fs::read_dir(root().join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                pages.push((path, text));
            }
        }
    }
    assert!(pages.len() > 10);
    pages
}

/// The blocks of code that begin with that fence.
fn blocks<'a>(text: &'a str, fence: &str) -> Vec<&'a str> {
    let mut parts = text.split("```");
    let mut blocks = Vec::new();
    parts.next();
    while let Some(block) = parts.next() {
        blocks.extend(block.strip_prefix(fence));
        parts.next();
    }
    blocks
}

/// The text without its blocks of code.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The anchor that a heading gets where pages are shown.
fn anchors(text: &str) -> Vec<String> {
    let text = prose(text);
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|heading| heading.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

#[test]
fn links_between_pages_lead_to_a_page_and_a_heading_of_it() {
    let mut links = 0;
    for (page, text) in pages() {
        let prose = prose(&text);
        for (_, rest) in prose.match_indices("](").map(|(at, _)| prose.split_at(at + 2)) {
            let target = rest.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            assert!(path.exists(), "{}: {target} leads nowhere", page.display());
            if !anchor.is_empty() {
                let anchors = anchors(&std::fs::read_to_string(&path).unwrap());
                assert!(
                    anchors.iter().any(|known| known == anchor),
                    "{}: {target}: found no such heading, expected one of {anchors:?}",
                    page.display()
                );
            }
        }
    }
    assert!(links > 30, "{links}");
}

#[test]
fn configurations_that_are_shown_can_be_used() {
    let mut used = 0;
    for (page, text) in pages() {
        let configurations = blocks(&text, "yaml\n");
        for block in configurations
            .iter()
            .filter(|block| block.starts_with("registries:"))
        {
            used += 1;
            if let Err(problems) = config::parse(block, &page.display().to_string(), root()) {
                panic!("{problems}\n{block}");
            }
        }
    }
    assert!(used > 5, "{used}");
}
