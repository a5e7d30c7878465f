import assert from 'node:assert/strict';
import { mock, test as nodeTest } from 'node:test';
import type { Member } from '../../src/model.js';
import type { Outcome } from '../../src/outbox.js';
import { Peer, type PeerHost } from '../../src/peer.js';

const fingerprints = { peer: 'a=fingerprint:sha-256 AA', another: 'a=fingerprint:sha-256 BB' };

/** The parts of an RTCPeerConnection that negotiation uses. Operations are asynchronous, as in a browser. */
class FakeConnection {
  signalingState = 'stable';
  connectionState = 'new';
  iceConnectionState = 'new';
  localDescription: { type: string; sdp: string } | null = null;
  remoteDescription: { type: string; sdp: string } | null = null;
  onnegotiationneeded: () => void = () => {};
  onicecandidate: (event: { candidate: unknown }) => void = () => {};
  onconnectionstatechange: () => void = () => {};
  readonly log: string[] = [];

  createDataChannel() {
    return { readyState: 'connecting', bufferedAmount: 0 };
  }

  async setLocalDescription(description?: { type: string }): Promise<void> {
    await nextTask();
    if (description?.type === 'rollback') {
      this.log.push('rollback');
      this.signalingState = 'stable';
      this.onnegotiationneeded();
      return;
    }
    const type = this.signalingState === 'have-remote-offer' ? 'answer' : 'offer';
    this.signalingState = type === 'answer' ? 'stable' : 'have-local-offer';
    // Like Firefox, it ignores the DTLS role negotiated before.
    this.localDescription = { type, sdp: `local ${type}\r\na=setup:${type === 'answer' ? 'active' : 'actpass'}\r\n` };
    this.log.push(`local ${type}`);
  }

  async setRemoteDescription(description: { type: string; sdp: string }): Promise<void> {
    await nextTask();
    this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable';
    this.remoteDescription = description;
    this.log.push(`remote ${description.type}`);
  }

  async addIceCandidate({ candidate }: RTCIceCandidateInit): Promise<void> {
    assert.ok(this.remoteDescription, 'a candidate before the remote description');
    await nextTask();
    this.log.push(`candidate ${candidate}`);
  }

  restartIce(): void {
    this.log.push('restart');
    if (this.signalingState === 'stable') this.onnegotiationneeded();
  }

  close(): void {
    this.log.push('close');
  }

  async getStats(): Promise<Map<string, unknown>> {
    return new Map();
  }

  become(state: string): void {
    this.connectionState = state;
    this.onconnectionstatechange();
  }
}

function nextTask(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function pass(ms = 0): Promise<void> {
  for (let passed = 0; passed <= ms; passed += 100) {
    if (passed > 0) mock.timers.tick(100);
    for (let i = 0; i < 12; i += 1) await nextTask();
  }
}

/** A peer, its successive connections and the signals that it sent. */
class Fixture {
  readonly connections: FakeConnection[] = [];
  readonly sent: string[] = [];
  /** DTLS roles in the descriptions sent. */
  readonly dtlsRoles: string[] = [];
  readonly warnings: unknown[] = [];
  polite: boolean;
  outcome: (sent: string) => Outcome = () => ({ status: 'accepted' });
  readonly peer: Peer;

  constructor(polite: boolean) {
    this.polite = polite;
    const send = async (to: string, kind: string, negotiation: number) => {
      const sent = `${kind} ${negotiation} to ${to}`;
      this.sent.push(sent);
      return this.outcome(sent);
    };
    const describe = (to: string, kind: string, sdp: string, negotiation: number) => {
      this.dtlsRoles.push(`${kind} ${/^a=setup:(.*)\r$/m.exec(sdp)?.[1]}`);
      return send(to, kind, negotiation);
    };
    const host: PeerHost = {
      createConnection: () => {
        const connection = new FakeConnection();
        this.connections.push(connection);
        return connection as unknown as RTCPeerConnection;
      },
      isPolite: () => this.polite,
      sendOffer: (to, sdp, negotiation) => describe(to, 'offer', sdp, negotiation),
      sendAnswer: (to, sdp, negotiation) => describe(to, 'answer', sdp, negotiation),
      sendCandidate: (to, { candidate }, negotiation) => send(to, `candidate ${candidate}`.trim(), negotiation),
      onChange: () => {},
      onConnectionResult: () => {},
      onMessage: () => {},
      onWarning: (_, error) => this.warnings.push(error),
    };
    this.peer = new Peer(member('bob'), host);
  }

  get connection(): FakeConnection {
    const connection = this.connections.at(-1);
    assert.ok(connection);
    return connection;
  }

  offer(negotiation: number, sdp = fingerprints.peer): void {
    this.peer.handleOffer({ from: 'bob', sdp, negotiation });
  }

  answer(negotiation: number, sdp = fingerprints.peer): void {
    this.peer.handleAnswer({ from: 'bob', sdp, negotiation });
  }

  candidate(candidate: string, negotiation: number): void {
    this.peer.handleCandidate({ from: 'bob', candidate: { candidate }, negotiation });
  }
}

function member(memberId: string): Member {
  const rest = { identity: '', displayName: '', attributes: {}, joinOrder: 1, joinedAt: undefined };
  return { memberId, state: 'connected', ...rest };
}

function test(name: string, body: () => Promise<void>): void {
  nodeTest(name, async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    (globalThis as { MediaStream?: unknown }).MediaStream = class {
      addTrack(): void {}
    };
    try {
      await body();
    } finally {
      mock.timers.reset();
    }
  });
}

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

test('DTLS roles stay as negotiated by the first answer', async () => {
  const first = new Fixture(false);
  first.connection.onnegotiationneeded();
  await pass();
  first.answer(1, `${fingerprints.peer}\r\na=setup:active`);
  first.offer(2);
  await pass();
  first.connection.onnegotiationneeded();
  await pass();
  assert.deepEqual(first.dtlsRoles, ['offer actpass', 'answer passive', 'offer passive']);

  const second = new Fixture(true);
  second.offer(1);
  await pass();
  second.connection.onnegotiationneeded();
  await pass();
  assert.deepEqual(second.dtlsRoles, ['answer active', 'offer active']);
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
  await pass();
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

test('impolite peer restarts ICE at once after a failure, and the polite one after 3 s', async () => {
  const impolite = new Fixture(false);
  impolite.connection.become('failed');
  await pass();
  assert.ok(impolite.connection.log.includes('restart'));
  assert.equal(impolite.peer.state, 'failed');

  const polite = new Fixture(true);
  polite.connection.become('failed');
  await pass(2_800);
  assert.ok(!polite.connection.log.includes('restart'));
  await pass(400);
  assert.ok(polite.connection.log.includes('restart'));

  const healed = new Fixture(true);
  healed.connection.become('failed');
  await pass(1_000);
  healed.connection.become('connected');
  await pass(5_000);
  assert.ok(!healed.connection.log.includes('restart'));
});

test('rebind keeps a working connection and recovers a broken one', async () => {
  const working = new Fixture(false);
  working.connection.become('connected');
  working.peer.rebind(member('bob-again'));
  await pass(5_000);
  assert.deepEqual(working.connection.log, []);
  assert.equal(working.peer.member.memberId, 'bob-again');

  // The answer to its offer was lost with the previous session.
  const pending = new Fixture(false);
  pending.connection.onnegotiationneeded();
  await pass();
  pending.connection.become('connected');
  pending.peer.rebind(member('bob-again'));
  await pass();
  assert.ok(pending.connection.log.includes('rollback'));
  assert.equal(pending.sent.at(-1), 'offer 3 to bob-again');
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
