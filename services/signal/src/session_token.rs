//! Session tokens, with which clients resume a session and send in it. A token names its room and member, so the server
//! needs no index of tokens, and contains the session's secret as proof of ownership.

use data_encoding::BASE64URL_NOPAD;

use signalbox_core::id::{MemberId, RoomName, Secret};

/// Lengths of a member id and of a session secret, in bytes.
const ID: usize = 12;
const SECRET: usize = 32;

/// A decoded session token.
#[derive(Debug)]
pub struct SessionToken {
    /// The session's room.
    pub room: RoomName,
    /// The session's member.
    pub member: MemberId,
    /// The session's secret, which proves ownership.
    pub secret: Secret,
}

impl SessionToken {
    /// Encodes the token in the form that clients store.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(ID + SECRET + RoomName::MAX);
        bytes.extend_from_slice(self.member.bytes());
        bytes.extend_from_slice(self.secret.bytes());
        bytes.extend_from_slice(self.room.as_str().as_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Decodes a token. Returns `None` if it is malformed.
    pub fn decode(token: &str) -> Option<Self> {
        // Reject a text that is too long to be a token before decoding it.
        if token.len() > 4 * (ID + SECRET + RoomName::MAX) {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok()?;
        let (member, rest) = bytes.split_first_chunk::<ID>()?;
        let (secret, room) = rest.split_first_chunk::<SECRET>()?;
        Some(Self {
            room: RoomName::parse(std::str::from_utf8(room).ok()?, "session_token").ok()?,
            member: MemberId::new(*member),
            secret: Secret::new(*secret),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_round_trip_and_garbage_is_none() {
        let token = SessionToken {
            room: RoomName::parse("demo", "room").expect("a name"),
            member: MemberId::new([1; 12]),
            secret: Secret::new([2; 32]),
        };
        let text = token.encode();
        let back = SessionToken::decode(&text).expect("its own form");
        assert_eq!((back.room, back.member), (token.room, token.member));
        assert!(back.secret.matches(&token.secret));
        for garbage in ["", "x", "é", &text[..58], &format!("{text}."), &"A".repeat(100_000)] {
            assert!(SessionToken::decode(garbage).is_none(), "{garbage:?}");
        }
    }
}
