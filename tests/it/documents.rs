//! The documents keep up with the program: links lead somewhere, and every command and option
//! that `--help` knows is described.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::golden::golden;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Markdown files of the project.
fn pages() -> Vec<PathBuf> {
    fn walk(folder: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, pages);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    let mut pages = vec![root().join("README.md")];
    walk(&root().join("docs"), &mut pages);
    pages
}

/// The targets of `[text](target)` outside of code blocks.
fn links(page: &str) -> Vec<&str> {
    let prose = page.split("```").step_by(2);
    prose
        .flat_map(|text| text.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .collect()
}

/// As the usual renderers make anchors of headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut checked = 0;
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        for link in links(&page) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let known = anchors(&fs::read_to_string(&target).unwrap());
                assert!(known.contains(anchor), "{}: {link}", path.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} links were found");
}

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pgstow"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The commands of the command `systemd`.
const ACTIONS: [&str; 3] = ["install", "remove", "status"];

/// So that a change of what people read is seen in the diff of the golden files.
#[test]
fn help_texts_stay_as_they_were_looked_at() {
    golden("help/pgstow.txt", &help(&["--help"]));
    for command in commands() {
        golden(&format!("help/{command}.txt"), &help(&[&command, "--help"]));
    }
    for action in ACTIONS {
        golden(
            &format!("help/systemd-{action}.txt"),
            &help(&["systemd", action, "--help"]),
        );
    }
}

/// The first words of the lines below `Commands:`.
fn commands() -> Vec<String> {
    let help = help(&["-h"]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    // A description that goes on in the next line is indented further.
    let names = lines.filter(|line| !line.starts_with("   "));
    names
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect()
}

/// The long options that a help text describes, `--help` and `--version` left out.
fn options(help: &str) -> BTreeSet<String> {
    let described = help
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'));
    let options = described.filter_map(|line| {
        let option = line
            .split_whitespace()
            .find(|word| word.starts_with("--"))?;
        Some(
            option
                .trim_end_matches([',', '.'])
                .split(['=', '<'])
                .next()?
                .to_owned(),
        )
    });
    options
        .filter(|option| option != "--help" && option != "--version")
        .collect()
}

#[test]
fn every_command_and_option_is_described() {
    let page = fs::read_to_string(root().join("docs/commands.md")).unwrap();
    let section = |title: &str| {
        let (_, rest) = page
            .split_once(&format!("\n## {title}\n"))
            .unwrap_or_else(|| panic!("docs/commands.md has no section {title}"));
        rest.split("\n## ").next().unwrap()
    };
    let global = options(&help(&["-h"]));
    assert!(global.len() > 5, "{global:?}");
    for option in &global {
        assert!(
            section("Global options").contains(&format!("`{option}")),
            "{option}"
        );
    }
    let commands = commands();
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands {
        let section = section(&command);
        let mut known = options(&help(&[&command, "-h"]));
        if command == "systemd" {
            known.extend(
                ACTIONS
                    .iter()
                    .flat_map(|action| options(&help(&[&command, action, "-h"]))),
            );
        }
        for option in known.difference(&global) {
            assert!(
                section.contains(&format!("`{option}")),
                "{command} {option}"
            );
        }
        for part in ["Exit code", "JSON"] {
            assert!(section.contains(part), "{command}: {part}");
        }
    }
}

#[test]
fn links_and_options_are_found() {
    let page = "see [a](b.md) and [c](d/e.md#f-g)\n```\n[no](link)\n```\n# F, `g`!\n";
    assert_eq!(links(page), ["b.md", "d/e.md#f-g"]);
    assert!(anchors(page).contains("f-g"));
    let help = "  -q, --quiet  Say less\n      --repo <NAME>  See --other\n  -h, --help";
    assert_eq!(Vec::from_iter(options(help)), ["--quiet", "--repo"]);
}
