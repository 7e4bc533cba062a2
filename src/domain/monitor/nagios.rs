//! One line for Nagios and its kin (the Monitoring Plugins Development Guidelines): state, what is
//! wrong, and after a bar the figures.

use super::{
    checks,
    verdict::{State, Unit, Verdict, worst},
};
use crate::util::units;

/// Long enough for what matters, short enough for those that cut lines.
const LONGEST: usize = 2000;

pub fn line(cluster: &str, verdicts: &[Verdict]) -> String {
    let state = worst(verdicts);
    let mut bad: Vec<&Verdict> = verdicts
        .iter()
        .filter(|one| one.state != State::Ok && !checks::is_consequence(one, verdicts))
        .collect();
    bad.sort_by_key(|verdict| std::cmp::Reverse(verdict.state));
    let told: Vec<String> = bad
        .iter()
        .map(|verdict| format!("{}: {}", verdict.title(), verdict.reason))
        .collect();
    let told = match told.is_empty() {
        true => format!("{} ok", units::count(verdicts.len() as u64, "check")),
        false => told.join("; "),
    };
    let told: String = plain(&told).chars().take(LONGEST).collect();
    let figures: Vec<String> = verdicts.iter().flat_map(perfdata).collect();
    let figures = match figures.is_empty() {
        true => String::new(),
        false => format!(" | {}", figures.join(" ")),
    };
    format!("PGSTOW {} - {cluster}: {told}{figures}", state.word())
}

/// The line of a failure of our own.
pub fn failure(why: &str) -> String {
    format!("PGSTOW UNKNOWN - {}", plain(why))
}

/// A bar begins the figures, a line end more text.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '|' => '/',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// `'label'=value[unit];[warn];[crit]`.
fn perfdata(verdict: &Verdict) -> Vec<String> {
    let label = |name: &str| {
        let object = verdict.object.as_ref().map(|object| format!("_{object}"));
        // `backup_age` needs no `_age` behind it.
        let name = match verdict.check.ends_with(name) {
            true => String::new(),
            false => format!("_{name}"),
        };
        format!("{}{}{name}", verdict.check, object.unwrap_or_default())
    };
    let limit = |limit: Option<f64>| limit.map_or(String::new(), |limit| limit.to_string());
    let figures = verdict.figures.iter().map(|figure| {
        let unit = match figure.unit {
            Unit::Seconds => "s",
            Unit::Bytes => "B",
            Unit::Percent => "%",
            Unit::Count => "",
        };
        // Neither may stand in a label.
        let label = plain(&label(figure.name)).replace(['\'', '='], "_");
        format!(
            "'{label}'={}{unit};{};{}",
            figure.value,
            limit(figure.warning),
            limit(figure.critical)
        )
    });
    figures.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::verdict::Figure, *};

    #[test]
    fn one_line_with_the_worst_first() {
        let figure = Figure {
            name: "age",
            value: 1.5,
            unit: Unit::Seconds,
            warning: Some(93_600.0),
            critical: None,
        };
        let good = Verdict::ok("backup_age", "well").with(figure.clone());
        assert_eq!(
            line("main", std::slice::from_ref(&good)),
            "PGSTOW OK - main: 1 check ok | 'backup_age'=1.5s;93600;"
        );
        let verdicts = [
            good,
            Verdict::new("runs", State::Warning, "a|b\nc", "x").about("base"),
            Verdict::new("disk", State::Critical, "full", "x")
                .about("repo.'a=b'")
                .with(figure),
        ];
        assert_eq!(
            line("main", &verdicts),
            "PGSTOW CRITICAL - main: disk repo.'a=b': full; runs base: a/b c | \
             'backup_age'=1.5s;93600; 'disk_repo._a_b__age'=1.5s;93600;"
        );
        // What can't be looked at is said once.
        let lost = Verdict::new("connection", State::Critical, "refused", "x");
        let unknown = |check| Verdict::new(check, State::Unknown, "can't be asked", "x");
        assert_eq!(
            line("main", &[lost, unknown("slots"), unknown("clock")]),
            "PGSTOW CRITICAL - main: connection: refused"
        );
        assert_eq!(failure("no\nway"), "PGSTOW UNKNOWN - no way");
    }
}
