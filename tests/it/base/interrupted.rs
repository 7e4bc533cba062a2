//! A base backup that ends early leaves nothing that counts, and the next one clears the rest.

use std::{thread, time::Duration};

use rustix::process::Signal;

use crate::harness::{Scratch, Shutdown, Stow, pg, random::Random, tool::Running};

/// Slow enough that there is time to break it.
fn slow(stow: &Stow, method: &str) -> Running {
    let slowly = ["--max-rate", "4MB", "--method", method];
    let mut running = stow.base(&slowly).spawn();
    for _ in 0..2000 {
        let begun = |name: &String| stow.stored_as(name).object("alive-1.json").exists();
        if stow.folders().iter().any(begun) {
            return running;
        }
        assert!(running.is_running(), "{}", running.stderr());
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no backup began")
}

fn states(stow: &Stow) -> Vec<String> {
    let state = |backup: &serde_json::Value| backup["state"].as_str().unwrap().to_owned();
    stow.backups().iter().map(state).collect()
}

#[test]
fn a_second_one_is_refused_and_harms_nothing() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(16));
    let first = slow(&stow, "auto");
    let id = stow.folders().remove(0);
    stow.base(&[])
        .fails(1)
        .stderr_contains("another base backup of cluster main is running")
        .stderr_contains(&id)
        .stderr_contains("wait until it has ended");
    assert_eq!(states(&stow), ["running"]);
    let output = first.wait();
    assert!(output.status.success(), "{output}");
    assert_eq!(stow.folders(), [id]);
    stow.tool.command(&["verify"]).ok();
}

#[test]
fn of_two_at_the_same_moment_one_is_refused() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(18));
    for round in 1..=6 {
        // Slow enough that neither has ended when the other begins.
        let start = || stow.base(&["--max-rate", "32MB"]).spawn();
        let outputs = [start(), start()].map(Running::wait);
        let (taken, refused): (Vec<_>, Vec<_>) = outputs
            .into_iter()
            .partition(|output| output.status.success());
        let ([taken], [refused]) = (&taken[..], &refused[..]) else {
            panic!("round {round}: {} of 2 were taken", taken.len());
        };
        assert_eq!(refused.status.code(), Some(1), "{refused}");
        let says = |text| refused.stderr.contains(text);
        assert!(
            says("another base backup of cluster main is running"),
            "{refused}"
        );
        let id = stow.stored(taken).id().to_owned();
        assert!(says(&id), "{refused}");
        assert_eq!(stow.folders().len(), round);
    }
    stow.tool.command(&["verify", "--all", "--wal"]).ok();
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    let scratch = Scratch::new();
    let stow = Stow::start(&scratch, pg(15));
    for (signal, method) in [
        (Signal::INT, "stream"),
        (Signal::TERM, "stream"),
        (Signal::INT, "local"),
        (Signal::TERM, "local"),
        // A terminal that is closed.
        (Signal::HUP, "local"),
    ] {
        let running = slow(&stow, method);
        running.signal(signal);
        let output = running.wait();
        assert_eq!(output.status.code(), Some(130), "{output}");
        assert!(stow.folders().is_empty(), "{:?}", stow.folders());
        stow.cluster
            .wait_until("select count(*) from pg_stat_replication", "0");
    }
    stow.backup(&[]);
}

#[test]
fn a_server_that_dies_is_an_error_and_nothing_is_left() {
    let scratch = Scratch::new();
    let mut stow = Stow::start(&scratch, pg(17));
    for method in ["stream", "local"] {
        let running = slow(&stow, method);
        stow.cluster.stop(Shutdown::Immediate);
        let output = running.wait();
        assert_eq!(output.status.code(), Some(1), "{output}");
        assert!(output.stderr.contains("error: "), "{output}");
        assert!(output.stderr.contains("hint: "), "{output}");
        assert!(stow.folders().is_empty(), "{output}");
        stow.cluster.start();
    }
    stow.backup(&[]);
}

#[test]
fn killed_at_any_moment() {
    let long = std::env::var_os("PGSTOW_TEST_LONG").is_some();
    let rounds = if long { 50 } else { 8 };
    let mut random = Random::new("killed_at_any_moment");
    let scratch = Scratch::new();
    let stow = Stow::build(&scratch, pg(18))
        .repo("part_size = \"4MB\"")
        .start();
    let mut whole = 0;
    for round in 0..rounds {
        // Every fourth one has time to end, and clears what the others left.
        let last = round % 4 == 3;
        // A fast one takes less than a second; some of them end before they are killed.
        let moment = Duration::from_millis(random.below(1000));
        let method = ["local", "stream"][round / 4 % 2];
        let mut running = stow.base(&["--method", method]).spawn();
        if !last {
            thread::sleep(moment);
        }
        if !last && running.is_running() {
            running.signal(Signal::KILL);
        }
        let status = running.wait().status;
        assert!(status.success() || !last, "round {round}");
        // Killed behind its commit point, it counts all the same.
        let complete = states(&stow)
            .iter()
            .filter(|state| *state == "complete")
            .count();
        let by = usize::from(status.success());
        assert!(
            (whole + by..=whole + 1).contains(&complete),
            "round {round}, {moment:?}"
        );
        whole = complete;
        if last {
            assert_eq!(stow.folders().len(), whole, "round {round}");
            stow.tool.command(&["verify", "--all", "--wal"]).ok();
        }
    }
}
