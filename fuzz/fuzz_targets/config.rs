//! The file of named peers: any text in it.

#![no_main]

extern crate self as pinhole;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| config::check(text));

// What the files below want of the library.
#[path = "../../pinhole/src/forward"]
mod forward {
    pub use self::spec::{OpenSpec, ServeSpec};

    mod spec;

    mod target {
        pub use self::text::Target;
        pub(super) use self::text::{parse_port, parts};
        use super::spec::SpecError;

        mod text;
    }
}

// The files, not the crate: the program brings QUIC, TLS and an assembler along.
#[path = "../../cli/src/args"]
mod args {
    pub(crate) use self::parse::*;

    mod parse;

    /// As the program has it.
    #[derive(Debug, Clone, Copy, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub(crate) enum When {
        Auto,
        Off,
    }
}

#[path = "../../cli/src/config"]
mod config {
    use pinhole_proto::stream::valid_name;

    use self::document::Document;

    #[allow(dead_code, reason = "the program uses more of it")]
    mod document;

    /// Reads a text: what it says is within bounds, or what is wrong is a line that says where.
    pub(crate) fn check(text: &str) {
        match Document::read(text) {
            Ok(document) => {
                for section in document.peer.values() {
                    assert!(section.port != Some(0) && section.max_pps.is_none_or(|pps| pps >= 20));
                    assert!(
                        section
                            .serve
                            .iter()
                            .all(|spec| spec.target.port() != Some(0) && valid_name(&spec.name))
                    );
                    assert!(section.open.iter().all(|spec| spec.port != 0 && valid_name(&spec.service)));
                }
            }
            Err(mistake) => {
                assert!(!mistake.why.is_empty() && !mistake.why.contains('\n'), "{mistake:?}");
                let place = mistake.span.as_ref().map(|span| text.get(..span.start));
                assert!(place != Some(None), "a mistake that is nowhere: {mistake:?}");
            }
        }
    }
}

mod message {
    /// Those that the parsers use; the program has sentences for them.
    #[derive(Debug, thiserror::Error)]
    #[error("{self:?}")]
    pub(crate) enum Message {
        NoUdpPort,
        NotWithin { least: u16, most: u16 },
        NoStatusAddress,
        NoSeconds,
        NoIpv4(String),
    }
}
