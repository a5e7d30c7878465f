import type { MessageData } from './transfer.js';

/** A data channel that buffers more than this takes no further messages, in bytes. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** Waiting messages are sent when the data channel buffers no more than this, in bytes. */
export const LOW_BUFFERED_BYTES = 256 * 1024;
/** Maximum message size if the description has no `a=max-message-size` (RFC 8841, section 6). */
const DEFAULT_MAX_MESSAGE_BYTES = 65_536;

/** Whether a channel accepts a message now. */
export function hasCapacity(channel: RTCDataChannel): boolean {
  return channel.readyState === 'open' && channel.bufferedAmount <= MAX_BUFFERED_BYTES;
}

/** Whether the message is within the peer's maximum message size. */
export function fits(rtc: RTCPeerConnection, data: MessageData): boolean {
  // 0 means no limit.
  const limit = (rtc.sctp?.maxMessageSize ?? DEFAULT_MAX_MESSAGE_BYTES) || Number.POSITIVE_INFINITY;
  // A UTF-16 code unit takes 1 to 3 bytes in UTF-8, so most texts need not be encoded.
  if (typeof data === 'string' && (data.length > limit || data.length * 3 <= limit)) return data.length <= limit;
  return byteLength(data) <= limit;
}

/** Sends one message. Returns false if the channel is not ready, or the message is larger than the peer accepts. */
export function trySend(channel: RTCDataChannel, rtc: RTCPeerConnection, data: string | ArrayBuffer): boolean {
  if (!hasCapacity(channel) || !fits(rtc, data)) return false;
  try {
    channel.send(data as string);
    return true;
  } catch {
    // The channel closed, or the browser's own buffer is full.
    return false;
  }
}

/** Size of a message in bytes, as UTF-8 if it is text. */
export function byteLength(data: MessageData): number {
  if (typeof data === 'string') return new TextEncoder().encode(data).length;
  return data instanceof Blob ? data.size : data.byteLength;
}
