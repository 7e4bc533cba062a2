//! Arguments of `monitor`.

use std::path::PathBuf;

use clap::{Args, builder::PossibleValuesParser};

use crate::domain::monitor::{checks, door};

/// Runs every check of server, repositories and host
///
/// Each has a state, a reason and, unless it is ok, a hint. The thresholds stand in [monitor] of
/// pgstow.toml.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pgstow monitor
  pgstow monitor --only backup_age,disk
  pgstow monitor --nagios
  pgstow monitor --quiet --textfile /var/lib/prometheus/node-exporter/pgstow.prom
  pgstow monitor --quiet --page /var/www/html/pgstow.html
  pgstow monitor --healthcheck")]
pub struct MonitorArgs {
    /// Only these checks, with commas between them
    #[arg(long, value_name = "CHECKS", value_delimiter = ',', hide_possible_values = true,
        value_parser = PossibleValuesParser::new(checks::names().chain([door::CHECK])))]
    pub only: Vec<String>,
    /// Print one line in the form of plugins for Nagios
    #[arg(long, conflicts_with = "json")]
    pub nagios: bool,
    /// Write the metrics to this file, for the textfile collector of Prometheus' node exporter
    #[arg(long, value_name = "FILE")]
    pub textfile: Option<PathBuf>,
    /// Send the metrics to this Pushgateway of Prometheus, such as http://gateway:9091
    #[arg(long, value_name = "URL")]
    pub pushgateway: Option<String>,
    /// Write a page for browsers to this file: every check, what can be restored, and what cleanup will do
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Say only what has changed since the last run with --changes, and once a day what lasts, as alerts do: for cron,
    /// which mails whatever is said
    #[arg(long, conflicts_with_all = ["nagios", "json"])]
    pub changes: bool,
    /// Have the figures of runs among the metrics as pg_backup_last_..., too
    #[arg(long)]
    pub plain_names: bool,
    /// Only send a test through all alerts, and tell how each went: exit code 0, or 3 if one failed
    #[arg(long, conflicts_with_all = ["only", "nagios", "textfile", "pushgateway", "page", "changes",
        "plain_names", "healthcheck"])]
    pub test_alert: bool,
    /// Only tell, without the server, whether the newest good backup is younger than
    /// monitor.backup_age.critical, and the newest good dump than monitor.dump_age.critical, of what there
    /// is: exit code 0 or 1
    #[arg(long, conflicts_with_all = ["only", "nagios", "textfile", "pushgateway", "page", "changes",
        "plain_names"])]
    pub healthcheck: bool,
    /// Only tell, through all alerts, of a unit of systemd that failed, such as pgstow-base@main, unless
    /// its job did so itself; for pgstow-alert@, with the variables that systemd sets for it
    #[arg(long, value_name = "UNIT", conflicts_with_all = ["only", "nagios", "textfile", "pushgateway",
        "changes", "plain_names", "test_alert", "healthcheck"])]
    pub failed_unit: Option<String>,
}
