//! `monitor --page`: what a real browser shows of it, on a phone and on a desk, by day and by night.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, path::PathBuf};

use chrono::TimeDelta;
use pgstow::{
    postgres::{lsn::SystemId, wal_name::SegmentSize},
    repo::{codec::Codec, document::FORMAT, repository::System},
    util::clock,
};
use serde_json::Value;

use super::Watched;
use crate::{
    cleanup::planted::Planted,
    harness::{Chromium, Cluster, Scratch, Screen, pg, random::rounds},
};

const PROBE: &str = include_str!("../../data/page/probe.js");

/// What somebody may have written where pgstow reads it.
const HOSTILE: &str =
    "</title><script>document.title='owned'</script><img src=x onerror=alert(1)> \"'&amp;";

const PHONE: u32 = 390;
const DESK: u32 = 1280;

/// Runs monitor; its report, and the page.
fn write_page(watched: &Watched) -> (Value, PathBuf) {
    let page = watched.scratch.join("page.html");
    let words = ["--json", "monitor", "--page", page.to_str().unwrap()];
    let command = watched.stow.tool.command(&words);
    let command = command.env("PGSTOW_MONITOR_BACKUP_AGE_WARNING", "0s");
    let command = command.env("PGSTOW_MONITOR_BACKUP_AGE_CRITICAL", "0s");
    let output = command.spawn().wait();
    let mode = fs::metadata(&page).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "web servers read it");
    (output.json(), page)
}

/// A page in a browser, with what is folded open.
fn look(browser: &mut Chromium, page: &Path, width: u32, dark: bool) -> Value {
    browser.open(page, Screen { width, dark });
    browser.eval("document.querySelectorAll('details').forEach(one => one.open = true)");
    let seen = browser.eval(PROBE);
    for nothing in ["loaded", "outside", "overlaps", "faint", "marks"] {
        assert_eq!(
            seen[nothing],
            Value::Array(vec![]),
            "{nothing}, {width} {dark}"
        );
    }
    assert_eq!(seen["scripts"], 0);
    assert_eq!(seen["tooWide"], 0, "it scrolls sideways at {width}");
    seen
}

fn rows<'a>(seen: &'a Value, caption: &str) -> &'a [Value] {
    let rows = seen["rows"][caption].as_array();
    rows.unwrap_or_else(|| panic!("no {caption:?} in {:#}", seen["rows"]))
}

/// Two timelines, chains, a pin, a gap, runs, and hostile words wherever there is room for any.
fn watched() -> Watched {
    let watched = Watched::start(17);
    let stow = &watched.stow;
    let pinned = stow.backup(&["--incremental", "--method", "local", "--label", HOSTILE]);
    let pin = ["pin", pinned.id(), "--reason", HOSTILE];
    stow.tool.command(&pin).ok();
    let segments: Vec<String> = (0..3).map(|_| stow.cluster.switch_wal()).collect();
    stow.backup(&[]);
    fs::remove_file(stow.wal_object(&segments[1])).unwrap();

    let copy = watched.scratch.join("copy");
    stow.cluster.basebackup(&copy, &["--write-recovery-conf"]);
    let mut standby = Cluster::existing(&watched.scratch, pg(17), "standby", &copy);
    standby.start();
    standby.wait_until("select count(*) from pg_stat_wal_receiver", "1");
    standby.promote();
    standby.switch_wal();

    let base = stow.base(&[]).env("PGSTOW_CLUSTER_HOST", "/<b>nowhere</b>");
    drop(base.env("PGSTOW_CONNECT_RETRIES", "0").fails(1));
    watched
}

