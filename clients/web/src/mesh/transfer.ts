import type { Changes } from './changes.js';
import { byteLength } from './messages.js';
import { PeerError } from './peerError.js';

/**
 * Subprotocol of a data channel that carries one message above the maximum message size:
 *
 * 1. The sender opens the channel and sends a header as JSON: `{"kind": "text" | "binary" | "blob", "size": bytes}`.
 * 2. The receiver replies `ready`, or closes the channel if it does not accept the message.
 * 3. The sender sends the bytes in pieces.
 * 4. The receiver replies `done` after the last piece, and the sender closes the channel.
 */
export const TRANSFER_PROTOCOL = 'signalbox.transfer.v1';

/** Size of a piece, in bytes: the maximum that RFC 8831, section 6.6, recommends. */
const PIECE_BYTES = 16 * 1024;
/** The sender waits while the channel buffers more than this, in bytes: enough for 100 Mbit/s at 80 ms. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** The sender continues when the channel buffers no more than this, in bytes. */
const LOW_BUFFERED_BYTES = 256 * 1024;
/** Largest message that a receiver accepts, in bytes. */
export const MAX_TRANSFER_BYTES = 512 * 1024 * 1024;
/** How long the receiver may take to reply `ready`, in milliseconds. */
const READY_TIMEOUT_MS = 10_000;
/** Size at which received pieces become a Blob, which the browser can move to disk, in bytes. */
const BLOB_PART_BYTES = 4 * 1024 * 1024;

/** Data that can be sent to a peer. */
export type MessageData = string | ArrayBuffer | ArrayBufferView<ArrayBuffer> | Blob;
/** Received data: text, binary data or a Blob, as sent. */
export type ReceivedData = string | ArrayBuffer | Blob;

/** Options of `Peer.send`. */
export interface SendOptions {
  /** Cancels the message. */
  signal?: AbortSignal;
  /** Called with the bytes passed to the browser so far. Not called for messages that need no separate channel. */
  onProgress?: (sentBytes: number, totalBytes: number) => void;
}

interface Header {
  readonly kind: 'text' | 'binary' | 'blob';
  readonly size: number;
}

/** Sends one message over `channel` and closes it. Resolves when the peer has received the whole message. */
export async function sendTransfer(
  channel: RTCDataChannel,
  data: MessageData,
  changes: Changes,
  { signal, onProgress }: SendOptions,
): Promise<void> {
  const replies: unknown[] = [];
  channel.binaryType = 'arraybuffer';
  channel.bufferedAmountLowThreshold = LOW_BUFFERED_BYTES;
  channel.onopen = channel.onclose = channel.onbufferedamountlow = () => changes.notify();
  channel.onmessage = ({ data }) => {
    replies.push(data);
    changes.notify();
  };
  const until = (check: () => boolean) =>
    changes.until(() => {
      if (channel.readyState === 'connecting' || channel.readyState === 'open') return check();
      throw new PeerError('INTERRUPTED', 'the connection or the peer ended the transfer');
    }, signal);
  const timer = setTimeout(() => channel.close(), READY_TIMEOUT_MS);
  try {
    const kind = typeof data === 'string' ? 'text' : data instanceof Blob ? 'blob' : 'binary';
    const source = typeof data === 'string' ? new TextEncoder().encode(data) : data;
    const size = byteLength(source);
    await until(() => channel.readyState === 'open');
    channel.send(JSON.stringify({ kind, size } satisfies Header));
    await until(() => replies.includes('ready'));
    clearTimeout(timer);
    for (let from = 0; from < size; from += PIECE_BYTES) {
      const piece = await pieceOf(source, from, Math.min(from + PIECE_BYTES, size));
      await until(() => channel.bufferedAmount <= MAX_BUFFERED_BYTES);
      channel.send(piece);
      onProgress?.(from + piece.byteLength, size);
    }
    await until(() => replies.includes('done'));
  } finally {
    clearTimeout(timer);
    channel.close();
  }
}

/** Receives one message over a channel that the peer opened. Closes the channel if the message is invalid. */
export function receiveTransfer(channel: RTCDataChannel, onReceived: (data: ReceivedData) => void): void {
  let header: Header | undefined;
  let received = 0;
  let parts: BlobPart[] = [];
  let recent: ArrayBuffer[] = [];
  let recentBytes = 0;
  channel.binaryType = 'arraybuffer';
  channel.onmessage = async ({ data }) => {
    if (!header) {
      header = readHeader(data);
      if (!header) return channel.close();
      channel.send('ready');
    } else if (data instanceof ArrayBuffer && received + data.byteLength <= header.size) {
      received += data.byteLength;
      recent.push(data);
      recentBytes += data.byteLength;
      if (recentBytes >= BLOB_PART_BYTES) {
        parts.push(new Blob(recent));
        recent = [];
        recentBytes = 0;
      }
    } else {
      return channel.close();
    }
    if (received < header.size) return;
    const blob = new Blob([...parts, ...recent]);
    parts = [];
    recent = [];
    const { kind } = header;
    channel.send('done');
    onReceived(kind === 'blob' ? blob : kind === 'text' ? await blob.text() : await blob.arrayBuffer());
  };
}

function readHeader(data: unknown): Header | undefined {
  try {
    const { kind, size } = JSON.parse(String(data));
    const isKind = kind === 'text' || kind === 'binary' || kind === 'blob';
    return isKind && Number.isSafeInteger(size) && size >= 0 && size <= MAX_TRANSFER_BYTES ? { kind, size } : undefined;
  } catch {
    return undefined;
  }
}

/** Returns a part of `source`. Reads a Blob piece by piece, so that a file is never in memory as a whole. */
async function pieceOf(
  source: ArrayBuffer | ArrayBufferView<ArrayBuffer> | Blob,
  from: number,
  to: number,
): Promise<ArrayBufferView<ArrayBuffer>> {
  if (source instanceof Blob) return new Uint8Array(await source.slice(from, to).arrayBuffer());
  if (source instanceof ArrayBuffer) return new Uint8Array(source, from, to - from);
  return new Uint8Array(source.buffer, source.byteOffset + from, to - from);
}
