//! Which class a dump gets where nobody says: the longest span of the calendar that has no dump yet. Pure.

use chrono::Datelike;

use crate::{repo::dump_name::Class, util::clock::Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassWish {
    This(Class),
    Auto,
}

/// The class of a dump that begins `now`, after `earlier` ones of the same database. A dump of a longer
/// class stands for the shorter ones too; manual ones stand for nothing. By UTC; weeks as in ISO 8601.
pub fn due(now: Time, earlier: &[(Time, Class)]) -> Class {
    for class in [Class::Yearly, Class::Monthly, Class::Weekly] {
        let stands_for = |other: Class| other >= class && other != Class::Manual;
        let own = earlier.iter().filter(|(_, other)| stands_for(*other));
        if !own
            .into_iter()
            .any(|(time, _)| span(class, *time) == span(class, now))
        {
            return class;
        }
    }
    Class::Daily
}

/// Numbers that are the same within the year, month, week or day of a class.
fn span(class: Class, time: Time) -> (i32, u32) {
    match class {
        Class::Yearly => (time.year(), 0),
        Class::Monthly => (time.year(), time.month()),
        Class::Weekly => (time.iso_week().year(), time.iso_week().week()),
        Class::Daily | Class::Manual => (time.year(), time.ordinal()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_span_gets_one_and_a_missed_day_is_made_up_for() {
        let mut earlier = Vec::new();
        let mut classes = Vec::new();
        for day in [
            "2026-11-21",
            "2026-11-22",
            "2026-11-23",
            "2026-11-24",
            "2026-12-02",
            "2026-12-03",
            "2026-12-07",
            "2027-01-02",
            "2027-01-04",
        ] {
            let now: Time = format!("{day}T02:00:00Z").parse().unwrap();
            let class = due(now, &earlier);
            earlier.push((now, class));
            earlier.push((now, Class::Manual));
            classes.push(class.word());
        }
        let expected = [
            "yearly", "daily", "weekly", "daily", "monthly", "daily", "weekly", "yearly", "weekly",
        ];
        assert_eq!(classes, expected);
    }
}
