//! The control stream: what each side tells the other of itself while a tunnel stands.
//!
//! Each side opens one unidirectional QUIC stream when the tunnel stands, and keeps it open as long as that lives. It
//! carries messages, [`Hello`] first.
//!
//! ```text
//! message   0        2        3                    length: that of type and body, 1 to 16,384 bytes
//!           +--------+--------+----------+         type: 1 is a Hello; others are skipped
//!           | length | type   | body     |
//!           +--------+--------+----------+
//! Hello     0         2          10        12       14
//!           +---------+----------+---------+--------+----------------------+
//!           | version | features | offered | listed | listed × (n, name)   |
//!           +---------+----------+---------+--------+----------------------+
//! ```
//!
//! Integers are big-endian. `offered` counts the services of the sender, of which the first ones are listed by name,
//! as many as fit. An open side that offers some says so by [`ANSWERS_STREAMS`]. A name has one byte of length and is one that
//! [`valid_name`] accepts: others are dropped by the reader. Unknown feature bits and bytes at
//! the end are ignored, so that a later version can add some.

use crate::stream::valid_name;

/// Version of the protocol that a [`Hello`] of this program states.
pub const VERSION: u16 = 2;

/// Feature bit of an open side that answers streams which the serve side opens. A serve side always answers, and needs no
/// bit.
pub const ANSWERS_STREAMS: u64 = 1;

/// Bytes before a message: its length.
pub const HEAD_BYTES: usize = 2;

/// Longest message, bytes of type and body.
pub const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Most services that are listed by name.
pub const MAX_LISTED: usize = 256;

const TYPE_HELLO: u8 = 1;

/// Bytes of a Hello before its names, the type included.
const HELLO_BYTES: usize = 1 + 2 + 8 + 2 + 2;

/// The first message of each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Version of the protocol that the sender speaks.
    pub version: u16,
    /// What the sender can do beyond that, a bit each: [`ANSWERS_STREAMS`].
    pub features: u64,
    /// What the sender offers.
    pub services: Services,
}

/// The services that a side offers, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Services {
    names: Vec<String>,
    offered: u16,
}

/// What a local port of the open side reaches, as far as the other side's [`Services`] tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached<'a> {
    /// The service of that name.
    Service(&'a str),
    /// Nothing: no such service is offered.
    Nothing,
    /// Nobody knows: not all services are listed.
    Unknown,
}

impl Hello {
    /// Makes this program's own.
    #[must_use]
    pub fn new(services: Services) -> Self {
        Self { version: VERSION, features: 0, services }
    }

    /// Makes that of an open side which offers services.
    #[must_use]
    pub fn answering(services: Services) -> Self {
        Self { features: ANSWERS_STREAMS, ..Self::new(services) }
    }

    /// Writes the message, head included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut listed = 0u16;
        for name in &self.services.names {
            let Ok(length) = u8::try_from(name.len()) else { continue };
            if HELLO_BYTES + names.len() + 1 + name.len() > MAX_MESSAGE_BYTES {
                break;
            }
            names.push(length);
            names.extend_from_slice(name.as_bytes());
            listed += 1;
        }
        let length = u16::try_from(HELLO_BYTES + names.len()).expect("at most 16 KiB");
        let mut message = length.to_be_bytes().to_vec();
        message.push(TYPE_HELLO);
        message.extend(self.version.to_be_bytes());
        message.extend(self.features.to_be_bytes());
        message.extend(self.services.offered.to_be_bytes());
        message.extend(listed.to_be_bytes());
        message.extend(names);
        message
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let (version, rest) = body.split_first_chunk()?;
        let (features, rest) = rest.split_first_chunk()?;
        let (offered, rest) = rest.split_first_chunk()?;
        let (listed, mut rest) = rest.split_first_chunk()?;
        let mut names = Vec::new();
        for _ in 0..u16::from_be_bytes(*listed) {
            let (length, after) = rest.split_first()?;
            let (name, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            let name = std::str::from_utf8(name).ok().filter(|name| valid_name(name));
            names.extend(name.filter(|_| names.len() < MAX_LISTED).map(str::to_owned));
        }
        let services = Services { names, offered: u16::from_be_bytes(*offered) };
        Some(Self {
            version: u16::from_be_bytes(*version),
            features: u64::from_be_bytes(*features),
            services,
        })
    }
}

