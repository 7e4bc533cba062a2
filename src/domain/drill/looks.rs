//! What a drill looks at once the backup is restored, in the order in which it can be looked at.

use std::time::Duration;

use super::{
    RECOVERY, Run, amcheck, compare, files,
    living::{self, Restored},
    objects,
    pick::Picked,
    place::Place,
    recovery::{self, Ended},
    scratch_server::{Memory, ScratchServer},
    session,
};
use crate::{
    domain::{logical::validate::statements, restore::target::Target},
    error::{Kind, Result},
    postgres::{conninfo::ConnInfo, programs::Programs},
    repo::{drill::Phase, stopwatch::Stopwatch, verified::VerifiedCheck},
    util::clock,
};

/// What a server took on processors since it had taken so much.
fn since(before: Option<Duration>, server: &ScratchServer) -> Option<Duration> {
    let now = server.cpu().zip(before);
    now.map(|(now, before)| now.saturating_sub(before))
}

impl Run<'_> {
    /// All that comes behind the restore, which had `warnings`.
    pub(super) fn look(
        &mut self,
        picked: &Picked,
        programs: &Programs,
        place: &Place,
        warnings: &[String],
    ) -> Result<()> {
        let (check, phase) = files::manifest(programs, place, warnings, &self.cancel, self.meter)?;
        self.drill.checks.push(check);
        self.drill.phases.push(phase);
        let memory = Memory::of(&picked.choice.backup);
        let watch = Stopwatch::start();
        self.meter.begin("replaying WAL", 0);
        let started = ScratchServer::start(
            programs,
            place,
            &memory,
            &self.target_for_sql(picked),
            &self.request.ground.settings,
            &self.cancel,
        )?;
        let replayed = self.drill.segments * self.system.segment_size.bytes();
        let server = match started {
            Ok(server) => server,
            Err(words) => {
                self.drill.phases.push(watch.stop("replay", Some(replayed)));
                self.drill
                    .checks
                    .push(VerifiedCheck::of(RECOVERY, words, String::new()));
                return Ok(());
            }
        };
        let phase = watch.stop_with("replay", Some(replayed), server.cpu());
        self.drill.phases.push(phase);
        let asked = self.ask(picked, programs, &server);
        self.meter.begin("stopping the server", 0);
        let watch = Stopwatch::start();
        // First: one that was killed explains whatever else went wrong.
        server.stop()?;
        asked?;
        self.drill.phases.push(Phase {
            // All that the server took since its start is counted when it ends, and was told above.
            cpu_seconds: None,
            ..watch.stop("stop", None)
        });
        let checked = files::checksums(
            programs,
            place,
            picked.choice.backup.data_checksums,
            &self.cancel,
            self.meter,
        )?;
        self.drill.checks.push(checked.0);
        self.drill.phases.extend(checked.1);
        Ok(())
    }

    /// What statements and programs can find out of the server that runs.
    fn ask(&mut self, picked: &Picked, programs: &Programs, server: &ScratchServer) -> Result<()> {
        let info = session::superuser(&server.info()?, &self.request.ground.users, &self.cancel)?;
        let ended = Ended::ask(&info, &self.cancel)?;
        let next = living::next_transaction(&info, &self.cancel)?;
        let prepared = session::clear_way(&info, None, &self.cancel)?;
        self.drill.reached = Some(ended.reached());
        let mut recovery =
            recovery::judge(self.repository, self.system, self.archive, picked, &ended)?;
        let told = prepared.iter().map(|name| {
            format!("the prepared transaction {name:?} was open at that moment, and is rolled back in the drill alone")
        });
        recovery.details.extend(told);
        self.drill.checks.push(recovery);
        let target = match picked.wish.target {
            Target::Latest => Some(self.begun),
            _ => picked.target_time(),
        };
        let backup_end = picked.choice.backup.stop_time;
        let point = ended.point(target, backup_end, self.request.recovery_point);
        self.drill.checks.push(point);
        let (watch, before) = (Stopwatch::start(), server.cpu());
        self.meter.begin("looking at objects", 0);
        let (mut objects, drilled) = objects::look(&info, &self.cancel)?;
        let earlier = compare::earlier(self.repository, self.archive, &self.drill)?;
        objects.insert(0, compare::judge(earlier.as_ref(), &drilled));
        if let Some(unreadable) = drilled.unreadable() {
            objects[0] = unreadable;
        }
        let restored = Restored {
            info: &info,
            system: self.system.system_id,
            timeline: picked.choice.timeline,
            next,
        };
        let living = self.request.living.as_ref();
        objects.push(living::judge(living, &restored, &self.cancel)?);
        self.drilled = Some(drilled.held);
        self.drill.checks.extend(objects);
        let phase = watch.stop_with("objects", None, since(before, server));
        self.drill.phases.push(phase);
        let before = server.cpu();
        let checked = amcheck::look(
            &info,
            programs,
            self.request.amcheck_limit,
            self.request.ground.workers,
            &self.cancel,
            self.meter,
        )?;
        self.drill.checks.push(checked.0);
        self.drill.phases.extend(checked.1.map(|phase| {
            Phase {
                cpu_seconds: phase
                    .cpu_seconds
                    .zip(since(before, server))
                    .map(|(own, servers)| own + servers.as_secs_f64()),
                ..phase
            }
        }));
        self.statements(&info, server)
    }

    fn statements(&mut self, info: &ConnInfo, server: &ScratchServer) -> Result<()> {
        if self.request.sql.is_empty() {
            let skipped = VerifiedCheck::skipped("sql", "drill.sql has no statement");
            self.drill.checks.push(skipped);
            return Ok(());
        }
        let (watch, before) = (Stopwatch::start(), server.cpu());
        self.meter.begin("asking the statements of drill.sql", 0);
        let info = info.clone().with_database(&self.request.database);
        let check = match statements::check(&info, &self.request.sql, &self.cancel) {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => Some(VerifiedCheck::failed("sql", error.in_one_line())),
            Ok(asked) => asked.map(|asked| asked.check),
        };
        self.drill.checks.extend(check);
        let phase = watch.stop_with("sql", None, since(before, server));
        self.drill.phases.push(phase);
        Ok(())
    }

    /// What `pgstow.target` says to statements.
    fn target_for_sql(&self, picked: &Picked) -> String {
        clock::readable(picked.target_time().unwrap_or(self.begun))
    }
}
