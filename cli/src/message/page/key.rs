//! A start that fails for want of a key.

use super::*;

/// "It does not start: the key".
pub(super) const KEY: Section = Section {
    title: "It does not start: the key",
    about: "[The README](../../README.md#the-key) says where the key is looked for.",
    entries: &[
        Entry {
            says: || messages([Kind::NoKey, Kind::NoKeyYet]),
            why: "The side that opens (`-l`) makes no key, and none was found.",
            action: "Run `pinhole key show` on the other machine, then `pinhole key save` here and type the \
                 words.",
        },
        Entry {
            says: || messages([Kind::NoKeyFile]),
            why: "`--key-file`, or the file of peers, names a file that is not there.",
            action: "Run one of the two commands: the first on one side only, the second on the other.",
        },
        Entry {
            says: || messages([Kind::KeyWouldNotBeKept]),
            why: "A place to keep the key was named, but not that it shall be kept.",
            action: "Add `--save`.",
        },
        Entry {
            says: || messages([Kind::KeyIsShown, Kind::NothingToDrawOn, Kind::KeyTooLongToDraw]),
            why: "`--qr` draws the key on a terminal. A picture of it is the key.",
            action: "Clear the screen afterwards. Without a terminal, or with a very long phrase, use the words.",
        },
        Entry {
            says: || all([keys(["hunter2"]), messages([Kind::ForeignKey])]),
            why: "Only keys that pinhole has drawn are taken, as their last word proves. A phrase of your own \
                 can be guessed by whoever records a single packet.",
            action: "`pinhole key new --save` on one side, `pinhole key save` on the other. Or, if you know what \
                 you do, add `--own-phrase`; a key file remembers that.",
        },
        Entry {
            says: || {
                all([
                    keys([
                        "moonlight spoter shush theft relocate vending affix",
                        "moonlight spoter shush thefft relocate vending",
                        "moonlight spotter slush theft relocate vending affix",
                        "moonlight spotter shush theft relocate vendor affix",
                        "spotter moonlight shush theft relocate vending affix",
                        "moonlight spotter shush theft relocate",
                        "moonlight spotter shush shush theft relocate vending affix",
                    ]),
                    messages([Kind::MistypedKey]),
                ])
            },
            why: "A typing error: the last word of a key follows from the others. The words themselves are \
                 told on a terminal only, never in a log.",
            action: "Type the key again. If the words are right, the other side's are wrong.",
        },
        Entry {
            says: || {
                all([
                    keys(["moonlight spotter shush theft relocate vending"]),
                    messages([Kind::KeyOfSixWords]),
                ])
            },
            why: "Older versions made keys of six words, which nothing proves to be drawn.",
            action: "Add the word that is missing; or remove the key file on both sides, `pinhole key new --save` \
                 on one and `pinhole key save` on the other.",
        },
        Entry {
            says: || messages([Kind::WeakKey]),
            why: "Whoever records a single packet can try phrases at leisure, so a weak one is refused, with \
                 `--own-phrase` too.",
            action: "`pinhole key new --save` on one side, `pinhole key save` on the other.",
        },
        Entry {
            says: || {
                all([
                    keys(["", &"x".repeat(600), "\u{7}"]),
                    messages([
                        Kind::NoKeyAtAll,
                        Kind::KeyVariableIsUseless,
                        Kind::KeyFileIsUseless,
                        Kind::KeyFileIsNoText,
                        Kind::KeyVariableIsNoText,
                    ]),
                ])
            },
            why: "What was given is no phrase: an empty or a binary file, perhaps the wrong one.",
            action: "Look at the file or the variable. It should hold the words that the other side shows, and \
                 nothing else.",
        },
        Entry {
            says: || messages([Kind::KeyFileIsOpen]),
            why: "The file lets other users of this machine read the secret.",
            action: "Run the command in the sentence. If others may have read it, make another key.",
        },
        Entry {
            says: || messages([Kind::KeyFileOfAnother]),
            why: "Whoever owns the file can give you another key at any time.",
            action: "`chown`, or copy it.",
        },
        Entry {
            says: || {
                messages([
                    Kind::KeyFileIsFolder,
                    Kind::CannotReadKeyFile,
                    Kind::CannotLookFor,
                    Kind::CannotReadStdin,
                ])
            },
            why: "The key cannot be read where it should be.",
            action: "The reason behind the colon says what is wrong: no such file, no permission, a broken disk.",
        },
        Entry {
            says: || messages([Kind::CannotAskForKey]),
            why: "There is no terminal that could be asked without echo.",
            action: "Give the key with `PINHOLE_KEY` or `--key-file`.",
        },
        Entry {
            says: || messages([Kind::NoHome]),
            why: "Neither `HOME` nor `XDG_CONFIG_HOME` is set, as in some services.",
            action: "`--key-file FILE`; a service gets its key as in [service.md](../service.md).",
        },
        Entry {
            says: || messages([Kind::KeyIsThere]),
            why: "A key is never overwritten: the other side may still use it.",
            action: "If it is not needed any more, remove the file, and say it again.",
        },
        Entry {
            says: || messages([Kind::CannotKeepKey, Kind::CannotMakeFolder]),
            why: "The folder for the key cannot be made or written.",
            action: "The reason behind the colon says why: a full disk, no permission.",
        },
        Entry {
            says: || all([starts([StartError::Entropy]), messages([Kind::NoRandomNumbers])]),
            why: "The operating system gives no randomness, so no key or tunnel is safe.",
            action: "Not seen in practice: look at the system itself, a container without `/dev/urandom` for \
                 example.",
        },
    ],
};
