//! A wall clock that jumps while a program reads it; its monotonic clock goes on as before.
//!
//! Linux has no namespace for the wall clock, so libfaketime stands between the program and the system: it adds what
//! stands in a file, and reads that file anew each time.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Folders whose subfolders, one for each kind of machine, may hold the library.
const FOLDERS: [&str; 2] = ["/usr/lib", "/usr/lib64"];

/// The library for programs with threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The wall clock of one program.
pub(crate) struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// Makes a clock that is right so far, ruled by a file in that folder.
    pub(crate) fn new(folder: &Path) -> Result<WallClock, String> {
        let library = library().ok_or("libfaketime is not installed (package faketime)")?;
        let clock = WallClock { library, file: folder.join("clock") };
        clock.jump("+0")?;
        Ok(clock)
    }

    /// Lets a program go by this clock.
    pub(crate) fn rule(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
    }

    /// Sets it so far from the right time, as in `+6h`.
    pub(crate) fn jump(&self, by: &str) -> Result<(), String> {
        let new = self.file.with_extension("new");
        let written = fs::write(&new, format!("{by}\n")).and_then(|()| fs::rename(&new, &self.file));
        written.map_err(|e| format!("{}: {e}", self.file.display()))
    }
}

/// Whether clocks can jump here.
pub(crate) fn is_available() -> bool {
    library().is_some()
}

fn library() -> Option<PathBuf> {
    let subfolders = |folder| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let places = FOLDERS.into_iter().flat_map(|folder| subfolders(folder).chain([PathBuf::from(folder)]));
    places.map(|place| place.join(LIBRARY)).find(|library| library.exists())
}
