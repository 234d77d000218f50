//! `pinhole completions` and `pinhole man`: what shells and `man` are told of the command line, from its one definition.
//!
//! A shell's script asks the program itself at each key, so that it can complete what only the program knows. Script
//! and program belong together: a package installs both, and by hand the script is best made anew by each shell.

use std::{fs, io, path::Path};

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{
    CompleteEnv,
    env::{Bash, EnvCompleter, Fish, Shells, Zsh},
};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{
    args::Cli,
    message::{Message, OrSay},
    output,
};

/// Environment variable by which a shell's script asks.
const VARIABLE: &str = "PINHOLE_COMPLETE";

const SHELLS: Shells<'static> = Shells(&[&Bash, &Zsh, &Fish]);

pub(super) const COMPLETIONS_HELP: &str = "bash, in ~/.bashrc:                    source <(pinhole completions bash)
zsh, in ~/.zshrc, behind compinit:     source <(pinhole completions zsh)
fish, in ~/.config/fish/config.fish:   pinhole completions fish | source

For a package: bash-completion/completions/pinhole, zsh/site-functions/_pinhole and fish/vendor_completions.d/pinhole.fish under /usr/share.

Exit status: 0 done, 2 wrong use.";

pub(super) const MAN_HELP: &str = "Example: pinhole man ~/.local/share/man/man1 && man pinhole-open

Exit status: 0 done, 2 wrong use or a folder that cannot be written.";

/// Shells whose command lines can be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Answers a shell that asks how a command line goes on, and ends the program then.
pub(super) fn complete() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).shells(SHELLS).complete();
}

/// `pinhole completions`: prints the script that has a shell ask.
pub(super) fn completions(shell: Shell) -> Result<()> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, "pinhole", "pinhole", "pinhole", &mut script)
        .or_say(|| Message::CannotDescribe("script"))?;
    if shell.is("zsh") {
        script.extend(AT_ONCE.as_bytes());
    }
    output::out(script);
    Ok(())
}

/// zsh runs a file `_pinhole` of its search path when the first completion is wanted, as the function of that name.
const AT_ONCE: &str =
    "if [ \"$funcstack[1]\" = _pinhole ]; then _clap_dynamic_completer_pinhole \"$@\"; fi\n";

/// `pinhole man`: writes a page for each command.
pub(super) fn pages(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).or_say(|| Message::CannotMakeFolder(folder.to_owned()))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write_pages(&command, folder)
}

fn write_pages(command: &clap::Command, folder: &Path) -> Result<()> {
    let page = page(command).or_say(|| Message::CannotDescribe("page"))?;
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page).or_say(|| Message::CannotWrite(path.clone()))?;
    let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
    shown.into_iter().try_for_each(|below| write_pages(below, folder))
}

/// Returns a command's page. The help's epilogue becomes sections.
fn page(command: &clap::Command) -> io::Result<String> {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    // `whatis` takes one line.
    let brief = about.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
    let version = format!("pinhole {}", env!("CARGO_PKG_VERSION"));
    let page = Man::new(command.clone()).manual("pinhole").source(&version);
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    Man::new(command.clone().about(brief)).render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    let mut heading = "";
    for paragraph in after.split("\n\n") {
        let (wanted, text) = if let Some(rest) = paragraph.strip_prefix("Exit status: ") {
            ("EXIT STATUS", rest)
        } else if let Some(rest) =
            paragraph.strip_prefix("Example: ").or(paragraph.strip_prefix("Examples:\n"))
        {
            ("EXAMPLES", rest)
        } else if paragraph.starts_with(' ') {
            (heading, paragraph)
        } else {
            ("NOTES", paragraph)
        };
        heading = section(&mut roff, heading, wanted);
        write_paragraph(&mut roff, text);
    }
    if command.get_name() != "pinhole" {
        roff.control("SH", ["SEE ALSO"]).text([roman("pinhole(1)")]);
    }
    roff.to_writer(&mut text)?;
    Ok(once(&String::from_utf8_lossy(&text)))
}

/// Each part defines the apostrophe anew, which programs that read the name for an index do not expect.
fn once(page: &str) -> String {
    let is_definition = |line: &str| line.starts_with(".ie ") || line.starts_with(".el ");
    let lines = page.lines().enumerate().filter(|(at, line)| *at < 2 || !is_definition(line));
    lines.map(|(_, line)| format!("{line}\n")).collect()
}

/// Begins another section or another paragraph of the same.
fn section<'a>(roff: &mut Roff, current: &str, wanted: &'a str) -> &'a str {
    if current == wanted {
        roff.control("PP", [])
    } else {
        roff.control("SH", [wanted])
    };
    wanted
}

/// What is indented keeps its lines.
fn write_paragraph(roff: &mut Roff, paragraph: &str) {
    let is_table = paragraph.contains("\n ") || paragraph.contains("  ");
    if is_table {
        roff.control("nf", []);
    }
    paragraph.lines().for_each(|line| {
        roff.text([roman(line)]);
    });
    if is_table {
        roff.control("fi", []);
    }
}