#[test]
fn a_browser_shows_all_of_it() {
    let watched = watched();
    let (report, page) = write_page(&watched);
    let mut browser = Chromium::start(&watched.scratch);
    let seen = look(&mut browser, &page, PHONE, false);

    // Each check: what is wrong in full and worst first, the rest in a table.
    let checks = report["checks"].as_array().unwrap().iter();
    let checks = checks.filter(|one| one["check"] != "delivery");
    let (well, wrong): (Vec<&Value>, Vec<_>) = checks.partition(|one| one["state"] == "ok");
    assert!(well.len() > 10 && wrong.len() > 1, "{report:#}");
    let cards = seen["cards"].as_array().unwrap();
    assert_eq!(cards.len(), wrong.len());
    for check in wrong {
        let state = check["state"].as_str().unwrap().to_uppercase();
        let object = check["object"].as_str().map(|object| format!(" {object}"));
        let name = check["check"].as_str().unwrap();
        let title = format!("{state} {name}{}", object.unwrap_or_default());
        let card = cards.iter().find(|card| card["title"] == *title);
        let card = card.unwrap_or_else(|| panic!("no {title} in {cards:#?}"));
        // Commands stand in a type of their own instead.
        let plain = |text: &Value| text.as_str().unwrap().replace('`', "");
        assert_eq!(card["reason"], plain(&check["reason"]));
        let hint = plain(&check["hint"]);
        assert_eq!(card["hint"], format!("What to do: {hint}"));
    }
    let states = cards.iter().map(|card| {
        let title = card["title"].as_str().unwrap();
        ["CRITICAL", "UNKNOWN", "WARNING"]
            .iter()
            .position(|state| title.starts_with(state))
    });
    assert!(states.is_sorted());
    let shown: Vec<&Value> = rows(&seen, "Checks that are ok")
        .iter()
        .map(|row| &row[0])
        .collect();
    let names: Vec<&Value> = well.iter().map(|one| &one["check"]).collect();
    assert_eq!(shown, names);
    let state = report["state"].as_str().unwrap().to_uppercase();
    assert_eq!(seen["title"], format!("{state}: main - pgstow"));

    // The time line says what `list` says.
    let list = watched.stow.list();
    let backups = list["backups"].as_array().unwrap();
    assert_eq!(backups.len(), 3);
    let pictures = seen["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), 3);
    let line = &pictures[0];
    let full = "mark full";
    assert_eq!(
        line["marks"],
        serde_json::json!(["mark incremental", full, full])
    );
    // Before the gap and behind it, along either timeline.
    assert_eq!((&line["spans"], &line["gaps"]), (&4.into(), &1.into()));
    assert_eq!(
        (&pictures[1]["bars"], &pictures[2]["bars"]),
        (&3.into(), &3.into())
    );
    let said = line["description"].as_str().unwrap();
    for part in [
        "3 backups; timeline 2 can be restored from ",
        "; 1 gap in the WAL",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let windows = backups.iter().rev().flat_map(|backup| {
        let windows = backup["windows"].as_array().unwrap().iter();
        windows.map(|window| [backup["id"].clone(), window["to_lsn"].clone()])
    });
    let of_page = rows(&seen, "What each backup can be restored to").iter();
    let of_page: Vec<[Value; 2]> = of_page
        .map(|row| [row[0].clone(), row[3].clone()])
        .collect();
    assert_eq!(of_page, windows.collect::<Vec<_>>());
    let missing = rows(&seen, "WAL and its gaps")
        .iter()
        .filter(|row| row[0] == "MISSING");
    assert_eq!(missing.count(), 1);

    // What the dry run of cleanup says.
    let dry = watched
        .stow
        .tool
        .command(&["--json", "cleanup", "--dry-run"])
        .ok()
        .json();
    let decided = dry["backups"].as_array().unwrap().iter().rev();
    let decided: Vec<[String; 2]> = decided
        .map(|one| {
            let reasons = one["reasons"].as_array().unwrap().iter();
            let reasons: Vec<&str> = reasons.map(|why| why.as_str().unwrap()).collect();
            [one["id"].as_str().unwrap().to_owned(), reasons.join("; ")]
        })
        .collect();
    let of_page = rows(&seen, "Backups that stay").iter();
    let of_page: Vec<[String; 2]> = of_page
        .map(|row| [0, 2].map(|at| row[at].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(of_page, decided);

    // Runs, newest first, and words that became no markup.
    let runs = rows(&seen, "Newest runs on this host");
    assert_eq!(
        (&runs[0][1], &runs[1][1]),
        (&"FAILED".into(), &"done".into())
    );
    assert!(
        runs[0][6].as_str().unwrap().contains("<b>nowhere</b>"),
        "{:?}",
        runs[0]
    );
    let remarks = rows(&seen, "Backups, newest first")[1][8].as_str().unwrap();
    assert_eq!(remarks, format!("pinned: {HOSTILE}; label: {HOSTILE}"));

    for (width, dark) in [(PHONE, true), (DESK, false), (DESK, true)] {
        look(&mut browser, &page, width, dark);
    }
    is_drawn(&mut browser);
    is_accessible(&mut browser, &page);
}

/// The picture of it has many colours, most of them where the page is, not the browser's white.
fn is_drawn(browser: &mut Chromium) {
    let shot = browser.screenshot();
    let count = format!(
        "(async () => {{
            const image = new Image();
            image.src = 'data:image/png;base64,{shot}';
            await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
            canvas.drawImage(image, 0, 0);
            const bytes = canvas.getImageData(0, 0, image.width, image.height).data;
            return [image.width, new Set(new Uint32Array(bytes.buffer)).size];
        }})()"
    );
    // The page's own policy lets no image in.
    browser.leave();
    let drawn = browser.eval(&count);
    assert_eq!(drawn[0], DESK);
    assert!(drawn[1].as_u64().unwrap() > 50, "{drawn}");
}

/// All that can be used is reached by a keyboard, in order, and has a name.
fn is_accessible(browser: &mut Chromium, page: &Path) {
    let screen = Screen {
        width: PHONE,
        dark: false,
    };
    browser.open(page, screen);
    let folded = browser.eval(PROBE);
    let keys = folded["keys"].as_array().unwrap();
    assert!(keys.len() > 8, "{keys:?}");
    let mut reached = Vec::new();
    for _ in keys {
        browser.press("Tab", 9);
        let name = "(({tagName, className, textContent}) => \
            `${tagName} ${className} ${textContent.slice(0, 40)}`)(document.activeElement)";
        reached.push(browser.eval(name));
        let outline = "getComputedStyle(document.activeElement).outlineStyle";
        assert_eq!(browser.eval(outline), "solid", "{reached:?}");
    }
    assert_eq!(&reached, keys);
    browser.eval("document.querySelector('summary').focus()");
    browser.press("Enter", 13);
    assert_eq!(browser.eval("document.querySelector('details').open"), true);

    browser.eval("document.querySelectorAll('details').forEach(one => one.open = true)");
    let told = browser.accessible();
    let named = [
        "image",
        "img",
        "table",
        "link",
        "navigation",
        "heading",
        "DisclosureTriangle",
    ];
    let of_role = |wanted: &str| told.iter().filter(move |(role, _)| role == wanted).count();
    assert!(
        of_role("group") > 5 && of_role("table") > 5 && of_role("heading") > 5,
        "{told:?}"
    );
    assert!(of_role("image") + of_role("img") >= 3, "{told:?}");
    let nameless = told
        .iter()
        .find(|(role, name)| named.contains(&role.as_str()) && name.is_empty());
    assert_eq!(nameless, None);
}

/// Neither a server nor one of the repositories is there, two systems, far more backups than anybody reads: in the long
/// form 1,000.
#[test]
fn a_large_repository_makes_no_large_page() {
    let backups = rounds(400, 1000);
    let scratch = Scratch::new();
    let planted = Planted::new(&scratch, "days = 7, full = 2");
    let config = fs::read_to_string(planted.tool.config_file()).unwrap();
    let nowhere = scratch.join("<i>nowhere");
    let other = format!(
        "[repo.other]\nurl = \"{}\"\n[cluster.main]\nhost = \"/nowhere\"\n",
        nowhere.display()
    );
    fs::write(
        planted.tool.config_file(),
        config.replace("[cluster.main]\n", &other),
    )
    .unwrap();
    let now = clock::now();
    let older = System {
        format: FORMAT,
        system_id: SystemId(6),
        postgres_major: 16,
        segment_size: SegmentSize::new(16 << 20).unwrap(),
        wal_codec: Codec::None,
        encrypted: false,
        registered: now - TimeDelta::days(4000),
    };
    planted.repository.register(&older).unwrap();
    let page = scratch.join("page.html");
    let words = ["monitor", "--page", page.to_str().unwrap()];
    let mut browser = Chromium::start(&scratch);

    // Nothing yet.
    planted.hand_over();
    planted.tool.command(&words).fails(2);
    let seen = look(&mut browser, &page, PHONE, false);
    let text = seen["text"].as_str().unwrap();
    for said in [
        "No backup yet.",
        "Nothing can be restored",
        "No run is noted yet.",
        "Server: can't be asked: can't connect",
        "<i>nowhere",
        "Can't be read: there is no repository at",
    ] {
        assert!(text.contains(said), "no {said:?} in {text}");
    }

    let mut parent = None;
    for number in 0..backups {
        let ended = now - TimeDelta::hours(8 * (backups - number) as i64);
        let full = number % 7 == 0;
        parent = Some(planted.backup(ended, 1 + number, parent.filter(|_| !full)));
    }
    planted.segments(1..=backups);
    for number in (2..backups).step_by(3) {
        planted.remove_segment(number);
    }
    planted.hand_over();
    planted.tool.command(&words).fails(2);
    let seen = look(&mut browser, &page, PHONE, true);
    let bytes = fs::metadata(&page).unwrap().len();
    assert!(bytes < 400 << 10, "{bytes} bytes");
    assert_eq!(seen["pictures"][0]["marks"].as_array().unwrap().len(), 200);
    assert_eq!(rows(&seen, "Backups, newest first").len(), 100);
    let text = seen["text"].as_str().unwrap();
    for said in [
        &format!("{} older backups, which are in no picture", backups - 200),
        &format!("{} older backups", backups - 100),
        "older stretches and gaps",
    ] {
        assert!(text.contains(said), "no {said:?}");
    }
    // Where it can't be written, monitor says so.
    let words = [
        "--json",
        "monitor",
        "--only",
        "runs",
        "--page",
        "/proc/page.html",
    ];
    let report = planted.tool.command(&words).fails(3).json();
    let checks = report["checks"].as_array().unwrap();
    assert_eq!(checks[1]["check"], "delivery");
    assert_eq!(
        (&checks[1]["object"], &checks[1]["state"]),
        (&"page".into(), &"unknown".into())
    );
}
