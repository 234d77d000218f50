//! STUN messages: what is asked of a server and what it answers (RFC 8489, RFC 5780).

use std::net::SocketAddr;

use stun_types::{
    attribute::{MappedSocketAddr, RawAttribute, XorMappedAddress},
    message::{BINDING, Message, MessageClass, MessageWriteVec, TransactionId},
    prelude::{MessageWrite, MessageWriteExt},
};

/// RFC 5780 §7: the attributes, and the flags of the first.
const CHANGE_REQUEST: u16 = 0x0003;
const OTHER_ADDRESS: u16 = 0x802c;
pub(super) const CHANGE_IP: u8 = 4;
pub(super) const CHANGE_PORT: u8 = 2;

pub(super) struct Answer {
    pub(super) mapped: SocketAddr,
    pub(super) other: Option<SocketAddr>,
}

pub(super) fn request(transaction: TransactionId, change: u8) -> Vec<u8> {
    let kind = stun_types::message::MessageType::from_class_method(MessageClass::Request, BINDING);
    let mut message = Message::builder(kind, transaction, MessageWriteVec::new());
    if change != 0 {
        let flags = [0, 0, 0, change];
        let added = message.add_attribute(&RawAttribute::new(CHANGE_REQUEST.into(), &flags));
        added.expect("one attribute of four bytes fits into a message");
    }
    message.finish()
}

/// Reads an answer; `None` where it is none to that request.
pub(super) fn answer(bytes: &[u8], transaction: TransactionId) -> Option<Answer> {
    let message = Message::from_bytes(bytes).ok()?;
    if message.transaction_id() != transaction || !message.has_class(MessageClass::Success) {
        return None;
    }
    let mapped = message.attribute::<XorMappedAddress>().ok()?.addr(transaction);
    let other = message.raw_attribute(OTHER_ADDRESS.into());
    let other = other.and_then(|raw| MappedSocketAddr::from_raw(&raw).ok()).map(|other| other.addr());
    Some(Answer { mapped, other })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_no_answer_and_do_no_harm() {
        let transaction = TransactionId::generate();
        let mut bytes = request(transaction, CHANGE_PORT);
        assert!(answer(&bytes, transaction).is_none(), "a request is no answer");
        for length in 0..bytes.len() {
            assert!(answer(&bytes[..length], transaction).is_none());
        }
        bytes.fill(0xff);
        assert!(answer(&bytes, transaction).is_none());
    }
}
