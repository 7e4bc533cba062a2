//! Reads the paths that a Rust source uses, as far as the layer test needs them: without macros,
//! but with nested `use` trees, `super`, `self` and modules written inside the file.

/// Every path in `source`, the file of `module`, in full: `crate::util::fs::sync`, `clap::Parser`.
/// A path relative to the module becomes absolute only if it names one declared there by `mod`.
/// What is only passed on, by `pub use` of such a module's names, is not used.
pub fn imports(module: &str, source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let children = declared(&tokens);
    let mut found = Vec::new();
    // The modules inside the file that are open here, each with the depth of its braces.
    let mut inside: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inside.retain(|(_, opened)| *opened <= depth);
            }
            "mod" if tokens.get(at + 2).is_some_and(|token| token == "{") => {
                inside.push((tokens[at + 1].clone(), depth + 1));
            }
            // `use<...>` of a signature names lifetimes.
            "use" if tokens.get(at + 1).is_some_and(|next| next != "<") => {
                let passed_on = at > 0 && matches!(tokens[at - 1].as_str(), "pub" | ")");
                let mut paths = Vec::new();
                at = use_tree(&tokens, at + 1, "", &mut paths);
                let here = here(module, &inside);
                let is_child = |path: &str| {
                    let path = path.strip_prefix("self::").unwrap_or(path);
                    let first = path.split("::").next();
                    children.iter().any(|child| Some(child.as_str()) == first)
                };
                paths.retain(|path| !(passed_on && is_child(path)));
                found.extend(
                    paths
                        .iter()
                        .filter_map(|path| absolute(path, &here, &children)),
                );
                continue;
            }
            token if is_name(token) && tokens.get(at + 1).is_some_and(|next| next == "::") => {
                let mut path = token.to_owned();
                while tokens[at + 1] == "::" && tokens.get(at + 2).is_some_and(|next| is_name(next))
                {
                    path += "::";
                    path += &tokens[at + 2];
                    at += 2;
                }
                found.extend(absolute(&path, &here(module, &inside), &children));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn here(module: &str, inside: &[(String, usize)]) -> String {
    let inside = inside.iter().map(|(name, _)| format!("::{name}"));
    format!("crate::{module}{}", inside.collect::<String>())
}

/// Modules in files of their own: `mod name;`
fn declared(tokens: &[String]) -> Vec<String> {
    let declarations = tokens
        .windows(3)
        .filter(|three| three[0] == "mod" && three[2] == ";");
    declarations.map(|three| three[1].clone()).collect()
}

/// Collects the paths of the tree from `at` on, and returns the place behind it.
fn use_tree(tokens: &[String], mut at: usize, prefix: &str, paths: &mut Vec<String>) -> usize {
    let mut path = prefix.to_owned();
    while at < tokens.len() {
        match tokens[at].as_str() {
            "{" => {
                at += 1;
                while tokens[at] != "}" {
                    at = use_tree(tokens, at, &path, paths);
                    if tokens[at] == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "," | "}" | ";" => break,
            // The new name is no part of the path.
            "as" => at += 1,
            // Leading, it only says that a crate follows.
            "::" if path.is_empty() => {}
            "::" => path += "::",
            token => path += token,
        }
        at += 1;
    }
    paths.push(path);
    at
}

fn absolute(path: &str, here: &str, children: &[String]) -> Option<String> {
    let (first, rest) = path.split_once("::").unwrap_or((path, ""));
    let join = |base: &str| match rest {
        "" => base.to_owned(),
        _ => format!("{base}::{rest}"),
    };
    match first {
        "crate" => Some(path.to_owned()),
        "self" => absolute(rest, here, children),
        "super" => {
            let parent = here.rsplit_once("::").map_or(here, |(parent, _)| parent);
            if rest.split("::").next() == Some("super") {
                absolute(rest, parent, children)
            } else {
                Some(join(parent))
            }
        }
        name if children.iter().any(|child| child == name) => {
            Some(join(&format!("{here}::{name}")))
        }
        "" => None,
        _ => Some(path.to_owned()),
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Names, `::` and single signs; without comments, texts and characters.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => text_length(rest),
            'r' | 'b' if raw_length(rest) > 0 => raw_length(rest),
            '\'' => character_length(rest),
            _ if c.is_ascii_alphabetic() || c == '_' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let name = &rest[..end.unwrap_or(rest.len())];
                tokens.push(name.to_owned());
                name.len()
            }
            _ if rest.starts_with("::") => {
                tokens.push("::".to_owned());
                2
            }
            _ => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Of `r"..."`, `r#"..."#`, `br"..."`; 0 if it is none.
fn raw_length(rest: &str) -> usize {
    let Some(from_r) = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r') else {
        return 0;
    };
    let hashes = from_r.len() - from_r.trim_start_matches('#').len();
    if !from_r[hashes..].starts_with('"') {
        return 0;
    }
    let begin = rest.len() - from_r.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    rest[begin..]
        .find(&end)
        .map_or(rest.len(), |at| begin + at + end.len())
}

/// Of `'a'` or `'\n'`; a lifetime is only its sign.
fn character_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, c))) => {
            let behind = at + c.len_utf8();
            rest[behind..].find('\'').map_or(1, |end| behind + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_in_full() {
        let cases = [
            (
                "use crate::a::{self, b::{C, d}, e as f};",
                "crate::a::self crate::a::b::C crate::a::b::d crate::a::e",
            ),
            ("pub(super) use super::sibling::*;", "crate::x::sibling::*"),
            ("use super::super::z::Q;", "crate::z::Q"),
            (
                "mod tests { use super::*; use super::super::w; } use super::v;",
                "crate::x::y::* crate::x::w crate::x::v",
            ),
            (
                "mod child; use self::child::A; fn f() { child::g() }",
                "crate::x::y::child::A crate::x::y::child::g",
            ),
            (
                "fn f<'a>(x: &'a crate::b::B) { clap::g('\"'); io::h('\\'') }",
                "crate::b::B clap::g io::h",
            ),
            ("// use crate::a;\n/* use b::c */ /// crate::d", ""),
            (
                r##"let s = "crate::a"; let t = r#"crate::"b"#; let u = b"\"crate::c";"##,
                "",
            ),
            ("use ::clap::Parser;", "clap::Parser"),
            ("fn f() -> impl T + use<'a> {} use crate::a;", "crate::a"),
        ];
        for (source, expected) in cases {
            assert_eq!(imports("x::y", source).join(" "), expected, "{source}");
        }
    }
}
