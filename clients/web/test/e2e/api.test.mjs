// The library and the real server without a browser: gRPC-Web works the same in Node.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing, startProxy, startServer, until } from './harness.mjs';

const skip = missing();
const { Code, join, SignalError } = await import('../../dist/lib/index.js').catch(() => ({}));

/** Joins a room and leaves it after the test. */
async function joinFor(t, room, options) {
  const session = await join(room, options);
  t.after(() => session.leave());
  return session;
}

const hasError = (code, reason) => (error) => {
  assert.ok(error instanceof SignalError, String(error));
  assert.deepEqual([error.code, error.reason], [code, reason]);
  return true;
};

test('rejected join throws code and reason', { skip }, async (t) => {
  const { url, port } = await startServer(t, { args: ['--max-members', '1'] });
  await assert.rejects(join('no/room', { url }), hasError(Code.InvalidArgument, 'INVALID_ROOM_NAME'));
  const tooLong = join('room', { url, displayName: 'x'.repeat(257) });
  await assert.rejects(tooLong, (error) => {
    assert.deepEqual([error.code, error.reason], [Code.InvalidArgument, 'INVALID_MESSAGE']);
    assert.match(error.fieldViolations[0].field, /display_name$/);
    return true;
  });
  await joinFor(t, 'room', { url });
  await assert.rejects(join('room', { url }), hasError(Code.ResourceExhausted, 'ROOM_FULL'));
  const unreachable = { url: `http://127.0.0.1:${port === 1 ? 2 : 1}`, joinTimeoutMs: 500 };
  await assert.rejects(join('room', unreachable), hasError(Code.Unavailable, 'NETWORK'));
});

test('every kind of signal arrives unchanged', { skip }, async (t) => {
  const { url } = await startServer(t);
  const ann = await joinFor(t, 'room', { url, displayName: 'Ann', attributes: { a: '1' } });
  const received = [];
  for (const name of ['memberJoined', 'memberUpdated', 'memberLeft', 'offer', 'answer', 'candidate', 'data']) {
    ann.on(name, (event) => received.push([name, event]));
  }
  const ben = await join('room', { url, displayName: 'Ben', identity: 'ben' });
  const [seen] = ben.members.values();
  assert.deepEqual([seen.memberId, seen.displayName, seen.attributes], [ann.me.memberId, 'Ann', { a: '1' }]);
  assert.ok(ben.me.joinOrder > seen.joinOrder);
  const to = ann.me.memberId;
  const candidate = { candidate: 'candidate:1', sdpMid: '', sdpMLineIndex: 0, usernameFragment: 'uf' };
  const outcomes = await Promise.all([
    ben.sendOffer(to, 'offer', 3),
    ben.sendCandidate(to, candidate, 3),
    ben.sendCandidate(to, { candidate: '' }, 3),
    ben.sendAnswer(to, 'answer', 4),
    ben.sendData({ topic: 't', text: 'x', payload: new Uint8Array([1, 2]) }),
    ben.update({ attributes: { b: '2' } }),
    ben.sendOffer('nobody', 'offer'),
    ben.sendOffer(to, 'x'.repeat(64 * 1024 + 1)),
  ]);
  const undelivered = (reason) => ({ status: 'undelivered', reason });
  assert.deepEqual(
    outcomes.map(({ status, failures }) => (failures ? undelivered(failures[0].reason) : status)),
    [...Array(6).fill('accepted'), undelivered('NO_SUCH_MEMBER'), undelivered('TOO_LARGE')],
  );
  await ben.leave();
  await until('the leave', () => received.at(-1)?.[0] === 'memberLeft');
  const from = received[0][1].memberId;
  assert.deepEqual(received.slice(1, 6), [
    ['offer', { from, sdp: 'offer', negotiation: 3 }],
    ['candidate', { from, candidate, negotiation: 3 }],
    ['candidate', { from, candidate: { candidate: '' }, negotiation: 3 }],
    ['answer', { from, sdp: 'answer', negotiation: 4 }],
    ['data', { from, topic: 't', text: 'x', payload: new Uint8Array([1, 2]) }],
  ]);
  assert.deepEqual(received[6][1].attributes, { b: '2' });
  assert.deepEqual([received[7][1].member.identity, received[7][1].reason], ['ben', 'LEFT']);
  assert.equal(received.length, 8);
});

