//! Room names, member ids and session secrets. Parsing validates them, so a value of these types is always valid.

use std::{fmt, sync::Arc};

use data_encoding::{BASE64URL_NOPAD, Encoding, Specification};
use subtle::ConstantTimeEq;

use crate::error::Error;

/// A room's name: 1 to 64 characters of `A-Z a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// Maximum length in bytes.
    pub const MAX: usize = 64;

    /// Validates a name. `field` is the path of the field that holds the name, for the error.
    pub fn parse(name: &str, field: &'static str) -> Result<Self, Error> {
        let fits = (1..=Self::MAX).contains(&name.len());
        if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            Ok(Self(name.into()))
        } else {
            Err(Error::InvalidRoomName { field })
        }
    }

    /// Generates an unguessable name from 128 random bits.
    pub fn generate(random: [u8; 16]) -> Self {
        Self(BASE64URL_NOPAD.encode(&random).into())
    }

    /// Returns the name as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member's public id: 96 random bits, encoded as 20 characters of `a-z 2-7`. The alphabet has no `-`, so
/// command-line tools never parse an id as a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId([u8; 12]);

impl MemberId {
    /// Creates an id from 96 random bits.
    pub const fn new(random: [u8; 12]) -> Self {
        Self(random)
    }

    /// Returns the raw bytes, for a session token.
    pub const fn bytes(&self) -> &[u8; 12] {
        &self.0
    }

    /// Parses the text form. Returns `None` if the text is not a valid id.
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
        // 96 bits fill 19.2 base32 characters. The unused bits of the last character must be zero, so that each id has
        // exactly one encoding.
        spec.check_trailing_bits = true;
        spec.encoding().expect("32 distinct symbols are a valid specification")
    });
    &ENCODING
}

/// Proves that a client owns a session: 256 random bits, compared in constant time and never printed.
#[derive(Clone, Copy)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Creates a secret from 256 random bits.
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// Compares two secrets in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Returns the raw bytes, for a session token.
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
