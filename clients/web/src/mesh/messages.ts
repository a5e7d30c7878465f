/** Messages wait outside of the browser while it buffers more than this, in bytes. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** Largest message to a peer whose description names no limit (RFC 8841, section 6). */
const DEFAULT_MAX_MESSAGE_BYTES = 65_536;

/**
 * Sends one message over a data channel. Returns false if the channel is not open, buffers more than 1 MiB, or the
 * message exceeds what the peer accepts.
 */
export function trySend(
  channel: RTCDataChannel,
  rtc: RTCPeerConnection,
  data: string | ArrayBuffer | ArrayBufferView<ArrayBuffer>,
): boolean {
  if (channel.readyState !== 'open' || channel.bufferedAmount > MAX_BUFFERED_BYTES) return false;
  // 0: no limit.
  const limit = (rtc.sctp?.maxMessageSize ?? DEFAULT_MAX_MESSAGE_BYTES) || Number.POSITIVE_INFINITY;
  if (byteLength(data, limit) > limit) return false;
  try {
    channel.send(data as string);
    return true;
  } catch {
    // The channel closed, or the browser's own buffer is full.
    return false;
  }
}

/** Size on the wire. Encodes a text only if its length does not settle whether it exceeds the limit. */
function byteLength(data: string | ArrayBuffer | ArrayBufferView, limit: number): number {
  if (typeof data !== 'string') return data.byteLength;
  return data.length > limit || data.length * 3 <= limit ? data.length : new TextEncoder().encode(data).length;
}
