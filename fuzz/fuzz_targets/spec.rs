//! What a user writes to say what is forwarded: any text.

#![no_main]

use std::{fmt, str::FromStr};

use libfuzzer_sys::fuzz_target;
use pinhole_proto::stream::valid_name;

use self::forward::{OpenSpec, ServeSpec, SpecError};

// The files, not the crate: `pinhole` brings QUIC, TLS and an assembler along, all to be built and instrumented for
// a parser that needs none of it.
#[path = "../../pinhole/src/forward"]
mod forward {
    pub use self::spec::{OpenSpec, ServeSpec, SpecError};

    mod spec;

    mod target {
        pub use self::text::Target;
        pub(super) use self::text::{parse_port, parts};
        use super::spec::SpecError;

        mod text;
    }
}

fuzz_target!(|text: &str| {
    if let Some(spec) = check::<ServeSpec>(text) {
        assert!(
            spec.target.port() != Some(0) && valid_name(&spec.name) && !spec.target.describe().is_empty()
        );
    }
    if let Some(spec) = check::<OpenSpec>(text) {
        assert!(spec.port != 0 && valid_name(&spec.service));
        assert!(!spec.any || spec.service == spec.port.to_string());
    }
});

/// What is understood reads back as itself; what is not is refused with the way out.
fn check<T>(text: &str) -> Option<T>
where
    T: FromStr<Err = SpecError> + fmt::Display + fmt::Debug + PartialEq,
{
    match text.parse::<T>() {
        Ok(spec) => {
            let shown = spec.to_string();
            assert_eq!(shown.parse().as_ref(), Ok(&spec), "{text:?} is shown as {shown:?}");
            Some(spec)
        }
        Err(error) => {
            assert!(error.to_string().contains("use "), "{error}");
            None
        }
    }
}
