//! What can go wrong with a laboratory, and whose fault it is.

use std::io;

use super::available::Unavailable;

/// The reason why a laboratory could not be built or used.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// This machine or user cannot have laboratories.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The NAT cannot be made with nftables; the model may still have it.
    #[error("nftables cannot realise {what}")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// The link is a wire of the kernel and has no settings.
    #[error("the link is direct and has no settings: build the lab with Road::UserSpace")]
    DirectLink,
    /// A tool of the system refused.
    #[error("{tool} failed: {stderr}")]
    Tool {
        /// The command line.
        tool: String,
        /// What it complained about.
        stderr: String,
        /// What it was fed.
        input: String,
    },
    /// The system refused.
    #[error("{doing} failed")]
    Io {
        /// What was tried.
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl LabError {
    /// Returns a function that wraps an I/O error with what was tried, for `map_err`.
    pub(super) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> LabError {
        let doing = doing.into();
        move |error| LabError::Io { doing, source: error.into() }
    }
}
