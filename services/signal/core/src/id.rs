//! Room names, member ids and session secrets. They are parsed at the edge: a value of these types is valid.

use std::{fmt, sync::Arc};

use data_encoding::{BASE64URL_NOPAD, Encoding, Specification};
use subtle::ConstantTimeEq;

use crate::error::Error;

/// A room's name: 1 to 64 of `A-Z a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// Longest name, in bytes.
    pub const MAX: usize = 64;

    /// Checks a name. `field` is the path of the field that holds it.
    pub fn parse(name: &str, field: &'static str) -> Result<Self, Error> {
        let fits = (1..=Self::MAX).contains(&name.len());
        if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            Ok(Self(name.into()))
        } else {
            Err(Error::InvalidRoomName { field })
        }
    }

    /// A name that cannot be guessed, made of 128 random bits.
    pub fn generate(random: [u8; 16]) -> Self {
        Self(BASE64URL_NOPAD.encode(&random).into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member's public id: 96 random bits, written as 20 characters of `a-z 2-7`. It has no `-`, so a shell never takes
/// it for a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId([u8; 12]);

impl MemberId {
    /// Makes an id of 96 random bits.
    pub const fn new(random: [u8; 12]) -> Self {
        Self(random)
    }

    /// The bits, for a session token.
    pub const fn bytes(&self) -> &[u8; 12] {
        &self.0
    }

    /// Parses the text form. `None` if it is not a valid id.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = encoding().decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encoding().encode(&self.0))
    }
}

/// RFC 4648 base32 in lower case, without padding.
fn encoding() -> &'static Encoding {
    static ENCODING: std::sync::LazyLock<Encoding> = std::sync::LazyLock::new(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        // 96 bits fill 19.2 base32 characters. The unused bits of the last one must be zero, so that each id has exactly one
        // encoding.
        spec.check_trailing_bits = true;
        spec.encoding().expect("32 distinct symbols are a valid specification")
    });
    &ENCODING
}

/// Proves that a client owns a session: 256 random bits, compared in constant time and never printed.
#[derive(Clone, Copy)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Makes a secret of 256 random bits.
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// Whether both are equal.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The bits, for a session token.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_names_at_their_limits() {
        assert!(RoomName::parse("", "f").is_err());
        assert!(RoomName::parse("a", "f").is_ok());
        assert!(RoomName::parse(&"a".repeat(64), "f").is_ok());
        assert!(RoomName::parse(&"a".repeat(65), "f").is_err());
        for bad in ["a b", "a.b", "ä", "$x", "a/b", "a\n", "😀"] {
            assert!(RoomName::parse(bad, "f").is_err(), "{bad:?}");
        }
        assert!(RoomName::parse(RoomName::generate([255; 16]).as_str(), "f").is_ok());
    }

    #[test]
    fn member_ids_have_one_written_form() {
        let id = MemberId::new([7; 12]);
        let text = id.to_string();
        assert_eq!(text.len(), 20);
        assert_eq!(MemberId::parse(&text), Some(id));
        assert_eq!(MemberId::parse(&text.to_uppercase()), None);
        assert_eq!(MemberId::parse(&text[1..]), None);
        assert_eq!(MemberId::parse(""), None);
    }
}
