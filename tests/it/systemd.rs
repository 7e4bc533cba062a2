//! `pgstow systemd`: the files it writes, judged by systemd's own tools, and what it refuses. Under a systemd
//! that runs: `booted`.

mod booted;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{FlockOperation, flock};

use crate::harness::{Scratch, Tool, golden::golden, user};

/// The jobs that there are.
const JOBS: [&str; 6] = [
    "base",
    "incremental",
    "cleanup",
    "verify",
    "drill",
    "monitor",
];

/// The worst that the units may have, in tenths (systemd-analyze security).
const EXPOSURE: &str = "25";

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// Names and texts of a folder's files.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn tool(scratch: &Scratch) -> Tool {
    Tool::new(scratch).config(
        "[repo.local]\nurl = \"/srv/back up\"\n[repo.offsite]\nurl = \"/mnt/offsite\"\n\
         [cluster.main]\n[cluster.other]\n",
    )
}

/// Standard output without what differs from run to run.
fn steady(scratch: &Scratch, text: &str) -> String {
    let text = text.replace(scratch.join("").to_str().unwrap(), "SCRATCH/");
    let lines = text.lines().map(|line| match line.split_once("follows: ") {
        Some((what, _)) => format!("{what}follows: SUM\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn units_may_write_the_log() {
    let scratch = Scratch::new();
    let log = scratch.folder("log");
    let config = format!(
        "[repo.local]\nurl = \"/srv/backups\"\n[cluster.main]\n[log]\nfile = \"{}/pgstow.log\"\n",
        log.display()
    );
    let tool = Tool::new(&scratch).config(&config);
    let output = tool.command(&["systemd", "install", "--print"]).ok();
    let lines = output.stdout.lines();
    let writes: Vec<&str> = lines
        .filter(|line| line.starts_with("ReadWritePaths="))
        .collect();
    // The jobs, but for dumps, and the unit that tells of them.
    assert_eq!(writes.len(), JOBS.len() + 1, "{output}");
    let own = format!(" -{}", log.display());
    for line in writes {
        assert!(line.ends_with(&own), "{line}");
    }
}

#[test]
fn what_would_be_written() {
    let scratch = Scratch::new();
    let tool = tool(&scratch);
    let print = |name: &str, arguments: &[&str]| {
        let fixed = ["--cluster", "main", "systemd", "install", "--print"];
        let output = tool.command(&[&fixed, arguments].concat()).ok();
        golden(
            &format!("systemd/{name}.txt"),
            &steady(&scratch, &output.stdout),
        );
    };
    print("units", &["--on-calendar", "cleanup=Mon,Thu 04:30"]);
    print(
        "crontab",
        &[
            "--cron",
            "--on-calendar",
            "cleanup=30 4 * * 1,4",
            "--user",
            "pg",
        ],
    );
}

/// Dumps are made only where somebody speaks of them.
#[test]
fn the_job_of_dumps_is_there_where_dumps_are_made() {
    let scratch = Scratch::new();
    let tool = tool(&scratch);
    let names = |tool: &Tool, arguments: &[&str]| {
        let fixed = [
            "--json",
            "--cluster",
            "main",
            "systemd",
            "install",
            "--print",
        ];
        let json = tool.command(&[&fixed, arguments].concat()).ok().json();
        let files = json["print"]["files"].as_array().unwrap().clone();
        let text = |file: &serde_json::Value| file["text"].as_str().unwrap().to_owned();
        files.iter().map(text).collect::<String>()
    };
    assert!(!names(&tool, &[]).contains("dump --class"));
    assert!(!names(&tool, &["--cron"]).contains("dump --class"));
    let named = names(&tool, &["--on-calendar", "dump=05:00"]);
    assert!(
        named.contains("OnCalendar=05:00") && named.contains("dump --class auto"),
        "{named}"
    );
    let config = fs::read_to_string(tool.config_file()).unwrap();
    let tool = tool.config(&format!("[dump]\nformat = \"plain\"\n{config}"));
    assert!(names(&tool, &[]).contains("OnCalendar=01:00"));
    let cron = names(&tool, &["--cron"]);
    let line = cron
        .lines()
        .find(|line| line.contains("dump --class auto"))
        .unwrap();
    assert!(line.starts_with("0 1 * * * postgres "), "{line}");
    assert!(line.contains("/dump.lock "), "{line}");
}

#[test]
fn systemd_understands_the_units() {
    let scratch = Scratch::new();
    let tool = tool(&scratch);
    let folder = scratch.folder("units");
    let into = ["systemd", "install", "--into", folder.to_str().unwrap()];
    tool.command(&[&["--cluster", "main"], &into[..]].concat())
        .ok();
    // As they are shipped, for an instance, with a program that is there.
    for (name, text) in files(&shipped()) {
        let name = name.replace("@.", "@shipped.");
        fs::write(
            folder.join(name),
            text.replace("/usr/bin/pgstow", "/bin/true"),
        )
        .unwrap();
    }
    // And with the drop-in for a second repository.
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/systemd.md"));
    let page = page.unwrap();
    let mut blocks = page.split("```ini\n").skip(1);
    let second = blocks.find(|block| block.contains("--repo offsite base"));
    let (second, _) = second.unwrap().split_once("```").unwrap();
    let drop_in = folder.join("pgstow-base@shipped.service.d");
    fs::create_dir(&drop_in).unwrap();
    fs::write(
        drop_in.join("second.conf"),
        second.replace("/usr/bin/pgstow", "/bin/true"),
    )
    .unwrap();
    let (mut services, mut units) = (0, Vec::new());
    for (name, text) in files(&folder) {
        let path = folder.join(&name);
        if name.ends_with(".service") {
            services += 1;
            user::run_ok(
                Command::new("systemd-analyze")
                    .args([
                        "security",
                        "--offline=true",
                        "--no-pager",
                        "--threshold",
                        EXPOSURE,
                    ])
                    .arg(&path),
            );
        }
        if let Some((_, time)) = text.split_once("\nOnCalendar=") {
            let time = time.lines().next().unwrap();
            user::run_ok(Command::new("systemd-analyze").args(["calendar", time]));
        }
        if !name.contains("@.") {
            units.push(path);
        }
    }
    assert!(services > 2 * JOBS.len(), "{services}");
    let mut verify = Command::new("systemd-analyze");
    let output = verify
        .args(["verify", "--man=no"])
        .args(units)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // Other units of this host are read, too.
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("pgstow"))
        .collect();
    assert!(ours.is_empty() && output.status.success(), "{said}");
}

#[test]
fn the_exposure_that_the_page_tells_is_what_systemd_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/systemd.md"));
    let page = page.unwrap();
    let told = |name: &str| {
        let unit = format!("-{name}@`");
        let row = page
            .lines()
            .find(|line| line.starts_with("| `pgstow-base@`, ") && line.contains(&unit));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the table"));
        row.rsplit('|').nth(1).unwrap().trim().to_owned()
    };
    for (name, _) in files(&shipped()) {
        let Some(job) = name.strip_suffix("@.service") else {
            continue;
        };
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--no-pager"]);
        let said = user::run_ok(analyze.arg(shipped().join(&name)));
        let (_, level) = said.trim_end().rsplit_once(".service: ").unwrap();
        let level = level.split(' ').next().unwrap();
        assert_eq!(told(job.strip_prefix("pgstow-").unwrap()), level, "{name}");
    }
}

#[test]
fn cron_and_systemd_agree_on_the_times() {
    /// The days and times of a week in which systemd starts a job.
    fn of_systemd(expression: &str) -> Vec<String> {
        let mut command = Command::new("systemd-analyze");
        command.args([
            "calendar",
            "--iterations=7",
            "--base-time=2026-11-22 00:00:00 UTC",
            expression,
        ]);
        let shown = user::run_ok(command.env("TZ", "UTC").env("LC_ALL", "C"));
        let lines = shown.lines().filter_map(|line| line.split_once(": "));
        let times = lines.filter(|(name, _)| name.contains("Next elapse") || name.contains("Iter"));
        times
            .map(|(_, time)| time.trim())
            .filter(|time| ("2026-11-22".."2026-11-29").contains(&&time[4..14]))
            .map(|time| format!("{} {}", &time[..3], &time[15..20]))
            .collect()
    }
    fn of_cron(fields: &str) -> Vec<String> {
        let fields: Vec<&str> = fields.split(' ').collect();
        let (first, last) = match fields[4] {
            "*" => (0, 6),
            days => {
                let (first, last) = days.split_once('-').unwrap_or((days, days));
                (first.parse().unwrap(), last.parse().unwrap())
            }
        };
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        days[first..=last]
            .iter()
            .map(|day| format!("{day} {:0>2}:{:0>2}", fields[1], fields[0]))
            .collect()
    }
    let jobs = pgstow::domain::systemd::jobs::JOBS.iter();
    // What runs every hour, or oftener, has no days to compare.
    let has_hour = |cron: &str| cron.split(' ').nth(1) != Some("*");
    for job in jobs.filter(|job| has_hour(job.cron)) {
        let (_, time) = job.timer.split_once("\nOnCalendar=").unwrap();
        let time = time.lines().next().unwrap();
        assert_eq!(of_cron(job.cron), of_systemd(time), "{}", job.name);
    }
}

#[test]
fn every_file_has_its_job() {
    let mut names: Vec<String> = JOBS
        .iter()
        .chain(&["dump", "sync"])
        .flat_map(|job| ["service", "timer"].map(|kind| format!("pgstow-{job}@.{kind}")))
        .collect();
    // Of no timer: what is called, and what always runs.
    names.extend(["alert", "receive-wal"].map(|name| format!("pgstow-{name}@.service")));
    names.sort();
    let there: Vec<String> = files(&shipped())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(there, names);
}

#[test]
fn what_somebody_changed_stays() {
    let scratch = Scratch::new();
    let tool = tool(&scratch);
    let folder = scratch.folder("units");
    let run = |cluster: &str, arguments: &[&str]| {
        let place = ["--into", folder.to_str().unwrap()];
        let fixed = ["--json", "--cluster", cluster, "systemd"];
        tool.command(&[&fixed, arguments, &place].concat())
    };
    let actions = |output: crate::harness::output::Output| -> Vec<String> {
        let json = output.json();
        let did = json.get("install").or_else(|| json.get("remove")).unwrap();
        let files = did["files"].as_array().unwrap().iter();
        files
            .map(|file| file["action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(actions(run("main", &["install"]).ok()), ["written"; 13]);
    let first = files(&folder);
    assert_eq!(actions(run("main", &["install"]).ok()), ["unchanged"; 13]);
    assert_eq!(files(&folder), first);
    let moved = actions(run("main", &["install", "--on-calendar", "base=Sat 23:00"]).ok());
    assert_eq!(
        moved.iter().filter(|action| *action == "replaced").count(),
        1
    );

    // An operator's change: nothing at all is touched.
    let service = folder.join("pgstow-base@main.service");
    let changed = fs::read_to_string(&service).unwrap() + "Nice=19\n";
    fs::write(&service, &changed).unwrap();
    let before = files(&folder);
    for action in ["install", "remove"] {
        run("main", &[action])
            .fails(1)
            .stderr_contains("pgstow-base@main.service")
            .stderr_contains("--force");
        assert_eq!(files(&folder), before, "{action}");
    }
    let forced = actions(run("main", &["install", "--force"]).ok());
    assert_eq!(
        forced.iter().filter(|action| *action == "replaced").count(),
        2
    );
    assert_eq!(files(&folder), first);

    // The other cluster's units outlive the first cluster's.
    assert_eq!(actions(run("other", &["install"]).ok()).len(), 13);
    fs::create_dir(folder.join("pgstow-base@main.service.d")).unwrap();
    let removed = run("main", &["remove"]).ok().json();
    assert_eq!(
        removed["remove"]["files"].as_array().unwrap().len(),
        13,
        "{removed}"
    );
    let left = removed["remove"]["left"][0].as_str().unwrap();
    assert!(left.ends_with("pgstow-base@main.service.d"), "{removed}");
    assert_eq!(files(&folder).len(), 13);
    assert_eq!(actions(run("main", &["remove"]).ok()), [""; 0]);
    assert_eq!(actions(run("other", &["remove"]).ok()), ["removed"; 13]);
    assert!(files(&folder).is_empty());
}

/// By what is there, since the settings may be another's by now.
#[test]
fn what_is_there_goes_whatever_the_settings_say() {
    let scratch = Scratch::new();
    let tool = tool(&scratch);
    let config = fs::read_to_string(tool.config_file()).unwrap();
    let tool = tool.config(&format!("[dump]\nformat = \"plain\"\n{config}"));
    let folder = scratch.folder("units");
    let into = folder.to_str().unwrap();
    let install = |tool: &Tool, cluster: &str| {
        let words = ["--cluster", cluster, "systemd", "install", "--into", into];
        tool.command(&words).ok()
    };
    install(&tool, "main");
    let of_dumps = || {
        let names = files(&folder).into_iter().map(|(name, _)| name);
        names.filter(|name| name.contains("pgstow-dump@")).count()
    };
    assert_eq!(of_dumps(), 2);
    // Dumps are made no longer; WAL goes to a repository that nothing else does.
    let tool = tool.config(&config);
    install(&tool, "main")
        .stdout_contains("those of repository local alone")
        .stdout_contains("offsite");
    assert_eq!((of_dumps(), files(&folder).len()), (0, 13));
    let print = |words: &[&str]| {
        tool.command(
            &[
                words,
                &["--cluster", "main", "systemd", "install", "--print"],
            ]
            .concat(),
        )
        .ok()
    };
    let printed = print(&[]).stdout;
    let last = printed.lines().last().unwrap();
    assert!(
        last.starts_with("# Backups, ") && last.contains("offsite"),
        "{last}"
    );
    let printed = print(&["--json"]).json();
    assert_eq!(
        printed["print"]["others"],
        serde_json::json!(["offsite"]),
        "{printed:#}"
    );

    install(&tool, "other");
    let remove = |tool: &Tool, words: &[&str]| {
        tool.command(&[words, &["systemd", "remove", "--into", into]].concat())
    };
    // No section of any cluster is left, and then no settings that could be read.
    let tool = tool.config("[repo.local]\nurl = \"/srv\"\n[cluster.new]\n");
    remove(&tool, &["--cluster", "main"]).ok();
    assert_eq!(files(&folder).len(), 13);
    let tool = tool.config("[repo.local\n");
    remove(&tool, &["--cluster", "../main"]).fails(2);
    remove(&tool, &[]).ok();
    assert!(files(&folder).is_empty());
    remove(&tool, &[])
        .fails(1)
        .stderr_contains("no cluster has jobs");

    // cron's.
    let folder = scratch.folder("cron.d");
    let cron = ["--cron", "--into", folder.to_str().unwrap()];
    let run = |tool: &Tool, words: &[&str]| tool.command(&[words, &cron].concat());
    let both = "[cluster.a]\n[cluster.b-c]\n";
    let tool = tool.config(&format!("[repo.local]\nurl = \"/srv\"\n{both}"));
    for cluster in ["a", "b-c"] {
        run(&tool, &["--cluster", cluster, "systemd", "install"]).ok();
    }
    let tool = tool.config("[repo.local\n");
    run(&tool, &["systemd", "remove"])
        .fails(2)
        .stderr_contains("several clusters: a, b-c");
    run(&tool, &["--cluster", "b-c", "systemd", "remove"]).ok();
    run(&tool, &["systemd", "remove"]).ok();
    assert!(files(&folder).is_empty());
}

#[test]
fn a_crontab_is_written_and_removed() {
    let scratch = Scratch::new();
    let tool = tool(&scratch);
    let folder = scratch.folder("cron.d");
    let run = |action: &str| {
        let into = folder.to_str().unwrap();
        tool.command(&[
            "--cluster",
            "main",
            "systemd",
            action,
            "--cron",
            "--into",
            into,
        ])
    };
    run("install").ok();
    let [(name, text)] = files(&folder).try_into().unwrap();
    assert_eq!(name, "pgstow-main");
    fs::write(folder.join(&name), text.replace("0 6", "0 7")).unwrap();
    run("install").fails(1).stderr_contains("pgstow-main");
    fs::write(folder.join(&name), text).unwrap();
    run("remove").ok();
    assert!(files(&folder).is_empty());
}

#[test]
fn a_job_of_cron_is_not_begun_while_it_runs() {
    let scratch = Scratch::new();
    let state = scratch.join("state dir");
    let config = format!(
        "state_dir = \"{}\"\n[repo.local]\nurl = \"{}\"\n[cluster.main]\n",
        state.display(),
        scratch.join("nowhere").display()
    );
    let tool = Tool::new(&scratch).config(&config);
    let printed = tool.command(&["systemd", "install", "--cron", "--print"]);
    let printed = printed.ok().stdout;
    // As cron's shell does it; said and done.
    let run = |job: &str| {
        let mut lines = printed.lines();
        let line = lines.find(|line| line.contains(job)).unwrap();
        let command = &line[line.find(" nice ").unwrap()..];
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", command]).env_clear();
        let output = shell.env("PATH", "/usr/bin:/bin").output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (_, said) = run(" cleanup");
    assert!(said.contains("cleanup.lock: No such file"), "{said}");
    fs::create_dir_all(state.join("main")).unwrap();
    let (_, said) = run(" cleanup");
    assert!(said.contains("there is no repository"), "{said}");
    let file = fs::File::open(state.join("main/cleanup.lock")).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    assert_eq!(run(" cleanup"), (Some(1), String::new()));
    let (_, said) = run(" verify");
    assert!(said.contains("there is no repository"), "{said}");
}

#[test]
fn what_can_not_be_is_refused() {
    let scratch = Scratch::new();
    let tool = tool(&scratch);
    for (arguments, code, says) in [
        (&["--on-calendar", "base=at night"][..], 2, "OnCalendar="),
        (&["--on-calendar", "base"], 2, "JOB=EXPR"),
        (
            &["--on-calendar", "dance=daily"],
            2,
            "jobs are: base, incremental",
        ),
        (
            &[
                "--on-calendar",
                "base=daily",
                "--on-calendar",
                "base=weekly",
            ],
            2,
            "two times",
        ),
        (&["--on-calendar", "base=daily", "--cron"], 2, "five fields"),
        (&["--on-calendar", "base=2020-01-01"], 2, "never comes"),
        (&["--on-calendar", "base=*-02-30"], 2, "never comes"),
        (
            &["--cron", "--on-calendar", "base=0 3 30 2 *"],
            2,
            "never comes",
        ),
        (&["--user", "a b"], 2, "not a user's name"),
        (&["--into", "/nowhere/at/all"], 1, "there is no folder"),
        // The tests call it as the server's user.
        (&[], 1, "only root"),
        (&["--cron"], 1, "only root"),
    ] {
        let fixed = ["--cluster", "main", "systemd", "install"];
        tool.command(&[&fixed, arguments].concat())
            .fails(code)
            .stderr_contains(says);
    }
    tool.command(&["systemd", "install", "--print"])
        .fails(2)
        .stderr_contains("--cluster");
}
