import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Changes } from '../../../src/mesh/changes.js';
import { type ReceivedData, receiveTransfer, sendTransfer } from '../../../src/mesh/transfer.js';

/** One end of a data channel. Messages arrive in a later task, and leave the buffer when they arrive. */
class FakeChannel {
  readyState = 'open';
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  binaryType = 'blob';
  highest = 0;
  sent = 0;
  remote: FakeChannel | undefined;
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;

  send(data: string | ArrayBufferView<ArrayBuffer>): void {
    if (this.readyState !== 'open') throw new Error('not open');
    const bytes = typeof data === 'string' ? data.length : data.byteLength;
    this.bufferedAmount += bytes;
    this.sent += bytes;
    this.highest = Math.max(this.highest, this.bufferedAmount);
    const copy = typeof data === 'string' ? data : data.buffer.slice(data.byteOffset, data.byteOffset + bytes);
    setImmediate(() => {
      this.bufferedAmount -= bytes;
      this.remote?.onmessage?.({ data: copy });
      if (this.bufferedAmount <= this.bufferedAmountLowThreshold) this.onbufferedamountlow?.();
    });
  }

  close(): void {
    for (const end of [this, this.remote]) {
      if (!end || end.readyState === 'closed') continue;
      end.readyState = 'closed';
      setImmediate(() => end.onclose?.());
    }
  }
}

function channelPair(): [FakeChannel, FakeChannel] {
  const pair: [FakeChannel, FakeChannel] = [new FakeChannel(), new FakeChannel()];
  pair[0].remote = pair[1];
  pair[1].remote = pair[0];
  return pair;
}

const asChannel = (channel: FakeChannel) => channel as unknown as RTCDataChannel;

test('large messages of each kind arrive as they were sent, with bounded buffers', async () => {
  const bytes = new Uint8Array(5_000_003).map((_, index) => index % 251);
  const text = 'é€😀'.repeat(400_000);
  for (const data of [bytes.buffer, bytes.subarray(7, 3_000_000), new Blob([bytes]), text, '', new Blob([])]) {
    const [near, far] = channelPair();
    const received: ReceivedData[] = [];
    receiveTransfer(asChannel(far), (data) => received.push(data));
    const progress: number[] = [];
    await sendTransfer(asChannel(near), data, new Changes(), { onProgress: (sent) => progress.push(sent) });
    const [first] = received;
    assert.equal(received.length, 1);
    if (typeof data === 'string') assert.equal(first, data);
    else if (data instanceof Blob) assert.deepEqual(await (first as Blob).arrayBuffer(), await data.arrayBuffer());
    else assert.deepEqual(new Uint8Array(first as ArrayBuffer), new Uint8Array(data as ArrayBuffer));
    assert.ok(near.highest < 1.2 * 1024 * 1024, `${near.highest} bytes buffered`);
    assert.deepEqual(
      progress,
      [...progress].sort((a, b) => a - b),
    );
    assert.equal(far.readyState, 'closed');
  }
});

test('transfer fails when the peer goes, does not accept it, or the caller cancels', async () => {
  const data = new Uint8Array(3_000_000);
  const interrupted = { reason: 'INTERRUPTED' };
  const [near, far] = channelPair();
  receiveTransfer(asChannel(far), () => assert.fail('received'));
  setImmediate(() => setImmediate(() => setImmediate(() => far.close())));
  await assert.rejects(sendTransfer(asChannel(near), data, new Changes(), {}), interrupted);

  const refused = channelPair();
  refused[1].onmessage = () => refused[1].close();
  await assert.rejects(sendTransfer(asChannel(refused[0]), data, new Changes(), {}), interrupted);

  const cancelled = channelPair();
  receiveTransfer(asChannel(cancelled[1]), () => assert.fail('received'));
  const controller = new AbortController();
  const changes = new Changes();
  const onProgress = () => controller.abort(new Error('cancelled'));
  const sending = sendTransfer(asChannel(cancelled[0]), data, changes, { signal: controller.signal, onProgress });
  await assert.rejects(sending, /cancelled/);
  assert.equal(cancelled[0].readyState, 'closed');
});

test('receiver closes the channel on anything but a transfer', async () => {
  for (const messages of [
    ['{}'],
    ['no json'],
    ['{"kind":"binary","size":1e12}'],
    ['{"kind":"text","size":1}', 'x'.repeat(9)],
  ]) {
    const [near, far] = channelPair();
    receiveTransfer(asChannel(far), () => assert.fail('received'));
    for (const message of messages) near.send(message);
    const closed = new Promise<void>((resolve) => {
      near.onclose = resolve;
    });
    await closed;
  }
});
