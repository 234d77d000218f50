//! The head of a tunnelled connection, and messages of the control stream: any bytes, and any text as a name.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pinhole_proto::{
    control::{HEAD_BYTES, MAX_LISTED, MAX_MESSAGE_BYTES, Message},
    stream::{MAX_REQUEST_BYTES, Reply, Request, valid_name},
};

fuzz_target!(|bytes: &[u8]| {
    check_request(bytes);
    check_name(bytes);
    check_control(bytes);
    for code in bytes {
        check_reply(*code);
    }
});

fn check_request(bytes: &[u8]) {
    let length = bytes.first_chunk::<2>().map(|head| Request::name_length(*head));
    let Ok(request) = Request::decode(bytes) else { return };
    assert_eq!(length, Some(Ok(bytes.len() - 2)), "the head does not announce the name that was read");
    assert!(valid_name(&request.service));
    let encoded = request.encode();
    assert_eq!(encoded[1..], bytes[1..], "only unknown flags may get lost");
    assert!(encoded.len() <= MAX_REQUEST_BYTES);
    assert_eq!(Request::decode(&encoded), Ok(request));
}

fn check_name(bytes: &[u8]) {
    let Ok(service) = std::str::from_utf8(bytes) else { return };
    if !valid_name(service) {
        return;
    }
    for (any, blocks) in [(false, false), (false, true), (true, false), (true, true)] {
        let request = Request { service: service.to_owned(), any, blocks };
        assert_eq!(Request::decode(&request.encode()), Ok(request), "a valid name is not understood");
    }
}

/// Whatever is read is bounded, has names that can be shown, and survives the wire.
fn check_control(bytes: &[u8]) {
    let Some(Message::Hello(hello)) = Message::decode(bytes) else { return };
    let names = hello.services.names();
    assert!(names.len() <= MAX_LISTED && names.iter().all(|name| valid_name(name)));
    let encoded = hello.encode();
    let (head, message) = encoded.split_first_chunk::<HEAD_BYTES>().expect("a head");
    assert_eq!(Message::length(*head), Some(message.len()));
    if bytes.len() <= MAX_MESSAGE_BYTES {
        assert_eq!(Message::decode(message), Some(Message::Hello(hello)));
    }
}

fn check_reply(code: u8) {
    let reply = Reply::from_code(code);
    assert!(reply.code() == code || reply == Reply::Unavailable);
    assert_eq!(Reply::from_code(reply.code()), reply);
    assert!(!reply.to_string().is_empty());
}
