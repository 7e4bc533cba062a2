//! What changed since somebody who reads the output was last told: cron mails whatever is said, which would be
//! the same every five minutes. What was told is noted in the state folder, `changes.json`, as it is of alerts.
//! Where that can't be noted, what is bad is said at every run.

use std::{path::Path, time::Duration};

use super::{
    alert::{self, Item, News, Wishes},
    ledger::Ledger,
    state_file,
};
use crate::{error::Result, util::clock};

const FILE: &str = "changes.json";
const LOCK: &str = "changes.lock";
/// Who reads it, as the only one in the file.
const READER: &str = "output";

/// For another run that notes the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// What there is to say, which is then noted as said.
pub fn since_last(state: &Path, news: &News, wishes: Wishes) -> Result<Vec<Item>> {
    let _lock = state_file::lock(state, LOCK, PATIENCE)?;
    let mut ledger = Ledger::read(state, FILE)?;
    let account = ledger.account(READER);
    let plan = alert::plan(&account.known, news, clock::now(), wishes);
    if plan.told != account.known {
        account.known = plan.told;
        ledger.write(state, FILE)?;
    }
    Ok(plan.items)
}
