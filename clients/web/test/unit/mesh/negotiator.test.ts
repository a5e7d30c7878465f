import assert from 'node:assert/strict';
import { Fixture, fingerprints, member, nextTask, pass, test } from './fixture.js';

test('member that joined earlier offers, then applies the answer and candidates', async () => {
  const fixture = new Fixture(false);
  fixture.connection.onnegotiationneeded();
  await pass();
  assert.deepEqual(fixture.sent, ['offer 1 to bob']);
  fixture.candidate('early', 1);
  fixture.answer(1);
  fixture.candidate('late', 1);
  fixture.candidate('', 1);
  await pass();
  assert.deepEqual(fixture.connection.log, [
    'local offer',
    'remote answer',
    'candidate early',
    'candidate late',
    'candidate ',
  ]);
});

test('later joiner waits for an offer and makes one after 10 s', async () => {
  const fixture = new Fixture(true);
  fixture.connection.onnegotiationneeded();
  await pass(9_800);
  assert.deepEqual(fixture.sent, []);
  await pass(400);
  assert.deepEqual(fixture.sent, ['offer 2 to bob']);

  const other = new Fixture(true);
  other.offer(1);
  await pass(11_000);
  assert.deepEqual(other.sent, ['answer 1 to bob']);
  other.connection.onnegotiationneeded();
  await pass();
  assert.deepEqual(other.sent, ['answer 1 to bob', 'offer 2 to bob']);
});

test('candidates of a later negotiation wait for it, and those of an earlier one are dropped', async () => {
  const fixture = new Fixture(true);
  fixture.candidate('a', 1);
  fixture.candidate('b', 1);
  fixture.candidate('next', 3);
  await pass();
  assert.deepEqual(fixture.connection.log, []);
  fixture.offer(1);
  await pass();
  assert.deepEqual(fixture.connection.log, ['remote offer', 'local answer', 'candidate a', 'candidate b']);
  fixture.offer(3);
  fixture.candidate('stale', 1);
  await pass();
  assert.deepEqual(fixture.connection.log.slice(4), ['remote offer', 'local answer', 'candidate next']);
});

test('early candidates are bounded, and the oldest are dropped', async () => {
  const fixture = new Fixture(true);
  for (let i = 0; i < 300; i += 1) fixture.candidate(`${i}`, 1);
  fixture.offer(1);
  await pass(0);
  for (let i = 0; i < 300; i += 1) await nextTask();
  const applied = fixture.connection.log.filter((line) => line.startsWith('candidate'));
  assert.deepEqual([applied.length, applied[0], applied.at(-1)], [256, 'candidate 44', 'candidate 299']);
});

test('impolite peer ignores a colliding offer and its candidates', async () => {
  const fixture = new Fixture(false);
  fixture.connection.onnegotiationneeded();
  fixture.offer(2);
  fixture.candidate('ignored', 2);
  await pass();
  fixture.answer(1);
  await pass();
  assert.deepEqual(fixture.connection.log, ['local offer', 'remote answer']);
  assert.deepEqual(fixture.sent, ['offer 1 to bob']);
});

test('polite peer rolls back on a colliding offer and ignores the late answer', async () => {
  const fixture = new Fixture(true);
  fixture.offer(1);
  await pass();
  fixture.connection.onnegotiationneeded();
  fixture.offer(3);
  await pass();
  fixture.answer(2);
  await pass();
  assert.deepEqual(fixture.connection.log.slice(2), ['local offer', 'remote offer', 'local answer']);
  assert.deepEqual(fixture.sent, ['answer 1 to bob', 'offer 2 to bob', 'answer 3 to bob']);
  fixture.connection.onicecandidate({ candidate: { candidate: 'mine', toJSON: () => ({ candidate: 'mine' }) } });
  assert.equal(fixture.sent.at(-1), 'candidate mine 3 to bob');
});

test('offers leave the DTLS role open, and answers keep the negotiated one', async () => {
  const first = new Fixture(false);
  first.connection.onnegotiationneeded();
  await pass();
  first.answer(1, `${fingerprints.peer}\r\na=setup:active`);
  first.offer(2);
  await pass();
  first.connection.onnegotiationneeded();
  await pass();
  assert.deepEqual(first.dtlsRoles, ['offer actpass', 'answer passive', 'offer actpass']);

  const second = new Fixture(true);
  second.offer(1);
  await pass();
  second.connection.onnegotiationneeded();
  await pass();
  assert.deepEqual(second.dtlsRoles, ['answer active', 'offer actpass']);
  second.offer(3, fingerprints.another);
  await pass();
  assert.equal(second.connections.length, 2);
  assert.equal(second.dtlsRoles.at(-1), 'answer active');

  // A new connection may have the other role.
  const replaced = new Fixture(false);
  replaced.connection.onnegotiationneeded();
  await pass();
  replaced.answer(1, `${fingerprints.peer}\r\na=setup:active`);
  replaced.offer(2, fingerprints.another);
  await pass();
  assert.deepEqual(replaced.dtlsRoles, ['offer actpass', 'answer active']);

  // An offer that names a role, against RFC 8842, leaves the other one.
  const named = new Fixture(true);
  named.offer(1, `${fingerprints.peer}\r\na=setup:active`);
  await pass();
  assert.deepEqual(named.dtlsRoles, ['answer passive']);
});

