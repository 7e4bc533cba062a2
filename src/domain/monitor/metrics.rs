//! The metrics for Prometheus: names, help, and from which fact each comes.

use super::{
    checks::{archiving::Lag, dumps, good},
    exposition::{Family, Kind, Sample},
    facts::{Facts, Holding, server::Server},
    runs::{self, Run, Strand},
    verdict::Verdict,
};
use crate::{domain::setup::stored::Stored, repo::backup::Backup, util::clock::Time};

/// The four figures of a run under the names that shell scripts for backups use, on request.
const PLAIN: [&str; 4] = [
    "pg_backup_last_run_timestamp",
    "pg_backup_last_duration_seconds",
    "pg_backup_last_exit_code",
    "pg_backup_last_bytes",
];

/// What is shown, and how.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub cluster: &'a str,
    pub now: Time,
    /// Also under the plain names.
    pub plain: bool,
    /// Names of all that are set.
    pub repositories: &'a [String],
}

pub fn families(facts: &Facts, verdicts: &[Verdict], wanted: Wanted<'_>) -> Vec<Family> {
    let mut book = Book {
        cluster: wanted.cluster,
        families: Vec::new(),
    };
    book.gauge(
        "pgstow_monitor_last_run_timestamp_seconds",
        "When these metrics were gathered.",
        &[],
        seconds(wanted.now),
    );
    for verdict in verdicts {
        let object = verdict.object.as_deref().unwrap_or_default();
        book.gauge(
            "pgstow_check_state",
            "Verdict of a check: 0 ok, 1 warning, 2 critical, 3 unknown.",
            &[("check", verdict.check), ("object", object)],
            verdict.state.number().into(),
        );
    }
    book.gauge(
        "pgstow_server_up",
        "Whether the database server answered.",
        &[],
        facts.server.is_ok().into(),
    );
    let server = facts.server.as_ref().ok();
    if let Some(server) = server {
        book.server(server, wanted.now);
    }
    for holding in &facts.repositories {
        let name = [("repository", holding.name.as_str())];
        book.gauge(
            "pgstow_repository_up",
            "Whether the repository could be read.",
            &name,
            holding.stored.is_ok().into(),
        );
        if let Ok(stored) = &holding.stored {
            book.stored(stored, wanted.now);
            if let Some(lag) = server.and_then(|server| Lag::of(server, stored, wanted.now)) {
                book.lag(&name, &lag);
            }
        }
        book.dumps(holding);
    }
    for disk in &facts.disks {
        let name = [("disk", disk.name.as_str())];
        let Ok(room) = &disk.room else { continue };
        book.gauge(
            "pgstow_disk_used_bytes",
            "Bytes in use on the file system.",
            &name,
            room.used as f64,
        );
        book.gauge(
            "pgstow_disk_available_bytes",
            "Bytes that may still be written on the file system.",
            &name,
            room.available as f64,
        );
        if let Some(full) = disk.full_in {
            book.gauge(
                "pgstow_disk_full_in_seconds",
                "Time until the file system is full at the rate of the last week, or of the last hour if that is soon.",
                &name,
                full.time.as_secs_f64().round(),
            );
        }
    }
    book.runs(facts, wanted);
    book.families
}

/// Collects samples below their names, in the order of the first of each.
struct Book<'a> {
    cluster: &'a str,
    families: Vec<Family>,
}

type Labels<'a> = [(&'static str, &'a str)];

