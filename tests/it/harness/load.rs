//! pgbench in the background, so that backups and archiving meet a server at work.

use std::process::{Child, Stdio};

use super::{Cluster, user};

pub struct Load {
    pgbench: Child,
}

impl Load {
    /// Makes pgbench's tables of `scale` (15 MB each) and starts about `rate` transactions a second.
    pub fn start(cluster: &Cluster, scale: u32, rate: u32) -> Self {
        user::run_ok(
            cluster
                .client("pgbench")
                .args(["-i", "-q", "-s", &scale.to_string()]),
        );
        Self::go_on(cluster, rate)
    }

    /// On tables that are there already, as after a restart of the server.
    pub fn go_on(cluster: &Cluster, rate: u32) -> Self {
        let pgbench = cluster
            .client("pgbench")
            .args(["-n", "-c", "2", "-T", "3600", "-R", &rate.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let load = Self { pgbench };
        cluster.wait_until("select count(*) > 0 from pgbench_history", "t");
        load
    }

    /// Stops it, and waits until the server has ended its transactions too.
    #[track_caller]
    pub fn stop(self, cluster: &Cluster) {
        drop(self);
        cluster.wait_until(
            "select count(*) from pg_stat_activity where application_name = 'pgbench'",
            "0",
        );
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.pgbench.kill();
        let _ = self.pgbench.wait();
    }
}
