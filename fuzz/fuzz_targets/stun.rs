//! What a STUN server answers: any bytes, and any bytes behind the head of the answer that is waited for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stun_types::message::TransactionId;

use self::message::{answer, request};

// The file, not the crate: `pinhole` brings QUIC, TLS and an assembler along.
#[allow(dead_code, reason = "the program asks more and uses what it is told")]
#[path = "../../pinhole/src/check/stun/message.rs"]
mod message;

const TRANSACTION: u128 = 0x0001_0203_0405_0607_0809_0a0b;

/// RFC 8489 §5, §18.2.
const SUCCESS: [u8; 2] = [0x01, 0x01];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

fuzz_target!(|bytes: &[u8]| {
    let transaction = TransactionId::from(TRANSACTION);
    let _any = answer(bytes, transaction);
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
    let id = &TRANSACTION.to_be_bytes()[4..];
    let whole = [&SUCCESS[..], &length, &COOKIE, id, bytes].concat();
    if answer(&whole, transaction).is_some() {
        assert!(
            answer(&whole, TransactionId::from(TRANSACTION + 1)).is_none(),
            "an answer to another request"
        );
    }
    for change in bytes.iter().take(1) {
        assert!(answer(&request(transaction, *change), transaction).is_none(), "a request is no answer");
    }
});
