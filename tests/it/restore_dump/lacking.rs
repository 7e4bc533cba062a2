//! Dumps that leave out what is beside tables and rows stand for their database, and say what they lack.

use serde_json::Value;

use super::{Site, make_shop, stem};
use crate::harness::pg;

#[test]
fn what_is_left_out_is_told() {
    let site = Site::start(pg(18));
    make_shop(&site.stow.cluster, "shop");
    let data = site.dump("shop", &["--", "--no-comments", "-x", "--no-owner"]);
    let listed = site.pgstow(&["list", "--dumps"]).ok().json();
    let dump = &listed["dumps"][0];
    // Who the owner is pg_dump tells in archives, whatever is asked of it.
    assert_eq!(
        (&dump["lacks"], &dump["part"]),
        (&"--no-comments -x".into(), &Value::Null)
    );
    let text = site.stow.tool.command(&["list", "--dumps"]).ok();
    text.stdout_contains("made with --no-comments -x, so that this is not in it");
    let restore = site.pgstow(&["restore-dump", "shop", "-d", "copy"]);
    let report = restore
        .expect_warning("was made with --no-comments -x: what that leaves out does not come back")
        .ok()
        .json();
    assert!(
        report["dump"].as_str().unwrap().ends_with(&stem(&data)),
        "{report}"
    );
    assert_eq!(
        site.sql("copy", "select obj_description('orders'::regclass)"),
        ""
    );
}
