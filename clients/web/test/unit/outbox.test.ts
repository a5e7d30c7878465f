import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { type ClientMessage, SendRequestSchema, SendResponseSchema } from '../../src/gen/signalbox/v1/signal_pb.js';
import { Outbox, type Outcome } from '../../src/outbox.js';

const limits = { maxMessageBytes: 128 * 1024, maxUnacked: 4_096 };
const text = (value: string, to = 'bob') => ({ to, body: { case: 'data' as const, value: { text: value } } });
const seqs = (batch: readonly ClientMessage[]) => batch.map((message) => Number(message.seq));
const response = (ack: number, undelivered: { clientSeq: bigint; to?: string; reason: string }[] = []) =>
  create(SendResponseSchema, { ack: BigInt(ack), undelivered });

/** The outcome if the promise is settled, else 'pending'. */
function peek(promise: Promise<Outcome>): Promise<Outcome | 'pending'> {
  return Promise.race([promise, new Promise<'pending'>((resolve) => setTimeout(resolve, 1, 'pending'))]);
}

test('messages are numbered from 1 without gaps and resent until settled', () => {
  const outbox = new Outbox(limits);
  void outbox.push(text('a'));
  void outbox.push(text('b'));
  assert.deepEqual(seqs(outbox.batch()), [1, 2]);
  void outbox.push(text('c'));
  assert.deepEqual(seqs(outbox.batch()), [1, 2, 3]);
  outbox.settle(response(2));
  assert.deepEqual(seqs(outbox.batch()), [3]);
  assert.equal(outbox.size, 1);
});

test('ack settles accepted and undelivered messages up to its number', async () => {
  const outbox = new Outbox(limits);
  const outcomes = ['a', 'b', 'c'].map((value) => outbox.push(text(value)));
  const undelivered = [{ clientSeq: 2n, to: 'bob', reason: 'RATE_LIMITED', retryAfter: { seconds: 1n, nanos: 5e8 } }];
  outbox.settle(create(SendResponseSchema, { ack: 2n, undelivered }));
  assert.deepEqual(await peek(outcomes[0] as Promise<Outcome>), { status: 'accepted' });
  assert.deepEqual(await peek(outcomes[1] as Promise<Outcome>), {
    status: 'undelivered',
    failures: [{ to: 'bob', reason: 'RATE_LIMITED', retryAfterMs: 1500 }],
  });
  assert.equal(await peek(outcomes[2] as Promise<Outcome>), 'pending');
});

test('broadcast outcome lists each member that it was not delivered to', async () => {
  const outbox = new Outbox(limits);
  const outcome = outbox.push(text('hello', ''));
  const failed = ['bob', 'eve'].map((to) => ({ clientSeq: 1n, to, reason: 'MAILBOX_FULL' }));
  outbox.settle(response(1, failed));
  const settled = await outcome;
  assert.ok(settled.status === 'undelivered');
  assert.deepEqual(
    settled.failures.map(({ to }) => to),
    ['bob', 'eve'],
  );
});

test('repeated ack does not settle a message twice', async () => {
  const outbox = new Outbox(limits);
  const first = outbox.push(text('a'));
  outbox.settle(response(1));
  outbox.settle(response(1, [{ clientSeq: 1n, reason: 'NO_SUCH_MEMBER' }]));
  assert.deepEqual(await first, { status: 'accepted' });
  assert.deepEqual(seqs(outbox.batch()), []);
});

test('batch holds at most 1,024 messages with the ack, and at most max_unacked', () => {
  const outbox = new Outbox(limits);
  for (let i = 0; i < 1_100; i += 1) void outbox.push(text('x'));
  assert.equal(outbox.batch().length, 1_023);
  const small = new Outbox({ ...limits, maxUnacked: 7 });
  for (let i = 0; i < 20; i += 1) void small.push(text('x'));
  assert.equal(small.batch().length, 7);
});

test('batch stays below four times the message size limit', () => {
  const outbox = new Outbox({ ...limits, maxMessageBytes: 1_000 });
  for (let i = 0; i < 50; i += 1) void outbox.push(text('x'.repeat(900)));
  const messages = outbox.batch();
  assert.equal(messages.length, 3);
  assert.ok(toBinary(SendRequestSchema, create(SendRequestSchema, { messages })).length < 4_000);
});

test('message over the size limit gets no number', async () => {
  const outbox = new Outbox({ ...limits, maxMessageBytes: 100 });
  const outcome = await outbox.push(text('x'.repeat(100)));
  assert.ok(outcome.status === 'undelivered' && outcome.failures[0].reason === 'TOO_LARGE');
  void outbox.push(text('fits'));
  assert.deepEqual(seqs(outbox.batch()), [1]);
});

test('message is rejected when 4,096 messages or 8 MiB are pending', async () => {
  const outbox = new Outbox(limits);
  for (let i = 0; i < 4_096; i += 1) void outbox.push(text('x'));
  const outcome = await outbox.push(text('x'));
  assert.ok(outcome.status === 'undelivered' && outcome.failures[0].reason === 'OUTBOX_FULL');
  outbox.settle(response(1));
  assert.equal(await peek(outbox.push(text('x'))), 'pending');

  const large = new Outbox(limits);
  for (let i = 0; i < 83; i += 1) void large.push(text('x'.repeat(100_000)));
  const last = await large.push(text('x'.repeat(100_000)));
  assert.ok(last.status === 'undelivered' && last.failures[0].reason === 'OUTBOX_FULL');
  large.settle(response(1));
  assert.equal(await peek(large.push(text('x'.repeat(100_000)))), 'pending');
});

test('rejected message is isolated and leaves no gap in the numbers', async () => {
  const outbox = new Outbox(limits);
  const outcomes = ['a', 'bad', 'c'].map((value) => outbox.push(text(value)));
  const handled: number[] = [];
  // The simulated server rejects message 2 unless it is a heartbeat, and handles the messages before it.
  for (let round = 0; round < 10 && outbox.size > 0; round += 1) {
    const batch = outbox.batch();
    const fault = batch.findIndex((message) => message.seq === 2n && message.body.case !== 'heartbeat');
    for (const message of batch.slice(0, fault < 0 ? undefined : fault)) handled.push(Number(message.seq));
    if (fault < 0) outbox.settle(response(Math.max(...handled)));
    else outbox.reject(batch, 'INVALID_MESSAGE');
  }
  assert.equal(outbox.size, 0);
  assert.deepEqual([...new Set(handled)], [1, 2, 3]);
  const [a, bad, c] = await Promise.all(outcomes);
  assert.equal(a?.status, 'accepted');
  assert.ok(bad?.status === 'undelivered' && bad.failures[0].reason === 'INVALID_MESSAGE');
  assert.equal(c?.status, 'accepted');
});

test('abandoned messages are unknown', async () => {
  const outbox = new Outbox(limits);
  const outcome = outbox.push(text('a'));
  outbox.abandon();
  assert.deepEqual(await outcome, { status: 'unknown' });
  assert.equal(outbox.size, 0);
});

test('message that cannot be encoded gets no number', async () => {
  const outbox = new Outbox({ maxMessageBytes: 1_000, maxUnacked: 256 });
  const outcome = await outbox.push({ body: { case: 'candidate', value: { candidate: '', sdpMLineIndex: -1 } } });
  assert.ok(outcome.status === 'undelivered' && outcome.failures[0].reason === 'INVALID_MESSAGE');
  void outbox.push({ body: { case: 'data', value: { text: 'x' } } });
  assert.deepEqual(
    outbox.batch().map(({ seq }) => seq),
    [1n],
  );
});
