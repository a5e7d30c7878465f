//! The codec of the Signal service: messages go out as bytes that were encoded once, with the reader's own `ack`
//! appended, and come in with a clear error when they are malformed.

use std::marker::PhantomData;

use bytes::BufMut;
use prost::{Message, encoding};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::error::Error;
pub use crate::room::Frame;

/// `ServerMessage.ack`.
const ACK_FIELD: u32 = 2;

/// Start of a stream's buffers in bytes, each way. tonic's own 8 KiB are more than all else that an idle stream costs.
const BUFFER: usize = 512;
/// Bytes after which a stream that always has more to say lets the connection write.
const YIELD_AFTER: usize = 32 * 1024;

/// Frames out, `T` in.
pub struct FrameCodec<T>(PhantomData<T>);

impl<T> Default for FrameCodec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Default + 'static> Codec for FrameCodec<T> {
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

/// Writes frames.
pub struct FrameEncoder;

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(frame.bytes.len() + 16);
        buffer.put(frame.bytes);
        if frame.ack != 0 {
            // Concatenated encodings of a message merge.
            encoding::uint64::encode(ACK_FIELD, &frame.ack, buffer);
        }
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, YIELD_AFTER)
    }
}

/// Reads messages.
pub struct MessageDecoder<T>(PhantomData<T>);

impl<T: Message + Default> Decoder for MessageDecoder<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        let malformed = |error: prost::DecodeError| Error::invalid("message", format!("malformed protobuf: {error}"));
        Ok(Some(T::decode(buffer).map_err(malformed)?))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, YIELD_AFTER)
    }
}