test('offer from a new remote connection replaces the local one', async () => {
  const fixture = new Fixture(true);
  fixture.offer(1);
  await pass();
  fixture.offer(3);
  await pass();
  assert.equal(fixture.connections.length, 1);
  fixture.offer(1, fingerprints.another);
  await pass();
  assert.equal(fixture.connections.length, 2);
  assert.equal(fixture.connections[0]?.log.at(-1), 'close');
  assert.deepEqual(fixture.connection.log, ['remote offer', 'local answer']);
});

test('answer from a new remote connection leads to a new connection and offer', async () => {
  const fixture = new Fixture(false);
  fixture.connection.onnegotiationneeded();
  await pass();
  fixture.answer(1);
  await pass();
  fixture.connection.onnegotiationneeded();
  await pass();
  fixture.answer(3, fingerprints.another);
  await pass(100);
  assert.equal(fixture.connections.length, 2);
  fixture.connection.onnegotiationneeded();
  await pass();
  assert.equal(fixture.sent.at(-1), 'offer 5 to bob');
});

test('undelivered signal is resent after the requested delay unless obsolete', async () => {
  const fixture = new Fixture(false);
  let failures = 1;
  fixture.outcome = (sent) => {
    if (!sent.startsWith('offer') || failures-- <= 0) return { status: 'accepted' };
    return { status: 'undelivered', failures: [{ to: 'bob', reason: 'RATE_LIMITED', retryAfterMs: 2_000 }] };
  };
  fixture.connection.onnegotiationneeded();
  await pass(1_900);
  assert.deepEqual(fixture.sent, ['offer 1 to bob']);
  await pass(200);
  assert.deepEqual(fixture.sent, ['offer 1 to bob', 'offer 1 to bob']);
  fixture.answer(1);
  await pass();
  failures = 1;
  fixture.connection.onnegotiationneeded();
  await pass();
  fixture.offer(4);
  fixture.answer(3);
  fixture.offer(6);
  await pass(5_000);
  assert.equal(
    fixture.sent.filter((sent) => sent.startsWith('offer 3')).length,
    1,
    'offer 3 is obsolete after offer 6',
  );
});

test('rebind keeps a working connection and recovers a broken one', async () => {
  const working = new Fixture(false);
  working.connection.become('connected');
  working.peer.rebind(member('bob-again'));
  await pass(5_000);
  // The offer finds out whether the page of the member is still the same.
  assert.deepEqual(working.connection.log, ['local offer']);
  assert.equal(working.peer.member.memberId, 'bob-again');

  const polite = new Fixture(true);
  polite.offer(1);
  polite.connection.become('connected');
  polite.peer.rebind(member('bob-again'));
  await pass(5_000);
  assert.deepEqual(polite.connection.log, ['remote offer', 'local answer']);

  // The answer to its offer was lost with the previous session.
  const pending = new Fixture(false);
  pending.connection.onnegotiationneeded();
  await pass();
  pending.connection.become('connected');
  pending.peer.rebind(member('bob-again'));
  await pass();
  assert.ok(pending.connection.log.includes('rollback'));
  assert.deepEqual(pending.sent.slice(1), ['offer 3 to bob-again']);
});

test('end of candidates is sent once per negotiation', async () => {
  const fixture = new Fixture(false);
  fixture.connection.onnegotiationneeded();
  await pass();
  fixture.connection.onicecandidate({ candidate: { candidate: 'x', toJSON: () => ({ candidate: 'x' }) } });
  fixture.connection.onicecandidate({ candidate: null });
  fixture.connection.onicecandidate({ candidate: null });
  assert.deepEqual(fixture.sent.slice(1), ['candidate x 1 to bob', 'candidate 1 to bob']);
});

test('closed peer does nothing', async () => {
  const fixture = new Fixture(false);
  fixture.offer(1);
  fixture.peer.close();
  await pass();
  fixture.connection.onnegotiationneeded();
  fixture.candidate('x', 1);
  await pass(20_000);
  assert.deepEqual(fixture.sent, []);
  assert.deepEqual(fixture.connection.log, ['close']);
  assert.deepEqual(fixture.warnings, []);
});

test('operation that was under way when the connection was replaced does not block the next one', async () => {
  const fixture = new Fixture(true);
  fixture.offer(1);
  await pass();
  fixture.offer(3);
  await nextTask();
  fixture.peer.rebind(member('bob'));
  fixture.connection.connectionState = 'closed';
  fixture.connection.onconnectionstatechange();
  fixture.connection.close();
  fixture.connection.channel.readyState = 'open';
  fixture.connection.channel.onopen();
  fixture.connection.channel.readyState = 'closed';
  fixture.connection.channel.onclose();
  await pass(7_000);
  assert.equal(fixture.connections.length, 2);
  fixture.offer(5, fingerprints.another);
  await pass();
  assert.equal(fixture.sent.at(-1), 'answer 5 to bob');
});

