//! `pinhole check`: what stands in the way of a tunnel, and what would help.

mod layout;
mod machine;
mod meet;
mod pair;
mod stun;

#[cfg(test)]
pub(super) use self::{
    machine::{FIREWALL, ONLY_A_PEER},
    meet::{apart, broken},
    stun::all_sentences as stun_sentences,
};

use anyhow::Result;
use pinhole::{
    check::{self, Machine},
    mux,
};
use serde_json::{Value, json};

use self::{layout::Layout, machine::Own, meet::Meeting, pair::Pair};
use super::{
    Outcome,
    args::CheckArgs,
    message::{Message, OrSay},
    named_peer::NamedPeer,
    output, say, tunnel,
};

pub(super) fn run(mut args: CheckArgs) -> Result<Outcome> {
    let named =
        args.peer.as_deref().map(|peer| NamedPeer::find(peer, args.port, &args.config)).transpose()?;
    if let Some(NamedPeer { peer, section, .. }) = &named {
        args.port = Some(peer.port);
        section.fill_key(&mut args.key);
        let tunnel = section.tunnel();
        args.bind = args.bind.or(tunnel.bind);
        args.limits.fill(&tunnel.limits);
    }
    output::start();
    tunnel::start_logging(args.debug);
    tunnel::raise_descriptor_limit();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().or_say(|| Message::NoRuntime)?;
    let outcome = runtime.block_on(run_check(&args, named.as_ref()));
    runtime.shutdown_timeout(tunnel::SHUTDOWN);
    outcome
}

async fn run_check(args: &CheckArgs, named: Option<&NamedPeer>) -> Result<Outcome> {
    let own = look(args, named).await?;
    let alone = |outcome| {
        Report::new(&own, own.sentence().to_string(), Vec::new()).show(&own, args);
        Ok(outcome)
    };
    if own.standing().is_obstacle() {
        return alone(Outcome::NoPath);
    }
    let Some(named) = named else { return alone(Outcome::Done) };
    let Some(found) = meet::key(args)? else {
        say(&Message::NoKeyForCheck);
        return alone(Outcome::Done);
    };
    let mut outcome = Outcome::NoPath;
    let report = match meet::meet(args, &own, &named.peer, &found).await? {
        Meeting::Checked { outcome: checked, connected, has_watched } => {
            outcome = Outcome::Done;
            let pair = Pair { role: meet::role(args), outcome: &checked, connected, has_watched };
            let mut report = Report::new(&own, pair.sentence().to_string(), pair.advice());
            report.layout.section("the path", pair.path_lines());
            report.layout.section("this side, as the peer sees it", pair.own_lines());
            report.layout.section("the peer's side, as seen from here", pair.peer_lines());
            report.value["pair"] = pair.json();
            report
        }
        Meeting::Apart(search_report) => {
            let cause = search_report.map(|found| found.cause());
            let mut report = Report::new(&own, meet::apart(args.wait, cause.as_ref()), Vec::new());
            report.value["cause"] = json!(cause.map(|why| why.name()));
            report
        }
        Meeting::Told(sentence) => Report::new(&own, sentence, Vec::new()),
        Meeting::Broken(error) => Report::new(&own, meet::broken(&error), Vec::new()),
        Meeting::Ended => Report::new(&own, own.sentence().to_string(), Vec::new()),
    };
    report.show(&own, args);
    Ok(outcome)
}

/// Looks at what can be seen without the peer.
async fn look(args: &CheckArgs, named: Option<&NamedPeer>) -> Result<Own> {
    let main = (args.own_ip(), args.udp_port()).into();
    let peer = match named {
        Some(named) => {
            let found = named.peer.resolve().await.map_err(|error| named.advise(error.into()))?;
            found.first().copied()
        }
        None => None,
    };
    let machine = Machine::look(main, peer);
    let hops = match peer {
        Some(peer) if machine.source.is_some() => {
            mux::hops(args.own_ip().into(), peer).await.or_say(|| Message::CannotTrace)?
        }
        Some(_) | None => Vec::new(),
    };
    let own = Own { machine, hops, port: args.udp_port(), limits: args.limits.limits(), peer, stun: None };
    match &args.stun {
        Some(host) if !own.standing().is_obstacle() => {
            let stun = check::ask_stun(main, host).await.or_say(|| Message::Stun)?;
            Ok(Own { stun: Some(stun), ..own })
        }
        Some(_) | None => Ok(own),
    }
}

/// The report, for people and for programs.
struct Report {
    layout: Layout,
    value: Value,
}

impl Report {
    /// Begins with the sentence that matters and what to mend, on this machine and elsewhere.
    fn new(own: &Own, sentence: String, mut advice: Vec<Message>) -> Self {
        advice.extend(own.advice());
        let advice: Vec<String> = advice.iter().map(ToString::to_string).collect();
        let value = json!({ "sentence": sentence, "advice": advice, "own": own.json() });
        Self { layout: Layout::new(sentence, &advice), value }
    }

    /// Prints it; what this machine is like stands at the end.
    fn show(mut self, own: &Own, args: &CheckArgs) {
        self.layout.section("this machine", own.machine_lines());
        self.layout.section("the way out", own.hop_lines());
        if let Some(stun) = &own.stun {
            self.layout.section(format!("what {}, a third party, sees", stun.server), stun::lines(stun));
        }
        let text = if args.json { format!("{}\n", self.value) } else { self.layout.text() };
        output::out(text.into_bytes());
    }
}
