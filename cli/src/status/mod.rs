//! What a running instance shows of itself: on its control socket, for `pinhole status`; and on a page, if asked for.

mod ask;
mod foreign;
mod metrics;
mod page;
mod text;
#[cfg(feature = "tui")]
mod view;

use std::net::SocketAddr;

use anyhow::Result;
use pinhole::{
    Peer,
    status::{Snapshot, Status},
};

pub(super) use self::text::headline;
use self::{
    ask::{Answers, Silent},
    page::Page,
};
use super::{
    Outcome,
    args::{Common, StatusArgs},
    control::folder,
    journal::Level,
    message::{Message, OrSay},
    output,
    report::Reporter,
    say, texts,
};

/// Shows this instance on a page for as long as what is returned is held, if that is wanted.
pub(super) fn show(peer: &Peer, common: &Common, reporter: &mut Reporter) -> Result<Option<Page>> {
    let page = common.status.map(|address| Page::open(peer.status(), address)).transpose();
    let page = page.map_err(|error| texts::explain_bind(&error))?;
    if let Some(page) = &page {
        reporter.say(Level::Info, &Message::StatusPage(page.address()));
    }
    Ok(page)
}

/// `pinhole status`: asks all instances.
pub(super) fn run(args: &StatusArgs) -> Result<Outcome> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().or_say(|| Message::NoRuntime)?;
    if args.watch {
        return watch(&runtime);
    }
    let answers = runtime.block_on(ask::everybody());
    if args.json {
        for answer in &answers.all {
            output::out(format!("{}\n", answer.json.trim_end()).into_bytes());
        }
    } else {
        let texts: Vec<String> =
            answers.all.iter().map(|answer| text::page(&answer.snapshot, answer.user)).collect();
        output::out(texts.join("\n").into_bytes());
    }
    say_about_the_others(&answers);
    Ok(if answers.all.is_empty() { Outcome::NoneRuns } else { Outcome::Done })
}

fn say_about_the_others(answers: &Answers) {
    for silent in &answers.silent {
        say(&match silent {
            Silent::Own(path) => Message::DoesNotAnswer(path.clone()),
            Silent::OfUser(user) => Message::UserDoesNotAnswer(*user),
        });
    }
    let hidden = folder::hides_others();
    if answers.all.is_empty() && answers.silent.is_empty() && !hidden {
        say(&Message::NoneRuns);
    }
    if hidden {
        say(&Message::OthersRun);
    }
}

#[cfg(feature = "tui")]
fn watch(runtime: &tokio::runtime::Runtime) -> Result<Outcome> {
    use std::io::IsTerminal;
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Message::NoTerminal.into());
    }
    view::run(runtime)
}

#[cfg(not(feature = "tui"))]
fn watch(_runtime: &tokio::runtime::Runtime) -> Result<Outcome> {
    Err(Message::NoLiveView.into())
}

/// Returns what the instance does that has a UDP port, if it is one that this user may ask.
pub(super) async fn holder(udp: SocketAddr) -> Option<Snapshot> {
    let answers = ask::everybody().await;
    let has = |snapshot: &Snapshot| {
        let network = &snapshot.network;
        network.port == udp.port() && (udp.ip().is_unspecified() || network.local == Some(udp.ip()))
    };
    let own = answers.all.into_iter().filter(|answer| answer.user.is_none());
    own.map(|answer| answer.snapshot).find(has)
}

/// Returns the snapshot as JSON with a line's end.
pub(super) async fn to_json(status: &Status) -> String {
    let snapshot = status.snapshot(&texts::describe).await;
    let mut json = serde_json::to_string(&snapshot).unwrap_or_default();
    json.push('\n');
    json
}
