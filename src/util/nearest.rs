//! "Did you mean": the known word nearest to one that was mistyped.

/// The nearest of `words`, if few enough letters differ.
pub fn nearest<'a>(wrong: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = wrong.chars().count().div_ceil(3).min(3);
    words
        .into_iter()
        .map(|word| (distance(wrong, word), word))
        .min()
        .filter(|(distance, _)| *distance <= far)
        .map(|(_, word)| word)
}

/// Levenshtein's distance, a row at a time.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_offered_and_far_ones_are_not() {
        let words = ["host", "port", "data_dir"];
        for (wrong, right) in [
            ("hots", Some("host")),
            ("datadir", Some("data_dir")),
            ("compression", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, words), right, "{wrong}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
