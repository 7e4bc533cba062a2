//! Words of SQL that are put into a statement, where a parameter can't stand.

/// A name in quotes (`quote_identifier` in `src/backend/utils/adt/ruleutils.c`).
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in quotes (`quote_literal` in `src/backend/utils/adt/quote.c`).
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\\', "\\\\").replace('\'', "''");
    match text.contains('\\') {
        true => format!("E'{quoted}'"),
        false => format!("'{quoted}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(identifier("a \"b\""), "\"a \"\"b\"\"\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'"), "E'a\\\\'''");
    }
}
