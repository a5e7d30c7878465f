import assert from 'node:assert/strict';
import { Fixture, fingerprints, member, nextTask, pass, test } from './fixture.js';

/** A peer whose first negotiation is complete. */
async function negotiated(polite: boolean): Promise<Fixture> {
  const fixture = new Fixture(polite);
  if (polite) {
    fixture.offer(1);
  } else {
    fixture.connection.onnegotiationneeded();
    await pass();
    fixture.answer(1);
  }
  await pass();
  return fixture;
}

/** Answers every offer, as a peer that works would do. */
function answerOffers(fixture: Fixture): void {
  fixture.outcome = (sent) => {
    const number = /^offer (\d+)/.exec(sent)?.[1];
    if (number) queueMicrotask(() => fixture.answer(Number(number)));
    return { status: 'accepted' };
  };
}

test('impolite peer restarts ICE at once after a failure, and the polite one after 3 s', async () => {
  const impolite = await negotiated(false);
  impolite.connection.become('failed');
  await pass(100);
  assert.equal(impolite.restarts, 1);
  assert.equal(impolite.peer.state, 'failed');

  const polite = await negotiated(true);
  polite.connection.become('failed');
  await pass(2_800);
  assert.equal(polite.restarts, 0);
  await pass(400);
  assert.equal(polite.restarts, 1);

  const healed = await negotiated(true);
  healed.connection.become('failed');
  await pass(1_000);
  healed.connection.become('connected');
  await pass(5_000);
  assert.equal(healed.restarts, 0);
});

test('failed connection is tried again with growing delays, at most 30 s apart', async () => {
  const fixture = await negotiated(false);
  answerOffers(fixture);
  fixture.connection.become('connected');
  fixture.connection.become('failed');
  const attempts: number[] = [];
  let seen = 0;
  for (let second = 0; second < 200; second += 1) {
    await pass(1_000);
    const count = fixture.restarts + fixture.connections.length;
    if (count > seen + 1) attempts.push(second);
    seen = count - 1;
  }
  assert.deepEqual(attempts.slice(0, 7), [0, 5, 15, 35, 65, 95, 125]);
  assert.ok(fixture.connections.length > 1, 'replaces what restarts do not repair');
  fixture.connection.become('connected');
  const count = fixture.restarts;
  await pass(60_000);
  assert.equal(fixture.restarts, count);
  assert.equal(fixture.peer.error, undefined);
});

test('connection that takes longer than 15 s is failed with its cause', async () => {
  const relay = await negotiated(false);
  relay.connection.iceTransportPolicy = 'relay';
  relay.connection.onicecandidateerror({ errorCode: 701, errorText: 'TURN allocate request timed out', url: 'turn:x' });
  await pass(15_500);
  assert.equal(relay.peer.state, 'failed');
  assert.equal(relay.peer.error?.reason, 'NO_RELAY');
  assert.match(relay.peer.error?.message ?? '', /TURN allocate request timed out/);
  assert.equal(relay.restarts, 1);
  assert.deepEqual(relay.results, [{ elapsedMs: 15_000, error: 'NO_RELAY' }]);

  const noPath = await negotiated(false);
  noPath.connection.stats.set('l', { type: 'local-candidate' });
  noPath.connection.stats.set('r', { type: 'remote-candidate' });
  await pass(15_500);
  assert.equal(noPath.peer.error?.reason, 'NO_PATH');

  // The peer never says anything.
  const silent = new Fixture(true);
  await pass(9_000);
  silent.reachable = false;
  await pass(9_500);
  assert.equal(silent.peer.error?.reason, 'NO_ANSWER');
});

test('handshake that does not finish leads to a new connection', async () => {
  const fixture = await negotiated(false);
  fixture.connection.iceConnectionState = 'connected';
  await pass(15_500);
  assert.equal(fixture.peer.error?.reason, 'NO_HANDSHAKE');
  assert.equal(fixture.connections.length, 2);
});

