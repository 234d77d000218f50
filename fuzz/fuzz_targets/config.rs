//! The file of named peers: any text in it.

#![no_main]

extern crate self as pinhole;

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use pinhole_proto::stream::valid_name;
// What the files below want of the library: these, and `forward`.
pub use pinhole_proto::{self as proto, key::Phrase};

use self::cli::config::document::Document;

#[path = "../../src/forward"]
mod forward {
    pub use self::spec::{OpenSpec, ServeSpec};

    mod spec;
}

// The files, not the crate: the program brings QUIC, TLS and an assembler along.
#[path = "../../src/cli"]
mod cli {
    pub(crate) mod args {
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

    pub(crate) mod config {
        pub(crate) mod document;
    }

    pub(crate) mod message {
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
}

fuzz_target!(|text: &str| {
    match Document::read(text) {
        Ok(document) => {
            for section in document.peer.values() {
                assert!(section.port != Some(0) && section.max_pps.is_none_or(|pps| pps >= 20));
                assert!(section.serve.iter().all(|spec| spec.port != 0 && valid_name(&spec.name)));
                assert!(section.open.iter().all(|spec| spec.port != 0 && valid_name(&spec.service)));
                assert!(
                    shown(section).len() < 64 * (text.len() + 64),
                    "a short text becomes a large section"
                );
            }
        }
        Err(mistake) => {
            assert!(!mistake.why.is_empty() && !mistake.why.contains('\n'), "{mistake:?}");
            let is_place = |span: &std::ops::Range<usize>| text.get(..span.start).is_some();
            assert!(mistake.span.as_ref().is_none_or(is_place), "a mistake that is nowhere: {mistake:?}");
        }
    }
});

fn shown(section: &impl Debug) -> String {
    format!("{section:?}")
}
