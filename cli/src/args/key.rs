//! `pinhole key`, and where a key comes from.

use std::{fmt, path::PathBuf};

use clap::{Args, Subcommand, ValueHint};
use clap_complete::ArgValueCandidates;
use zeroize::Zeroizing;

use super::{super::config, ConfigArgs};

pub(super) const KEY_HELP: &str = "Examples:
  pinhole key new --save       make one and keep it, mode 0600
  pinhole key save home        ask for the one of the peer \"home\" and keep it in its key file
  pinhole key show --qr        show it to a camera

A key on the screen, as words or as a QR code, is a key for whoever sees the screen or a picture of it.

A key is seven words that pinhole has drawn; the last of them follows from the others, so that a typing error is told. A phrase of your own is taken only with --own-phrase. Whoever records a single packet can try guesses at home: about 28 million of them for a dollar of rented graphics cards, against all users of pinhole at once. A line of a song, a quote, or a name and a year is found for cents, 2^40 guesses cost $39,000, and a drawn key costs more than 10^15 dollars. Kept in a key file, such a phrase has the line \"# own phrase\" above it, and the option is not needed again.

Exit status: 0 done, 2 wrong use, no key, or a weak one.";

/// What can be done with a key.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Print a new key: seven common words, 77 bits (what `pinhole key` does)
    New {
        /// Also keep it in the key file, unless there is one
        #[arg(long)]
        save: bool,

        #[command(flatten)]
        place: KeyPlace,

        /// Print it as a QR code, if stdout is a terminal
        #[arg(long)]
        qr: bool,
    },
    /// Ask for a key and keep it in the key file
    Save {
        #[command(flatten)]
        place: KeyPlace,

        #[command(flatten)]
        own: OwnPhrase,
    },
    /// Print the key that would be used
    Show {
        #[command(flatten)]
        which: WhichKey,

        /// Print it as a QR code, if stdout is a terminal
        #[arg(long)]
        qr: bool,
    },
    /// Say whether the key that would be used is strong enough
    Check {
        #[command(flatten)]
        which: WhichKey,
    },
}

/// Where a key is kept. Without any of these: in the default file.
#[derive(Debug, Args)]
pub(crate) struct KeyPlace {
    /// A name of the file of peers: keep it in its key file
    #[arg(value_name = "NAME", conflicts_with = "key_file", add = ArgValueCandidates::new(config::candidates))]
    pub(crate) name: Option<String>,

    /// Keep it in this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Which key is looked for.
#[derive(Debug, Args, Default)]
pub(crate) struct WhichKey {
    /// A name of the file of peers: the key for it
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(config::candidates))]
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) source: KeySource,

    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Where the key comes from. Without any of these: PINHOLE_KEY, then the default file, then the prompt.
#[derive(Debug, Args, Default)]
pub(crate) struct KeySource {
    /// Read the key from this file (mode 0600)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key_file: Option<PathBuf>,

    /// The key itself; others on this machine can see it in `ps`
    #[arg(long, value_name = "WORDS", conflicts_with = "key_file")]
    pub(crate) key: Option<TypedKey>,

    #[command(flatten)]
    pub(crate) own: OwnPhrase,
}

/// What a user must say to have a phrase taken that pinhole has not drawn.
#[derive(Debug, Args, Clone, Copy, Default)]
pub(crate) struct OwnPhrase {
    /// Take a phrase of your own, which others may guess: 28 million guesses cost a dollar; see `pinhole key --help`
    #[arg(long = "own-phrase")]
    pub(crate) is_taken: bool,
}

/// A key as it was typed, before anybody has looked at it: no error may repeat it.
#[derive(Clone)]
pub(crate) struct TypedKey(pub(crate) Zeroizing<String>);

impl From<String> for TypedKey {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for TypedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypedKey(secret)")
    }
}