test('end of candidates is sent for a negotiation without a number', async () => {
  const fixture = new Fixture(true);
  fixture.offer(0);
  await pass();
  fixture.connection.onicecandidate({ candidate: null });
  assert.deepEqual(fixture.sent, ['answer 0 to bob', 'candidate 0 to bob']);
});

test('answer that cannot be applied is tried twice, then the connection is replaced', async () => {
  const fixture = new Fixture(false);
  fixture.connection.failures.push('remote answer');
  fixture.connection.onnegotiationneeded();
  await pass();
  fixture.answer(1);
  await pass();
  assert.deepEqual(fixture.connection.log, ['local offer', 'remote answer']);
  assert.equal(fixture.warnings.length, 0);

  fixture.connection.failures.push('remote answer', 'remote answer');
  fixture.connection.onnegotiationneeded();
  await pass();
  fixture.answer(3);
  await pass(100);
  assert.equal(fixture.connections.length, 2);
  assert.equal(fixture.warnings.length, 1);

  // Not time after time.
  for (const number of [5, 7, 9]) {
    fixture.connection.failures.push('remote answer', 'remote answer');
    fixture.connection.onnegotiationneeded();
    await pass();
    fixture.answer(number);
    await pass(100);
  }
  assert.equal(fixture.connections.length, 2);
});

test('offer without an answer is repeated, then the connection is replaced', async () => {
  const fixture = new Fixture(false);
  fixture.connection.onnegotiationneeded();
  await pass(9_500);
  assert.deepEqual(fixture.sent, ['offer 1 to bob', 'offer 3 to bob']);
  assert.equal(fixture.connections.length, 1);
  await pass(6_000);
  assert.equal(fixture.connections.length, 2);
  assert.equal(fixture.connections[0]?.log.at(-1), 'close');

  // One that carries media is repeated more often before.
  const working = new Fixture(false);
  working.connection.onnegotiationneeded();
  await pass();
  working.answer(1);
  working.connection.become('connected');
  working.connection.onnegotiationneeded();
  await pass(20_000);
  assert.equal(working.sent.filter((sent) => sent.startsWith('offer')).length, 4);
  assert.equal(working.connections.length, 1);
  await pass(30_000);
  assert.equal(working.connections.length, 2);
});

test('offer waits for its answer while the member is suspended', async () => {
  const fixture = new Fixture(false);
  fixture.connection.onnegotiationneeded();
  await pass();
  fixture.peer.update(member('bob', 'suspended'));
  await pass(40_000);
  assert.deepEqual(fixture.sent, ['offer 1 to bob']);
  fixture.peer.update(member('bob'));
  fixture.answer(1);
  await pass();
  assert.ok(fixture.connection.log.includes('remote answer'));
});

test('offer that the server refuses is rolled back, and reported', async () => {
  const fixture = new Fixture(false);
  const failure = { to: 'bob', reason: 'TOO_LARGE', retryAfterMs: undefined } as const;
  fixture.outcome = () => ({ status: 'undelivered', failures: [failure] });
  fixture.connection.onnegotiationneeded();
  await pass(500);
  assert.ok(fixture.connection.log.includes('rollback'));
  assert.ok(fixture.warnings.some((warning) => String(warning).includes('too large')));
  const sent = fixture.sent.length;
  await pass(60_000);
  assert.ok(fixture.sent.length - sent < 8, `${fixture.sent.length - sent} more offers`);
});

test('offer that cannot be applied leaves the peer able to negotiate', async () => {
  const fixture = new Fixture(true);
  fixture.offer(1);
  await pass();
  fixture.connection.failures.push('local answer');
  fixture.offer(3);
  await pass();
  assert.equal(fixture.connection.signalingState, 'stable');
  assert.equal(fixture.warnings.length, 1);
  fixture.offer(5);
  await pass();
  assert.equal(fixture.sent.at(-1), 'answer 5 to bob');

  // Its own offer, which browsers roll back for the remote one, is made again.
  fixture.connection.onnegotiationneeded();
  await pass();
  fixture.connection.failures.push('remote offer');
  fixture.offer(7);
  await pass();
  fixture.connection.signalingState = 'stable';
  await pass(1_200);
  assert.equal(fixture.sent.at(-1), 'offer 8 to bob');
});

test('unusable candidate is reported with its text', async () => {
  const fixture = new Fixture(true);
  fixture.offer(1, `${fingerprints.peer}\r\nm=audio 9 x 0\r\na=mid:0\r\nm=video 9 x 0\r\na=mid:1\r\n`);
  fixture.peer.handleCandidate({ from: 'bob', candidate: { candidate: 'candidate:1' }, negotiation: 1 });
  await pass();
  assert.match(String(fixture.warnings[0]), /"candidate:1".*mid/);
});