test('signals over the rate limit are undelivered with a retry delay', { skip }, async (t) => {
  const args = ['--max-signals-per-second', '10', '--signal-burst', '20'];
  const { url } = await startServer(t, { args });
  const ann = await joinFor(t, 'room', { url });
  const ben = await joinFor(t, 'room', { url });
  const received = [];
  ann.on('data', ({ text }) => received.push(text));
  const outcomes = await Promise.all(Array.from({ length: 30 }, (_, i) => ben.sendData({ text: `${i}` })));
  const accepted = outcomes.flatMap(({ status }, i) => (status === 'accepted' ? [`${i}`] : []));
  const [late] = outcomes.filter(({ status }) => status === 'undelivered').map(({ failures }) => failures[0]);
  assert.equal(late.reason, 'RATE_LIMITED');
  assert.ok(late.retryAfterMs > 0 && late.retryAfterMs <= 3_000, `${late.retryAfterMs} ms`);
  await until('the accepted messages', () => received.length === accepted.length);
  assert.deepEqual(received, accepted);
});

test('session ends when its identity joins again', { skip }, async (t) => {
  const { url } = await startServer(t);
  const ann = await joinFor(t, 'room', { url });
  const left = [];
  ann.on('memberLeft', ({ reason }) => left.push(reason));
  const first = await joinFor(t, 'room', { url, identity: 'ben' });
  const sessionEvents = [];
  first.on('ended', ({ reason }) => sessionEvents.push(reason));
  await joinFor(t, 'room', { url, identity: 'ben' });
  await until('the end', () => sessionEvents.length > 0);
  assert.deepEqual(sessionEvents, ['REPLACED']);
  assert.equal(first.state, 'ended');
  await until('the other member to receive both', () => left.length > 0 && ann.members.size === 1);
  assert.deepEqual(left, ['REPLACED']);
});

test('accepted messages arrive once and in order over breaking connections', { skip }, async (t) => {
  // The mailbox holds all messages while Ben is disconnected.
  const args = ['--max-signals-per-second', '100000', '--signal-burst', '100000', '--mailbox-entries', '2048'];
  const server = await startServer(t, { args });
  const [proxyA, proxyB] = [await startProxy(t, server.port), await startProxy(t, server.port)];
  const ann = await joinFor(t, 'room', { url: proxyA.url });
  const ben = await joinFor(t, 'room', { url: proxyB.url });
  const sessionEvents = [];
  const received = [];
  for (const session of [ann, ben]) {
    session.on('resumed', () => sessionEvents.push('resumed'));
    session.on('rejoined', () => sessionEvents.push('rejoined'));
    session.on('memberLeft', () => sessionEvents.push('left'));
  }
  ben.on('data', ({ text }) => received.push(text));
  let cutting = true;
  const cuts = (async () => {
    let count = 0;
    while (cutting) {
      for (const proxy of [proxyA, proxyB]) if (Math.random() < 0.5) proxy.break();
      count += 1;
      await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 150));
    }
    return count;
  })();
  const sent = Array.from({ length: 1_500 }, (_, i) => `${i}`);
  const outcomes = [];
  for (const text of sent) {
    outcomes.push(ann.sendData({ to: ben.me.memberId, text }));
    if (outcomes.length % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 30));
  }
  cutting = false;
  const settled = await Promise.all(outcomes);
  assert.deepEqual([...new Set(settled.map(({ status }) => status))], ['accepted']);
  await until('the last message', () => received.at(-1) === sent.at(-1));
  t.diagnostic(`${await cuts} rounds of cuts, ${sessionEvents.length} resumes`);
  assert.deepEqual(received, sent);
  assert.deepEqual([...new Set(sessionEvents)], ['resumed']);
});