impl Services {
    /// Lists what is offered, the first [`MAX_LISTED`] by name.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut services = Self::default();
        for name in names {
            services.offered = services.offered.saturating_add(1);
            if services.names.len() < MAX_LISTED && valid_name(name) {
                services.names.push(name.to_owned());
            }
        }
        services
    }

    /// Returns the names that are listed.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns whether all services are listed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.names.len() == usize::from(self.offered)
    }

    /// Returns what a request for that service reaches; `any` as in [`Request`](crate::stream::Request).
    #[must_use]
    pub fn reached(&self, service: &str, any: bool) -> Reached<'_> {
        match self.names.iter().find(|name| *name == service) {
            Some(name) => Reached::Service(name),
            None if !self.is_complete() => Reached::Unknown,
            None => match self.names.as_slice() {
                [only] if any => Reached::Service(only),
                _ => Reached::Nothing,
            },
        }
    }
}

/// A message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// What the other side says of itself.
    Hello(Hello),
    /// Of a type that this version does not know.
    Unknown(u8),
}

impl Message {
    /// Returns how many bytes of type and body follow a head; `None` if no message has that length.
    #[must_use]
    pub fn length(head: [u8; HEAD_BYTES]) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes(head))).filter(|length| (1..=MAX_MESSAGE_BYTES).contains(length))
    }

    /// Reads the type and body of a message; `None` if they break the format.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        let (kind, body) = message.split_first()?;
        match *kind {
            TYPE_HELLO => Hello::decode(body).map(Self::Hello),
            unknown => Some(Self::Unknown(unknown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<Message> {
        let (head, message) = bytes.split_first_chunk().expect("a head");
        assert_eq!(Message::length(*head), Some(message.len()));
        Message::decode(message)
    }

    #[test]
    fn a_hello_has_the_bytes_of_the_document() {
        let hello = Hello::new(Services::new(["22", "web"]));
        let bytes = [&[0, 22, 1][..], &[0, 2], &[0; 8], &[0, 2], &[0, 2], b"\x0222", b"\x03web"].concat();
        assert_eq!(hello.encode(), bytes);
        assert_eq!(read(&bytes), Some(Message::Hello(hello)));
    }

    #[test]
    fn more_services_than_fit_are_counted_and_an_unlisted_one_is_not_called_missing() {
        let names: Vec<String> = (0..1000).map(|n| format!("{n:064}")).collect();
        let hello = Hello::new(Services::new(names.iter().map(String::as_str)));
        let Some(Message::Hello(got)) = read(&hello.encode()) else { panic!("a Hello") };
        assert!(got.services.names().len() > 200 && !got.services.is_complete());
        assert_eq!(got.services.reached(&names[0], false), Reached::Service(&names[0]));
        assert_eq!(got.services.reached("22", true), Reached::Unknown);
    }

    #[test]
    fn what_no_serve_side_could_name_is_dropped() {
        let mut hello = Hello::new(Services::new(["22", "web"]));
        hello.services.names[1] = "\u{1b}[2J".into();
        let Some(Message::Hello(got)) = read(&hello.encode()) else { panic!("a Hello") };
        assert_eq!(got.services.names(), ["22"]);
        hello.services.names[1] = "we\u{202e}b".into();
        let Some(Message::Hello(turned)) = read(&hello.encode()) else { panic!("a Hello") };
        assert_eq!(turned.services.names(), ["22"]);
        assert!(!got.services.is_complete());
    }

    #[test]
    fn a_port_reaches_its_name_or_the_only_service_where_any_will_do() {
        let one = Services::new(["22"]);
        assert_eq!(one.reached("2222", true), Reached::Service("22"));
        assert_eq!(one.reached("2222", false), Reached::Nothing);
        let two = Services::new(["22", "web"]);
        assert_eq!(two.reached("web", true), Reached::Service("web"));
        assert_eq!(two.reached("2222", true), Reached::Nothing);
    }

    #[test]
    fn what_a_later_version_adds_is_skipped_and_what_breaks_the_format_is_refused() {
        let hello = Hello::new(Services::new(["22"]));
        let longer = [&hello.encode()[HEAD_BYTES..], b"more"].concat();
        assert_eq!(Message::decode(&longer), Some(Message::Hello(hello)));
        assert_eq!(Message::decode(b"\x07anything"), Some(Message::Unknown(7)));
        for length in 0..longer.len() - b"more".len() {
            assert_eq!(Message::decode(&longer[..length]), None, "{length}");
        }
        assert_eq!([[0, 0], [0x40, 1], [0xff, 0xff]].map(Message::length), [None; 3]);
        assert_eq!(Message::length([0x40, 0]), Some(MAX_MESSAGE_BYTES));
    }
}
