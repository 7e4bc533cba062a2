//! `pgstow unpin`: lets a backup follow the rules of retention again.

use super::{
    context::Context,
    options::PinOptions,
    pin::{self, PinReport},
};
use crate::{error::Result, repo::backup_id::BackupId};

pub fn run(context: &Context, backup: BackupId) -> Result<PinReport> {
    let options = PinOptions {
        backup,
        reason: None,
        until: None,
    };
    pin::say(context, options, false)
}
