//! Each command does what it is asked for, whatever happens to one of its requests.

use super::{behind_proxy, requests, stow_in};
use crate::harness::{
    Cluster, Scratch, pg,
    proxy::{Fault, Proxy},
    random::{Random, rounds},
};

const FAULTS: [Fault; 5] = [
    Fault::Cut,
    Fault::Deaf,
    Fault::Refuse(500),
    Fault::Refuse(503),
    Fault::Truncate,
];

/// Runs `work` with each fault at one of its requests; in the long form, at each of them, the first, the second ...
pub fn with_faults(name: &str, proxy: &Proxy, mut work: impl FnMut(usize)) {
    let count = requests(proxy, || work(0)).len();
    assert!(count > 0, "{name} asks for nothing");
    let mut random = Random::new(name);
    let kinds = FAULTS.len();
    let each = (count * kinds) as u64;
    let tries = rounds(kinds as u64, each);
    for round in 0..tries as usize {
        let (number, fault) = match tries == each {
            true => (round / kinds, FAULTS[round % kinds]),
            false => (random.below(count as u64) as usize, FAULTS[round]),
        };
        println!("{name}: {fault:?} at request {} of {count}", number + 1);
        proxy.fail(number + 1, fault);
        work(round + 1);
    }
    proxy.fail(usize::MAX, Fault::Cut);
}

#[test]
fn each_command_outlives_a_fault_of_any_of_its_requests() {
    let of_bucket = Scratch::new();
    let (bucket, proxy) = behind_proxy(&of_bucket);
    let scratch = Scratch::new();
    let stow = stow_in(&bucket, &scratch, &of_bucket, pg(17));
    let cluster = &stow.cluster;
    cluster.psql("create table t as select n, md5(n::text) from generate_series(1, 20000) n");
    with_faults("archive-wal", &proxy, |_| {
        cluster.switch_wal();
    });
    with_faults("base", &proxy, |_| {
        stow.base(&["--full"]).ok();
    });
    let dump = cluster.dump("postgres");
    cluster.switch_wal();
    stow.tool.command(&["verify", "--all", "--wal"]).ok();
    with_faults("restore", &proxy, |round| {
        let target = scratch.join(&format!("copy-{round}"));
        stow.tool
            .command(&["restore", "--data-dir", target.to_str().unwrap()])
            .env("PGSTOW_CLUSTER_BINDIR", &cluster.pg.bindir)
            .ok();
        cluster.pg.verifybackup(&target).unwrap();
        proxy.fail(usize::MAX, Fault::Cut);
        let run = format!("run-{round}");
        let mut copy = Cluster::existing(&scratch, cluster.pg.clone(), &run, &target);
        copy.recover();
        assert!(copy.dump("postgres") == dump, "the dumps differ");
        copy.stop(crate::harness::Shutdown::Fast);
    });
    let mut full = 5;
    with_faults("cleanup", &proxy, |_| {
        full -= 1;
        stow.tool
            .command(&["cleanup"])
            .env("PGSTOW_REPO_RETENTION_FULL", full.max(1).to_string())
            .env("PGSTOW_REPO_RETENTION_MIN", "1")
            .ok();
    });
    stow.tool.command(&["verify", "--all", "--wal"]).ok();
}