impl Book<'_> {
    fn gauge(&mut self, name: &'static str, help: &'static str, labels: &Labels<'_>, value: f64) {
        self.add(name, help, Kind::Gauge, labels, value);
    }

    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: &Labels<'_>,
        value: f64,
    ) {
        let mut all = vec![("cluster", self.cluster.to_owned())];
        all.extend(
            labels
                .iter()
                .map(|(label, text)| (*label, (*text).to_owned())),
        );
        let sample = Sample { labels: all, value };
        match self.families.iter_mut().find(|family| family.name == name) {
            Some(family) => family.samples.push(sample),
            None => self.families.push(Family {
                name,
                help,
                kind,
                samples: vec![sample],
            }),
        }
    }

    fn server(&mut self, server: &Server, now: Time) {
        let facts = &server.facts;
        self.add(
            "pgstow_archiver_archived_total",
            "Files that the server has archived, as it counts them.",
            Kind::Counter,
            &[],
            facts.archiver.archived as f64,
        );
        self.add(
            "pgstow_archiver_failed_total",
            "Failed attempts of the server to archive a file, as it counts them.",
            Kind::Counter,
            &[],
            facts.archiver.failed as f64,
        );
        if let Some(waiting) = facts.waiting {
            let age = waiting
                .oldest
                .map(|oldest| now + facts.clock_ahead - oldest);
            let age = age.and_then(|age| age.to_std().ok()).unwrap_or_default();
            self.gauge(
                "pgstow_wal_waiting_files",
                "Files that wait to be archived.",
                &[],
                waiting.files as f64,
            );
            self.gauge(
                "pgstow_wal_waiting_age_seconds",
                "Since when the oldest file waits to be archived.",
                &[],
                age.as_secs_f64(),
            );
        }
        for slot in &server.slots {
            self.gauge(
                "pgstow_slot_held_bytes",
                "WAL that a replication slot holds back.",
                &[("slot", slot.name.as_str())],
                slot.held as f64,
            );
        }
        self.gauge(
            "pgstow_clock_ahead_seconds",
            "By how much the server's clock is ahead of that of pgstow's host.",
            &[],
            facts.clock_ahead.num_milliseconds() as f64 / 1000.0,
        );
    }

    fn stored(&mut self, stored: &Stored, now: Time) {
        let name = ("repository", stored.name.as_str());
        let good = good::backups(stored);
        let failed = stored.archive.backups.iter();
        let failed = failed.filter(|backup| !backup.page_failures.is_empty());
        for (state, count) in [
            ("good", good.len()),
            ("complete", stored.archive.backups.len()),
            ("page_failures", failed.count()),
            ("pending", stored.pending.len()),
            ("damaged", stored.damaged.len()),
        ] {
            self.gauge(
                "pgstow_backups",
                "Backups by their state; good ones are complete ones without any flaw.",
                &[name, ("state", state)],
                count as f64,
            );
        }
        if let Some(newest) = good.last() {
            self.backup("any", name, newest);
        }
        if let Some(newest) = good::newest_full(&good) {
            self.backup("full", name, newest);
        }
        if let Some(time) = good::verified(stored, now) {
            self.gauge(
                "pgstow_verification_newest_timestamp_seconds",
                "When a stored backup was last read again and found whole.",
                &[name],
                seconds(time),
            );
        }
        if let Some(time) = dumps::proven(stored) {
            self.gauge(
                "pgstow_dump_verification_newest_timestamp_seconds",
                "When a dump was last restored and found good.",
                &[name],
                seconds(time),
            );
        }
        self.drills(stored, name);
        let wal = &stored.archive.wal;
        self.gauge(
            "pgstow_wal_segments",
            "Segments of WAL in the repository.",
            &[name],
            wal.segments() as f64,
        );
        self.gauge(
            "pgstow_wal_stored_bytes",
            "Bytes of WAL in the repository, as stored.",
            &[name],
            wal.stored_bytes() as f64,
        );
        if let Some((_, time)) = wal.newest() {
            self.gauge(
                "pgstow_wal_newest_timestamp_seconds",
                "When the newest segment of WAL arrived in the repository.",
                &[name],
                seconds(time.min(now)),
            );
        }
        let lost: u64 = wal.lost().iter().map(|gap| gap.last - gap.first + 1).sum();
        self.gauge(
            "pgstow_wal_given_up_segments",
            "Segments of WAL that wal.drop_above gave up.",
            &[name],
            lost as f64,
        );
    }

    fn drills(&mut self, stored: &Stored, name: (&'static str, &str)) {
        if let Some(proof) = stored.drills.proof() {
            self.gauge(
                "pgstow_drill_newest_proof_timestamp_seconds",
                "When the newest drill ended that found nothing wrong.",
                &[name],
                seconds(proof.finished),
            );
        }
        let Some(newest) = stored.drills.newest() else {
            return;
        };
        self.gauge(
            "pgstow_drill_last_timestamp_seconds",
            "When the newest drill ended.",
            &[name],
            seconds(newest.finished),
        );
        self.gauge(
            "pgstow_drill_last_good",
            "Whether the newest drill found nothing wrong.",
            &[name],
            newest.good.into(),
        );
        self.gauge(
            "pgstow_drill_last_findings",
            "Checks that the newest drill did not pass.",
            &[name],
            newest.findings() as f64,
        );
        for phase in &newest.phases {
            let labels = [name, ("phase", phase.name.as_str())];
            self.gauge(
                "pgstow_drill_last_phase_seconds",
                "How long a phase of the newest drill took.",
                &labels,
                phase.seconds,
            );
            if let Some(cpu) = phase.cpu_seconds {
                self.gauge(
                    "pgstow_drill_last_phase_cpu_seconds",
                    "Time on processors that a phase of the newest drill took.",
                    &labels,
                    cpu,
                );
            }
            if let Some(bytes) = phase.bytes {
                self.gauge(
                    "pgstow_drill_last_phase_bytes",
                    "Bytes that a phase of the newest drill fetched, wrote, replayed or read.",
                    &labels,
                    bytes as f64,
                );
            }
        }
    }

    /// The newest good backup of a kind.
    fn dumps(&mut self, holding: &Holding) {
        for dump in holding.dumps.iter().flatten() {
            let Some(good) = &dump.good else { continue };
            let of = dump.subject.to_string();
            let labels = [("repository", holding.name.as_str()), ("database", &of)];
            self.gauge(
                "pgstow_dump_newest_timestamp_seconds",
                "Of when the state is that the newest good dump holds.",
                &labels,
                seconds(good.time),
            );
            self.gauge(
                "pgstow_dump_newest_stored_bytes",
                "Bytes of the newest good dump as stored.",
                &labels,
                good.stored_bytes as f64,
            );
        }
    }

    fn backup(&mut self, kind: &'static str, name: (&'static str, &str), backup: &Backup) {
        let labels = [name, ("kind", kind)];
        for (metric, help, value) in [
            (
                "pgstow_backup_newest_timestamp_seconds",
                "When the newest good backup ended.",
                seconds(backup.stop_time),
            ),
            (
                "pgstow_backup_newest_duration_seconds",
                "How long the newest good backup took.",
                backup.duration().as_secs_f64(),
            ),
            (
                "pgstow_backup_newest_size_bytes",
                "Bytes of the files in the newest good backup.",
                backup.bytes as f64,
            ),
            (
                "pgstow_backup_newest_stored_bytes",
                "Bytes of the newest good backup as stored.",
                backup.stored_bytes as f64,
            ),
        ] {
            self.gauge(metric, help, &labels, value);
        }
    }

    fn lag(&mut self, name: &Labels<'_>, lag: &Lag) {
        self.gauge(
            "pgstow_wal_lag_bytes",
            "From the newest archived segment to where the server writes.",
            name,
            lag.bytes as f64,
        );
        self.gauge(
            "pgstow_wal_unarchived_bytes",
            "Complete segments that are not in the repository.",
            name,
            lag.complete as f64,
        );
        self.gauge(
            "pgstow_wal_lag_seconds",
            "Since when the first complete segment is missing in the repository.",
            name,
            lag.age.unwrap_or_default().as_secs_f64(),
        );
    }

    /// Of each job in each repository: what is well in one says nothing of another. The plain names know of jobs alone.
    fn runs(&mut self, facts: &Facts, wanted: Wanted<'_>) {
        const NAMED: [(&str, &str); 4] = [
            (
                "pgstow_run_last_timestamp_seconds",
                "When the last run of a job ended.",
            ),
            (
                "pgstow_run_last_duration_seconds",
                "How long the last run of a job took.",
            ),
            (
                "pgstow_run_last_exit_code",
                "Exit code of the last run of a job; 137 if it was killed.",
            ),
            (
                "pgstow_run_last_bytes",
                "Bytes that the last run of a job stored or read.",
            ),
        ];
        let runs = facts.runs.as_deref().unwrap_or_default();
        let values = |run: &Run| {
            // Who was killed can't say when; it left no code, and 137 is what its shell saw.
            let ended = run.ended.unwrap_or(run.begun);
            [
                seconds(ended),
                run.duration().unwrap_or_default().as_secs_f64(),
                run.exit_code.unwrap_or(137).into(),
                run.told.bytes.unwrap_or_default() as f64,
            ]
        };
        for strand in Strand::all(runs, wanted.repositories) {
            let only = wanted.repositories.first().map_or("", String::as_str);
            let repository = strand.repository.unwrap_or(only);
            // Not `job`, which Prometheus and its Pushgateway have a meaning for.
            let labels = [("command", strand.job), ("repository", repository)];
            let newest = strand.newest(runs).map(values);
            for ((name, help), value) in NAMED.into_iter().zip(newest.into_iter().flatten()) {
                self.gauge(name, help, &labels, value);
            }
            let mut good = strand.ended(runs).filter(|run| !run.has_failed());
            if let Some(time) = good.find_map(|run| run.ended) {
                self.gauge(
                    "pgstow_run_last_success_timestamp_seconds",
                    "When a run of a job last ended well.",
                    &labels,
                    seconds(time),
                );
            }
        }
        if !wanted.plain {
            return;
        }
        for (job, run) in runs::newest(runs) {
            for ((name, (_, help)), value) in PLAIN.into_iter().zip(NAMED).zip(values(run)) {
                self.gauge(name, help, &[("command", job)], value);
            }
        }
    }
}

fn seconds(time: Time) -> f64 {
    time.timestamp() as f64
}
