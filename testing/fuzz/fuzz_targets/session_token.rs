//! Session tokens: each decoded token has exactly one encoded form.
#![no_main]

use data_encoding::BASE64URL_NOPAD;
use libfuzzer_sys::fuzz_target;
use signalbox_server::session_token::SessionToken;

fuzz_target!(|data: &[u8]| {
    check(&String::from_utf8_lossy(data));
    check(&BASE64URL_NOPAD.encode(data));
});

fn check(text: &str) {
    let Some(token) = SessionToken::decode(text) else { return };
    assert_eq!(token.encode(), text);
    let room = token.room.as_str();
    assert!((1..=64).contains(&room.len()) && room.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
    let again = SessionToken::decode(text).expect("it was decoded before");
    assert!(again.room == token.room && again.member == token.member && again.secret.matches(&token.secret));
}
