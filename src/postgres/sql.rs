//! Words of SQL that are put into a statement, where a parameter can't stand.

/// A name in quotes (`quote_identifier` in `src/backend/utils/adt/ruleutils.c`).
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(identifier("a \"b\""), "\"a \"\"b\"\"\"");
    }
}
