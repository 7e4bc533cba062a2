//! What the phases of a drill took, as people read it.

use std::{
    io::{self, Write},
    time::Duration,
};

use crate::{repo::drill::Phase, util::units};

/// Each, and `all` of it.
pub fn write(phases: &[Phase], all: f64, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    for phase in phases {
        let bytes = phase.bytes.map(units::bytes);
        let cpu = phase.cpu_seconds;
        let cpu = cpu.map(|cpu| format!("{} on processors", time(cpu)));
        let told = [Some(time(phase.seconds)), bytes, cpu];
        let told: Vec<String> = told.into_iter().flatten().collect();
        writeln!(out, "  {:<18} {}", phase.name, told.join(", "))?;
    }
    writeln!(out, "  {:<18} {}", "all", time(all))
}

pub fn time(seconds: f64) -> String {
    units::duration(Duration::from_secs_f64(seconds.max(0.0)))
}
