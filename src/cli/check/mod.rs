//! `pinhole check`: what stands in the way of a tunnel, and what would help.

mod machine;
mod sheet;

use anyhow::{Context, Result};
use pinhole::{Peer, check::Machine, hub};
use serde_json::{Value, json};

use self::{machine::Own, sheet::Sheet};
use super::{Outcome, args::CheckArgs, talk, tunnel};

pub(super) fn run(args: &CheckArgs) -> Result<Outcome> {
    talk::start();
    tunnel::start_logging(args.debug);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let outcome = runtime.block_on(check(args));
    runtime.shutdown_timeout(tunnel::SHUTDOWN);
    outcome
}

async fn check(args: &CheckArgs) -> Result<Outcome> {
    let own = look(args).await?;
    let advice = own.advice();
    let mut sheet = Sheet::new(own.sentence(), &advice);
    sheet.section("this machine", own.machine_lines());
    sheet.section("the way out", own.hop_lines());
    let mut value = json!({ "sentence": own.sentence(), "advice": advice });
    value["own"] = own.json();
    show(args, &sheet, &value);
    Ok(if own.standing().is_obstacle() { Outcome::NoPath } else { Outcome::Done })
}

/// Looks at what can be seen without the peer.
async fn look(args: &CheckArgs) -> Result<Own> {
    let main = (args.bind, args.port).into();
    let peer = match &args.peer {
        Some(name) => {
            let found = Peer::new(name, args.port).resolve().await;
            Some(found.map_err(|error| tunnel::advise(error.into()))?[0])
        }
        None => None,
    };
    let machine = Machine::look(main, peer);
    let hops = match peer {
        Some(peer) if machine.source.is_some() => {
            hub::hops(args.bind.into(), peer).await.context("cannot look at the way to the peer")?
        }
        Some(_) | None => Vec::new(),
    };
    Ok(Own { machine, hops, port: args.port, peer })
}

/// Prints the report.
fn show(args: &CheckArgs, sheet: &Sheet, value: &Value) {
    if args.json {
        talk::out(format!("{value}\n").into_bytes());
    } else {
        talk::out(sheet.text().into_bytes());
    }
}
