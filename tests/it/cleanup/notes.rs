//! Notes of WAL go with the WAL that they speak of.

use pgstow::postgres::lsn::SystemId;

use super::{
    planted::Planted,
    story::{time, tli, within},
};
use crate::harness::Scratch;

#[test]
fn a_note_of_minimal_wal_goes_with_its_segment() {
    let scratch = Scratch::new();
    let planted = Planted::new(&scratch, "full = 1, min = 1");
    planted.backup(time("11-01"), 10, None);
    planted.backup(time("11-20"), 40, None);
    planted.segments(5..=50);
    for segment in [7, 10, 39, 40, 45] {
        let position = within(segment, 0x28);
        let added = planted
            .repository
            .add_minimal(SystemId(7), tli(1), position);
        added.unwrap();
    }
    planted.hand_over();
    planted.tool.command(&["cleanup"]).ok();
    let there = planted.objects();
    let notes = there.iter().filter(|name| name.contains("/minimal/"));
    let kept = [40, 45].map(|segment| {
        let position = within(segment, 0x28).0;
        format!("main/wal/7/minimal/00000001-{position:016X}.json")
    });
    assert!(notes.eq(kept.iter()), "{there:?}");
}
