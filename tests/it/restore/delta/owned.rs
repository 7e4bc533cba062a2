//! Whose a folder is, and what a slip of the hand must not cost.

use std::fs;

use super::{
    Site, folder,
    tree::{assert_same, tree},
    write,
};
use crate::harness::{Cluster, Shutdown, pg};

#[test]
fn a_running_server_and_folders_of_others_stay_as_they_are() {
    let site = Site::begin(pg(15));
    let live = site.path("copy");
    site.restore("copy", &[]).ok();
    let mut cluster = super::open(super::copy(&site.scratch, &site.stow, "copy"));
    site.restore("copy", &["--delta"])
        .fails(1)
        .stderr_contains("stop that server first");
    assert_eq!(cluster.psql("select count(*) from far"), "20000");
    assert!(live.join("global/pg_control").exists());
    assert!(!live.join("pgstow-restore.json").exists());
    cluster.stop(Shutdown::Fast);

    let stranger = Cluster::build(&site.scratch, pg(15))
        .name("stranger")
        .make();
    let stranger = stranger.data_dir().to_owned();
    folder(&site.path("others"));
    write(&site.path("others/letter"), b"dear");
    let name = stranger
        .strip_prefix(site.path(""))
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let before = (tree(&stranger), tree(&site.path("others")));
    for (place, words, problem) in [
        (name.as_str(), &["--delta"][..], "holds another cluster"),
        ("others", &["--delta"], "is no data directory"),
        ("others", &["--delta", "--force"], "is no data directory"),
    ] {
        for only_plan in [&["--plan"][..], &[]] {
            site.restore(place, &[words, only_plan].concat())
                .fails(1)
                .stderr_contains(problem);
        }
    }
    assert_same(&tree(&stranger), &before.0);
    assert_same(&tree(&site.path("others")), &before.1);
    site.restore("copy", &["--delta", "--replace"]).fails(2);
    site.restore("copy", &["--force"]).fails(2);
    site.restore("copy", &["--trust-times"]).fails(2);

    // The live server's: a copy of its data directory would lead there by its links.
    let theirs = format!("{}={}", site.oid, site.path("ts").display());
    for only_plan in [&["--plan"][..], &[]] {
        let words = [
            "--target-immediate",
            "--delta",
            "--force",
            "--tablespace",
            &theirs,
        ];
        super::restore(
            &site.scratch,
            &site.stow,
            "copy",
            &[&words, only_plan].concat(),
        )
        .0
        .fails(1)
        .stderr_contains("is a tablespace of the server that runs on");
    }
    let main = &site.stow.cluster;
    assert_eq!(main.psql("checkpoint; select count(*) from far"), "20000");

    // A tablespace's folder that nothing shows to be this cluster's.
    let moved = format!("{}={}", site.oid, site.path("others").display());
    let taken = |words: &[&str]| {
        let fixed = ["--target-immediate", "--delta", "--tablespace", &moved];
        super::restore(&site.scratch, &site.stow, "copy", &[&fixed, words].concat()).0
    };
    taken(&[])
        .fails(1)
        .stderr_contains("is not empty")
        .stderr_contains("--force");
    taken(&["--force"])
        .ok()
        .stdout_contains("its files are left as they are");
    assert_eq!(fs::read(site.path("others/letter")).unwrap(), b"dear");
    fs::remove_file(site.path("others/letter")).unwrap();
    site.stow.cluster.pg.verifybackup(&live).unwrap();

    // Without pg_control, nothing tells whose it is but the word of a person.
    site.restore("copy2", &[]).ok();
    fs::remove_file(site.path("copy2/global/pg_control")).unwrap();
    site.restore("copy2", &["--delta"])
        .fails(1)
        .stderr_contains("can't be told")
        .stderr_contains("--force");
    site.delta("copy2", &["--force"]);
    site.stow
        .cluster
        .pg
        .verifybackup(&site.path("copy2"))
        .unwrap();
    site.restore(&name, &["--delta", "--force"])
        .ok()
        .stdout_contains("holds another cluster");
    site.stow.cluster.pg.verifybackup(&stranger).unwrap();
}
