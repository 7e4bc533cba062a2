//! Names with dots between their parts, such as `shop.public.orders`. A part that holds a dot, a comma or a quote goes into
//! double quotes, in which two quotes stand for one; capitals are as they are. Pure.

/// Several such names with commas between them, each as its parts; None where a quote is not closed.
pub fn split(text: &str) -> Option<Vec<Vec<String>>> {
    let mut names = Vec::new();
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                push(&mut parts, '"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            ',' if !quoted => names.push(std::mem::replace(&mut parts, vec![String::new()])),
            letter => push(&mut parts, letter),
        }
    }
    names.push(parts);
    (!quoted).then_some(names)
}

fn push(parts: &mut [String], letter: char) {
    if let Some(last) = parts.last_mut() {
        last.push(letter);
    }
}

/// The parts as one name, which [`split`] reads.
pub fn join<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = |part: &str| match part.contains(['.', ',', '"']) {
        true => super::sql::identifier(part),
        false => part.to_owned(),
    };
    let parts: Vec<String> = parts.into_iter().map(quoted).collect();
    parts.join(".")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (text, parts) in [
            ("shop.public.orders", vec!["shop", "public", "orders"]),
            ("Orders", vec!["Orders"]),
            (
                r#"shop."pub.lic"."a "",b""#,
                vec!["shop", "pub.lic", "a \",b"],
            ),
        ] {
            assert_eq!(join(parts.iter().copied()), text);
            assert_eq!(split(text).unwrap(), [parts], "{text}");
        }
        assert_eq!(split("a.b,c").unwrap(), [vec!["a", "b"], vec!["c"]]);
        assert_eq!(split("a,").unwrap(), [vec!["a"], vec![""]]);
        assert_eq!(split("a.\"b"), None);
    }
}
