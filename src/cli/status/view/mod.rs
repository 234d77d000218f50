//! stub
use crate::cli::Outcome;
use anyhow::Result;
pub(super) fn run(_runtime: &tokio::runtime::Runtime) -> Result<Outcome> {
    Ok(Outcome::Done)
}
