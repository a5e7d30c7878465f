import type { MessageData } from './transfer.js';

/** Messages wait outside of the browser while it buffers more than this, in bytes. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** Messages that wait are sent when the browser buffers less than this, in bytes. */
export const LOW_BUFFERED_BYTES = 256 * 1024;
/** Largest message to a peer whose description names no limit (RFC 8841, section 6). */
const DEFAULT_MAX_MESSAGE_BYTES = 65_536;

/** Whether a channel takes a message now. */
export function hasRoom(channel: RTCDataChannel): boolean {
  return channel.readyState === 'open' && channel.bufferedAmount <= MAX_BUFFERED_BYTES;
}

/** Whether the peer accepts a message of this size in one piece. */
export function fits(rtc: RTCPeerConnection, data: MessageData): boolean {
  // 0: no limit.
  const limit = (rtc.sctp?.maxMessageSize ?? DEFAULT_MAX_MESSAGE_BYTES) || Number.POSITIVE_INFINITY;
  // Encodes a text only if its length leaves open whether it exceeds the limit.
  if (typeof data === 'string' && (data.length > limit || data.length * 3 <= limit)) return data.length <= limit;
  return byteLength(data) <= limit;
}

/** Sends one message. Returns false if the channel has no room, or the message is larger than the peer accepts. */
export function trySend(channel: RTCDataChannel, rtc: RTCPeerConnection, data: string | ArrayBuffer): boolean {
  if (!hasRoom(channel) || !fits(rtc, data)) return false;
  try {
    channel.send(data as string);
    return true;
  } catch {
    // The channel closed, or the browser's own buffer is full.
    return false;
  }
}

/** Size on the wire, in bytes. */
export function byteLength(data: MessageData): number {
  if (typeof data === 'string') return new TextEncoder().encode(data).length;
  return data instanceof Blob ? data.size : data.byteLength;
}
