//! What to type when something was dropped or deleted. What happened lately is not shown: it would have all WAL be read,
//! every few minutes.

use chrono::TimeDelta;

use super::html::Html;
use crate::util::clock::{Time, readable, whole_seconds};

/// How long ago an example is.
const AGO: TimeDelta = TimeDelta::minutes(30);

pub fn section(html: &mut Html, cluster: &str, now: Time) {
    html.tag("section", &[("aria-labelledby", "accident")], |html| {
        html.raw("<h2 id=\"accident\">After an accident</h2>");
        let pgstow = format!("pgstow --cluster {cluster}");
        let around = readable(whole_seconds(now - AGO));
        for text in [
            format!(
                "What was dropped, emptied or deleted around a time, and how to get back to just before it: \
                 `{pgstow} find-target --around '{around}' --window 15m`"
            ),
            format!(
                "One table of that moment beside what lives, once that has told the target: `{pgstow} restore --table \
                 DATABASE.SCHEMA.TABLE --target-lsn LSN --target-exclusive --to-database NAME`, with `--plan` first."
            ),
            format!(
                "The whole cluster, beside the living one: `{pgstow} restore --data-dir DIR --target-lsn LSN --target-exclusive`, \
                 with `--plan` first."
            ),
        ] {
            html.tag("p", &[], |html| html.prose(&text));
        }
    });
}
