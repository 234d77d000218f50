//! Usage errors: what is wrong with a command line, where the parser's own words would not help.

use clap::{
    CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{args::Cli, config::similar, message::Message};

/// Returns what is wrong and how the right form looks; `None` where the parser says it well.
pub(super) fn explain(error: &clap::Error, typed: &[String]) -> Option<Message> {
    let first = typed.first()?;
    let kind = error.kind();
    let is_short = first.starts_with('-');
    // Any word may be a TCP_PORT, so that the parser takes a misspelt command for one and misses something else.
    let could_be_command = !is_short && first.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    let is_misread = matches!(
        kind,
        ErrorKind::MissingRequiredArgument | ErrorKind::ValueValidation | ErrorKind::UnknownArgument
    );
    if could_be_command && is_misread && !is_command(first) {
        return Some(no_such_command(first));
    }
    let has = |option: &str| typed.iter().any(|word| word == option);
    if is_short && has("-c") && has("-l") {
        return Some(Message::TwoSides);
    }
    let command = typed.iter().find(|word| is_command(word));
    if let Some(command) = command
        && is_short
        && !has("-c")
        && !has("-l")
        && matches!(
            kind,
            ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict | ErrorKind::UnknownArgument
        )
    {
        return Some(Message::OptionBeforeCommand { option: first.clone(), command: command.clone() });
    }
    if kind == ErrorKind::UnknownArgument { unknown(error, typed, is_short) } else { None }
}

fn unknown(error: &clap::Error, typed: &[String], is_short: bool) -> Option<Message> {
    let option = text(error, ContextKind::InvalidArg)?;
    let is_glued = |word: &&String| {
        ["-c", "-l"]
            .iter()
            .any(|side| word.strip_prefix(side).is_some_and(|port| port.starts_with(char::is_numeric)))
    };
    Some(match option.as_str() {
        "--port" if is_short => Message::PortOfShortForm,
        "--peer" if is_short => Message::PeerOfShortForm,
        "-p" => Message::NoShortPort,
        "-v" => Message::NoVerbose,
        "-L" | "-R" | "-D" => Message::NotSsh { option },
        _ => match typed.iter().find(is_glued) {
            Some(word) => {
                let (side, port) = word.split_at(2);
                Message::GluedPort { word: word.clone(), side: side.to_owned(), port: port.to_owned() }
            }
            None => Message::NoSuchOption {
                option,
                meant: match text(error, ContextKind::SuggestedArg) {
                    Some(meant) => format!(": did you mean {meant}?"),
                    None => ".".into(),
                },
                help: match typed.first() {
                    Some(command) if is_command(command) => format!("pinhole {command} --help"),
                    _ => "pinhole --help".into(),
                },
            },
        },
    })
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    if let Some(ContextValue::String(text)) = error.get(kind) { Some(text.clone()) } else { None }
}

fn no_such_command(word: &str) -> Message {
    let commands: Vec<String> = Cli::command().get_subcommands().map(|c| c.get_name().into()).collect();
    let meant = similar(word, commands.iter().map(String::as_str));
    let meant = meant.map_or_else(String::new, |meant| format!(" Did you mean `pinhole {meant}`?"));
    Message::NoSuchCommand { word: word.to_owned(), commands: commands.join(", "), meant }
}

fn is_command(word: &str) -> bool {
    Cli::command().get_subcommands().any(|command| command.get_name() == word)
}
