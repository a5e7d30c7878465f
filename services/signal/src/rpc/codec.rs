//! The codecs of the services. The streams of Signal send bytes that the room encoded once, and append the reader's own
//! `ack`.

use std::marker::PhantomData;

use bytes::{Buf, BufMut};
use prost::{
    Message,
    encoding::{self, DecodeContext},
};
pub use signalbox_core::Frame;
use signalbox_proto::v1::{
    ClientMessage, CreateRoomRequest, DeleteRoomRequest, GetRoomRequest, ListMembersRequest, ListRoomsRequest,
    RemoveMemberRequest, SendRequest, SubscribeRequest, UpdateRoomRequest, WatchRoomRequest,
};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::error::Error;

/// `google.protobuf.Empty`, under a name that build.rs can use.
pub type Empty = ();

/// Field number of `ServerMessage.ack`.
const ACK_FIELD: u32 = 2;
/// Field number of `SendRequest.messages`.
const MESSAGES_FIELD: u32 = 2;
/// Maximum messages in one `Send`, which handles all of them under one lock of the room.
const MAX_BATCH: usize = 1024;

/// Initial size of a stream's encode and decode buffers, in bytes. tonic's default of 8 KiB costs more memory than the
/// rest of an idle stream.
const BUFFER: usize = 512;
/// Bytes after which a busy stream yields, so that the connection can write.
const YIELD_AFTER: usize = 32 * 1024;

/// The codec of the Signal streams: encodes frames and decodes `T`.
pub struct FrameCodec<T>(PhantomData<T>);

impl<T> Default for FrameCodec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Inbound> Codec for FrameCodec<T> {
    type Encode = Frame;
    type Decode = T;
    type Encoder = FrameEncoder;
    type Decoder = MessageDecoder<T>;

    fn encoder(&mut self) -> Self::Encoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(PhantomData)
    }
}

/// Encodes frames.
pub struct FrameEncoder;

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(frame.bytes.len() + 16);
        buffer.put(frame.bytes);
        if frame.ack != 0 {
            // Appending works, because protobuf merges concatenated encodings of a message.
            encoding::uint64::encode(ACK_FIELD, &frame.ack, buffer);
        }
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, YIELD_AFTER)
    }
}

/// The codec of all other calls: encodes `U` and decodes `T`.
pub struct MessageCodec<U, T>(PhantomData<(U, T)>);

impl<U, T> Default for MessageCodec<U, T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<U: Message + 'static, T: Inbound> Codec for MessageCodec<U, T> {
    type Encode = U;
    type Decode = T;
    type Encoder = MessageEncoder<U>;
    type Decoder = MessageDecoder<T>;

    fn encoder(&mut self) -> Self::Encoder {
        MessageEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(PhantomData)
    }
}

/// Encodes messages of type `U`.
pub struct MessageEncoder<U>(PhantomData<U>);

impl<U: Message> Encoder for MessageEncoder<U> {
    type Item = U;
    type Error = Status;

    fn encode(&mut self, message: U, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, YIELD_AFTER)
    }
}

/// A message that clients send.
pub trait Inbound: Message + Default + 'static {
    /// Rejects bytes that would decode to far more memory.
    fn check(_encoded: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}

impl Inbound for ClientMessage {}
impl Inbound for SubscribeRequest {}

impl Inbound for CreateRoomRequest {}
impl Inbound for GetRoomRequest {}
impl Inbound for ListRoomsRequest {}
impl Inbound for UpdateRoomRequest {}
impl Inbound for DeleteRoomRequest {}
impl Inbound for ListMembersRequest {}
impl Inbound for RemoveMemberRequest {}
impl Inbound for WatchRoomRequest {}

impl Inbound for SendRequest {
    /// Limits the number of messages. An empty message takes two bytes encoded and about a hundred times as many
    /// decoded.
    fn check(mut encoded: &[u8]) -> Result<(), Error> {
        let mut messages = 0;
        while !encoded.is_empty() {
            let (field, wire_type) = encoding::decode_key(&mut encoded).map_err(malformed)?;
            encoding::skip_field(wire_type, field, &mut encoded, DecodeContext::default()).map_err(malformed)?;
            messages += usize::from(field == MESSAGES_FIELD);
        }
        check_batch(messages)
    }
}

/// Checks the number of messages in a `Send`.
fn check_batch(messages: usize) -> Result<(), Error> {
    if (1..=MAX_BATCH).contains(&messages) {
        Ok(())
    } else {
        Err(Error::invalid("messages", format!("must be 1 to {MAX_BATCH}")))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn malformed(error: prost::DecodeError) -> Error {
    Error::invalid("message", format!("malformed protobuf: {error}"))
}

/// Decodes messages of type `T`.
pub struct MessageDecoder<T>(PhantomData<T>);

impl<T: Inbound> Decoder for MessageDecoder<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        T::check(buffer.chunk())?;
        Ok(Some(T::decode(buffer).map_err(malformed)?))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, YIELD_AFTER)
    }
}