test('disconnected connection is restarted after 3 s in which nothing arrives', async () => {
  const fixture = await negotiated(false);
  fixture.connection.become('connected');
  const pair = { type: 'candidate-pair', bytesReceived: 100 };
  fixture.connection.stats.set('pair', pair);
  fixture.connection.become('disconnected');
  await pass(2_500);
  pair.bytesReceived = 200;
  await pass(2_500);
  assert.equal(fixture.restarts, 0, 'it works again');
  await pass(2_500);
  assert.equal(fixture.restarts, 1);

  // A short interruption.
  const blip = await negotiated(false);
  blip.connection.become('connected');
  blip.connection.become('disconnected');
  await pass(1_000);
  blip.connection.become('connected');
  await pass(10_000);
  assert.equal(blip.restarts, 0);
});

test('reports say how long the connection was lost, on both sides', async () => {
  for (const polite of [false, true]) {
    const fixture = await negotiated(polite);
    answerOffers(fixture);
    await pass(1_000);
    fixture.connection.become('connected');
    await pass(60_000);
    fixture.connection.become('disconnected');
    await pass(2_000);
    fixture.connection.become('failed');
    await pass(3_100);
    fixture.connection.become('connected');
    await pass();
    const elapsed = fixture.results.map(({ elapsedMs }) => elapsedMs);
    assert.deepEqual(elapsed, [1_000, 2_000, 5_100]);
    assert.ok(fixture.results[1]?.error);
  }
});

test('no attempt is made while the member is unreachable, and one at once afterwards', async () => {
  const fixture = await negotiated(false);
  fixture.connection.become('connected');
  fixture.peer.update(member('bob', 'suspended'));
  fixture.connection.become('failed');
  await pass(60_000);
  assert.equal(fixture.restarts, 0);
  fixture.peer.update(member('bob'));
  await pass(100);
  assert.equal(fixture.restarts, 1);
});

test('change of the network restarts ICE at once', async () => {
  for (const polite of [false, true]) {
    const fixture = await negotiated(polite);
    fixture.connection.become('connected');
    fixture.peer.networkChanged();
    await pass();
    assert.equal(fixture.restarts, 1);
  }
});

test('connection that cannot be created is tried again', async () => {
  const fixture = new Fixture(false, [new Error('too many'), new Error('still too many')]);
  assert.equal(fixture.connections.length, 0);
  assert.equal(fixture.peer.connection, undefined);
  await pass(100);
  assert.equal(fixture.peer.state, 'failed');
  assert.equal(fixture.peer.error?.reason, 'NO_CONNECTION');
  await pass(5_100);
  assert.equal(fixture.connections.length, 1);
  fixture.connection.onnegotiationneeded();
  await pass();
  assert.equal(fixture.sent.at(-1), 'offer 1 to bob');
});

test('remote end that closed its connection without another offer gets a new one', async () => {
  const fixture = await negotiated(false);
  fixture.connection.become('connected');
  fixture.connection.channel.readyState = 'open';
  fixture.connection.channel.onopen();
  fixture.connection.channel.readyState = 'closed';
  fixture.connection.channel.onclose();
  assert.equal(fixture.peer.state, 'disconnected');
  await pass(3_200);
  assert.equal(fixture.connections.length, 2);

  // Its offer from a new connection comes first.
  const renewed = await negotiated(false);
  renewed.connection.become('connected');
  renewed.connection.channel.readyState = 'open';
  renewed.connection.channel.onopen();
  renewed.connection.channel.readyState = 'closed';
  renewed.connection.channel.onclose();
  renewed.offer(2, fingerprints.another);
  await pass(10_000);
  assert.equal(renewed.connections.length, 2);
});

test('closed peer opens no connection, whatever was under way', async () => {
  const silent = await negotiated(false);
  silent.connection.become('connected');
  silent.connection.become('disconnected');
  silent.peer.close();
  await pass(60_000);
  assert.equal(silent.connections.length, 1);

  const answering = new Fixture(false);
  answering.connection.onnegotiationneeded();
  await pass();
  answering.connection.failures.push('remote answer', 'remote answer');
  answering.answer(1);
  await nextTask();
  answering.peer.close();
  await pass(60_000);
  assert.equal(answering.connections.length, 1);
  assert.deepEqual(answering.warnings, []);
});
