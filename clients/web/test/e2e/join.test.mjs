// Joins that end early and updates that the server rejects, with the library and the real server, without a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { missing, startServer, until } from './harness.mjs';

const skip = missing();
const { join, SignalError } = await import('../../dist/lib/index.js').catch(() => ({}));

/** A member that records how others come and go. */
async function observe(t, url) {
  const session = await join('room', { url });
  t.after(() => session.leave());
  const events = [];
  session.on('memberJoined', ({ displayName }) => events.push(`joined ${displayName}`));
  session.on('memberUpdated', ({ displayName, state }) => events.push(`${state} ${displayName}`));
  session.on('memberLeft', ({ member, reason }) => events.push(`${reason} ${member.displayName}`));
  return { session, events };
}

/** A fetch over a network with a delay in each direction. */
const slowFetch = (delayMs) => async (input, init) => {
  // The client's check of `fetch` itself.
  if (String(input).startsWith('data:')) return await fetch(input, init);
  await sleep(delayMs);
  const response = await fetch(input, init);
  await sleep(delayMs);
  return response;
};

test('aborted joins leave no member', { skip }, async (t) => {
  const { url } = await startServer(t);
  const { session, events } = await observe(t, url);
  for (const afterMs of [0, 2, 10, 30, 41, 50]) {
    const controller = new AbortController();
    const options = { url, displayName: `after ${afterMs}`, fetch: slowFetch(20), signal: controller.signal };
    const joining = join('room', options).catch((error) => error);
    await sleep(afterMs);
    controller.abort();
    const result = await joining;
    // The join may be faster than the abort.
    if (result instanceof SignalError) assert.equal(result.reason, 'ABORTED');
    else await result.leave();
  }
  await until('the members to leave', () => session.members.size === 0 && events.includes('joined after 30'), 1_000);
  const last = await join('room', { url, displayName: 'last' });
  t.after(() => last.leave());
  await until('the last member', () => events.includes('joined last'));
  assert.deepEqual(
    [...session.members.values()].map(({ displayName }) => displayName),
    ['last'],
  );
  const joined = events.filter((event) => event.startsWith('joined')).length;
  assert.equal(events.filter((event) => event.startsWith('LEFT')).length, joined - 1, events.join());
  assert.equal(events.length, 2 * joined - 1, `no member is suspended: ${events}`);
});

test('join that exceeds joinTimeoutMs leaves no member', { skip }, async (t) => {
  const { url } = await startServer(t);
  const { events } = await observe(t, url);
  const joining = join('room', { url, displayName: 'late', fetch: slowFetch(150), joinTimeoutMs: 200 });
  await assert.rejects(joining, (error) => error.reason === 'TIMEOUT');
  await until('the late member to leave', () => events.length === 2, 1_000);
  assert.deepEqual(events, ['joined late', 'LEFT late']);
});

test('join with a fetch that cannot stream fails at once and leaves no member', { skip }, async (t) => {
  const { url } = await startServer(t);
  const { events } = await observe(t, url);
  const withoutBody = async (input, init) => {
    const response = await fetch(input, init);
    return new Proxy(response, { get: (from, name) => (name === 'body' ? undefined : Reflect.get(from, name, from)) });
  };
  const failing = join('room', { url, displayName: 'mute', fetch: withoutBody });
  await assert.rejects(failing, (error) => {
    assert.deepEqual([error.reason, error.retryable], ['UNSUPPORTED', false]);
    return true;
  });
  const last = await join('room', { url, displayName: 'last' });
  t.after(() => last.leave());
  await until('the last member', () => events.length > 0);
  assert.deepEqual(events, ['joined last']);
});

test('stream that a proxy buffers is reported after one attempt', { skip }, async (t) => {
  const { url } = await startServer(t);
  const { events } = await observe(t, url);
  const buffering = async (input, init) => {
    const response = await fetch(input, init);
    if (!String(input).endsWith('/Subscribe')) return response;
    return new Response(await response.arrayBuffer(), response);
  };
  const failing = join('room', { url, displayName: 'buffered', fetch: buffering, joinTimeoutMs: 60_000 });
  await assert.rejects(failing, (error) => error.reason === 'STREAM_BLOCKED');
  assert.deepEqual(
    events.filter((event) => event.startsWith('joined')),
    ['joined buffered'],
  );
});

test('undelivered update is not part of a rejoin', { skip }, async (t) => {
  const server = await startServer(t);
  const session = await join('room', { url: server.url, attributes: { a: 'old' } });
  t.after(() => session.leave());
  assert.equal((await session.update({ attributes: { a: 'x'.repeat(5_000) } })).status, 'undelivered');
  assert.deepEqual(session.me.attributes, { a: 'old' });
  assert.deepEqual(await session.update({ displayName: 'new' }), { status: 'accepted' });
  const rejoined = session.once('rejoined', { signal: AbortSignal.timeout(15_000) });
  await server.stop();
  await startServer(t, { port: server.port });
  await rejoined;
  assert.deepEqual([session.me.displayName, session.me.attributes], ['new', { a: 'old' }]);
});
