//! `pinhole demo`.

use anyhow::Result;

use super::{Outcome, args::DemoArgs};

pub(super) fn run(_args: &DemoArgs) -> Result<Outcome> {
    Ok(Outcome::Done)
}
