//! The annotated example, with and without the # before its keys.

use super::*;

const TEXT: &str = include_str!("../../../../conf/pgstow.toml");

#[test]
fn it_is_a_valid_configuration() {
    for text in [TEXT.to_owned(), uncommented()] {
        let host = Host::new().file(&text, 0o600);
        assert_eq!(host.settings().unwrap().repo().unwrap().name, "local");
        let alerts = host.layers().unwrap().alerts().unwrap().notifiers;
        let names: Vec<&str> = alerts.iter().map(|one| one.name.as_str()).collect();
        let expected: &[&str] = match text == TEXT {
            true => &[],
            false => &["mail", "chat"],
        };
        assert_eq!(names, expected);
    }
}

#[test]
fn it_has_every_key_with_its_default() {
    let host = Host::new().file(&uncommented(), 0o600);
    let layers = host.layers().unwrap();
    for key in KEYS {
        let sections: &[&str] = match key.scope {
            Scope::Top => &[""],
            Scope::Repo => &["local"],
            Scope::Cluster => &["main"],
            Scope::Alert => &["mail", "chat"],
        };
        let name = key.path(sections[0]);
        let found = sections
            .iter()
            .filter_map(|section| layers.find(*key, section).unwrap())
            .find(|found| found.source != super::super::source::Source::Default);
        let text = found.map(|found| found.text);
        assert!(text.is_some(), "conf/pgstow.toml lacks {name}");
        assert!(
            key.default
                .is_none_or(|default| Some(default) == text.as_deref()),
            "{name}"
        );
    }
}

fn uncommented() -> String {
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            key.to_owned()
        }
        _ => line.to_owned(),
    };
    TEXT.lines().map(|line| bare(line) + "\n").collect()
}
