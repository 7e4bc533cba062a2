//! How long it will take until a restored server is open, from the drills and restores that were measured. Pure.
//!
//! Of each phase a line is drawn through what drills took by their bytes: through their middle, and never steeper than
//! through nothing at all, so that two drills of nearly the same size don't promise the impossible of a third.

use super::{
    archive::Archive,
    choice::{Choice, choose},
    measured::Measured,
    target::Wish,
};
use crate::{
    repo::drill::{Drills, Forecast, Foreseen, Phase},
    util::{clock::Time, host},
};

/// Phases of a recovery; the others are of a drill alone.
const PHASES: [&str; 3] = ["fetch", "unpack", "replay"];

/// The newest that count: disks and clusters change.
const MOST: usize = 10;

/// Against the next newer one.
const WEIGHT: f64 = 0.7;

/// Bytes that a restore moves, in the order of [`PHASES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Of the backup, and of those that it builds on, as they are stored.
    pub stored: u64,
    pub plain: u64,
    /// Of the segments on the way.
    pub wal: u64,
}

impl Load {
    pub fn of(archive: &Archive, choice: &Choice) -> Self {
        let mut stored = choice.backup.stored_bytes;
        let mut parent = choice.backup.parent;
        while let Some(id) = parent {
            let below = archive.backups.iter().find(|backup| backup.id == id);
            stored += below.map_or(0, |below| below.stored_bytes);
            parent = below.and_then(|below| below.parent);
        }
        Self {
            stored,
            plain: choice.backup.bytes,
            wal: choice.reach.segments() * archive.wal.size().bytes(),
        }
    }

    /// Where of `whole` bytes of files just so many are written.
    pub fn of_part(self, part: u64, whole: u64) -> Self {
        let share = part as f64 / whole.max(1) as f64;
        Self {
            stored: (self.stored as f64 * share) as u64,
            plain: part,
            wal: self.wal,
        }
    }

    fn bytes(self) -> [u64; 3] {
        [self.stored, self.plain, self.wal]
    }
}

/// Of a restore to the end of the archive; None where nothing was measured, or none is possible.
pub fn to_the_end(archive: &Archive, drills: &Drills, restores: &[Measured]) -> Option<Forecast> {
    let choice = choose(archive, &Wish::latest()).ok()?;
    forecast(drills, restores, &host::name(), Load::of(archive, &choice))
}

/// A drill or a restore that was measured.
struct Example<'a> {
    time: Time,
    host: &'a str,
    is_drill: bool,
    phases: &'a [Phase],
    forecast: Option<&'a Forecast>,
}

/// By those of this host, or of the one where the newest drill was made; None where none went through. `restores`: of
/// this host.
pub fn forecast(
    drills: &Drills,
    restores: &[Measured],
    host: &str,
    load: Load,
) -> Option<Forecast> {
    let went = drills.all.iter().filter(|drill| drill.reached.is_some());
    let drilled = went.map(|drill| Example {
        time: drill.time,
        host: &drill.host,
        is_drill: true,
        phases: &drill.phases,
        forecast: drill.forecast.as_ref(),
    });
    let restored = restores.iter().map(|one| Example {
        time: one.time,
        host,
        is_drill: false,
        phases: &one.phases,
        forecast: one.forecast.as_ref(),
    });
    let mut all: Vec<Example<'_>> = drilled.chain(restored).collect();
    all.retain(|one| seconds(one.phases).is_some());
    // Newest first.
    all.sort_by_key(|one| std::cmp::Reverse(one.time));
    let host = match all.iter().any(|one| one.host == host) {
        true => host,
        false => all.first()?.host,
    };
    all.retain(|one| one.host == host);
    all.truncate(MOST);
    let mut phases = Vec::new();
    for (name, bytes) in PHASES.into_iter().zip(load.bytes()) {
        let points = all.iter().filter_map(|one| taken(one.phases, name));
        let seconds = on_line(&points.collect::<Vec<_>>(), bytes as f64)?;
        phases.push(Foreseen {
            name: name.to_owned(),
            seconds,
        });
    }
    let errors = all.iter().filter_map(|one| error(one.phases, one.forecast));
    let errors: Vec<f64> = errors.map(f64::abs).collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let drills = all.iter().filter(|one| one.is_drill).count();
    Some(Forecast {
        seconds: phases.iter().map(|phase| phase.seconds).sum(),
        phases,
        drills: drills as u64,
        restores: (all.len() - drills) as u64,
        host: host.to_owned(),
        error: (!errors.is_empty()).then_some(mean),
    })
}

/// By how much a forecast was too long (above 0) or too short, as a part of what it took.
pub fn error(phases: &[Phase], forecast: Option<&Forecast>) -> Option<f64> {
    let took = seconds(phases)?;
    (took > 0.0).then_some((forecast?.seconds - took) / took)
}

/// What was taken of what is foreseen; None where not all of it was measured.
pub fn seconds(phases: &[Phase]) -> Option<f64> {
    PHASES
        .iter()
        .map(|name| taken(phases, name).map(|(_, seconds)| seconds))
        .sum()
}

/// Bytes and seconds.
fn taken(phases: &[Phase], name: &str) -> Option<(f64, f64)> {
    let phase = phases.iter().find(|phase| phase.name == name)?;
    Some((phase.bytes? as f64, phase.seconds))
}

/// What a line through `points`, newest first, has at `x`.
fn on_line(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let weighted = || {
        points
            .iter()
            .enumerate()
            .map(|(age, point)| (WEIGHT.powi(i32::try_from(age).unwrap_or(i32::MAX)), point))
    };
    let all: f64 = weighted().map(|(weight, _)| weight).sum();
    if points.is_empty() {
        return None;
    }
    let mean = |of: fn(&(f64, f64)) -> f64| {
        weighted()
            .map(|(weight, point)| weight * of(point))
            .sum::<f64>()
            / all
    };
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let (mut spread, mut together) = (0.0, 0.0);
    for (weight, (x, y)) in weighted() {
        spread += weight * (x - mean_x).powi(2);
        together += weight * (x - mean_x) * (y - mean_y);
    }
    let steepest = if mean_x > 0.0 { mean_y / mean_x } else { 0.0 };
    let slope = if spread > 0.0 {
        (together / spread).clamp(0.0, steepest)
    } else {
        steepest
    };
    Some((mean_y + slope * (x - mean_x)).max(0.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_lead_on() {
        for (points, x, expected) in [
            // By proportion, of one alone or of equals.
            (&[(10.0, 1.0)][..], 20.0, 2.0),
            (&[(10.0, 1.0), (10.0, 1.0)], 30.0, 3.0),
            // What it always takes, and what it takes by size.
            (&[(20.0, 3.0), (10.0, 2.0)], 30.0, 4.0),
            // Never less for more, nor more than by proportion.
            (&[(20.0, 1.0), (10.0, 1.0)], 40.0, 1.0),
            (&[(0.0, 1.0)], 40.0, 1.0),
        ] {
            let found = on_line(points, x).unwrap();
            assert!(
                (found - expected).abs() < 1e-9,
                "{points:?} at {x}: {found}"
            );
        }
        let steep = on_line(&[(101.0, 1.2), (100.0, 1.0)], 110.0).unwrap();
        assert!(steep < 1.3, "{steep}");
        // Newer ones count for more.
        let faster = on_line(&[(10.0, 1.0), (10.0, 3.0)], 10.0).unwrap();
        assert!(faster < 2.0, "{faster}");
        assert_eq!(on_line(&[], 1.0), None);
    }
}
