import assert from 'node:assert/strict';
import { mock, test as nodeTest } from 'node:test';
import type { Member } from '../../src/model.js';
import type { Outcome } from '../../src/outbox.js';
import { Peer, type PeerHost } from '../../src/peer.js';

const fingerprints = { peer: 'a=fingerprint:sha-256 AA', another: 'a=fingerprint:sha-256 BB' };

/** As much of an RTCPeerConnection as negotiating needs. Everything takes a moment, as in the real one. */
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
    await moment();
    if (description?.type === 'rollback') {
      this.log.push('rollback');
      this.signalingState = 'stable';
      this.onnegotiationneeded();
      return;
    }
    const type = this.signalingState === 'have-remote-offer' ? 'answer' : 'offer';
    this.signalingState = type === 'answer' ? 'stable' : 'have-local-offer';
    // Like Firefox, which forgets the side it has taken before.
    this.localDescription = { type, sdp: `${type} of mine\r\na=setup:${type === 'answer' ? 'active' : 'actpass'}\r\n` };
    this.log.push(`local ${type}`);
  }

  async setRemoteDescription(description: { type: string; sdp: string }): Promise<void> {
    await moment();
    this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable';
    this.remoteDescription = description;
    this.log.push(`remote ${description.type}`);
  }

  async addIceCandidate({ candidate }: RTCIceCandidateInit): Promise<void> {
    assert.ok(this.remoteDescription, 'a candidate before the remote description');
    await moment();
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

function moment(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function pass(ms = 0): Promise<void> {
  for (let passed = 0; passed <= ms; passed += 100) {
    if (passed > 0) mock.timers.tick(100);
    for (let i = 0; i < 12; i += 1) await moment();
  }
}

/** A peer with its connections (it may begin anew) and what it said. */
class Bench {
  readonly connections: FakeConnection[] = [];
  readonly said: string[] = [];
  /** Sides of DTLS in what was said. */
  readonly sides: string[] = [];
  readonly warnings: unknown[] = [];
  polite: boolean;
  outcome: (said: string) => Outcome = () => ({ status: 'accepted' });
  readonly peer: Peer;

  constructor(polite: boolean) {
    this.polite = polite;
    const say = async (to: string, what: string, negotiation: bigint) => {
      const said = `${what} ${negotiation} to ${to}`;
      this.said.push(said);
      return this.outcome(said);
    };
    const describe = (to: string, what: string, sdp: string, negotiation: bigint) => {
      this.sides.push(`${what} ${/^a=setup:(.*)\r$/m.exec(sdp)?.[1]}`);
      return say(to, what, negotiation);
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
      sendCandidate: (to, { candidate }, negotiation) => say(to, `candidate ${candidate}`.trim(), negotiation),
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

  offer(negotiation: bigint, sdp = fingerprints.peer): void {
    this.peer.handleOffer({ from: 'bob', sdp, negotiation });
  }

  answer(negotiation: bigint, sdp = fingerprints.peer): void {
    this.peer.handleAnswer({ from: 'bob', sdp, negotiation });
  }

  candidate(candidate: string, negotiation: bigint): void {
    this.peer.handleCandidate({ from: 'bob', candidate: { candidate }, negotiation });
  }
}

function member(memberId: string): Member {
  const rest = { identity: '', displayName: '', attributes: {}, joinOrder: 1n, joinedAt: undefined };
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

test('who was there first offers; the answer and candidates follow', async () => {
  const bench = new Bench(false);
  bench.connection.onnegotiationneeded();
  await pass();
  assert.deepEqual(bench.said, ['offer 1 to bob']);
  bench.candidate('early', 1n);
  bench.answer(1n);
  bench.candidate('late', 1n);
  bench.candidate('', 1n);
  await pass();
  assert.deepEqual(bench.connection.log, [
    'local offer',
    'remote answer',
    'candidate early',
    'candidate late',
    'candidate ',
  ]);
});

test('the newcomer waits for the offer, and offers itself after 10 s without', async () => {
  const bench = new Bench(true);
  bench.connection.onnegotiationneeded();
  await pass(9_800);
  assert.deepEqual(bench.said, []);
  await pass(400);
  assert.deepEqual(bench.said, ['offer 2 to bob']);

  const other = new Bench(true);
  other.offer(1n);
  await pass(11_000);
  assert.deepEqual(other.said, ['answer 1 to bob']);
  other.connection.onnegotiationneeded();
  await pass();
  assert.deepEqual(other.said, ['answer 1 to bob', 'offer 2 to bob']);
});

test('candidates of a negotiation that is yet to come wait for it, those of a past one are dropped', async () => {
  const bench = new Bench(true);
  bench.candidate('a', 1n);
  bench.candidate('b', 1n);
  bench.candidate('next', 3n);
  await pass();
  assert.deepEqual(bench.connection.log, []);
  bench.offer(1n);
  await pass();
  assert.deepEqual(bench.connection.log, ['remote offer', 'local answer', 'candidate a', 'candidate b']);
  bench.offer(3n);
  bench.candidate('stale', 1n);
  await pass();
  assert.deepEqual(bench.connection.log.slice(4), ['remote offer', 'local answer', 'candidate next']);
});

test('early candidates are bounded, and the oldest give way', async () => {
  const bench = new Bench(true);
  for (let i = 0; i < 300; i += 1) bench.candidate(`${i}`, 1n);
  bench.offer(1n);
  await pass(0);
  for (let i = 0; i < 300; i += 1) await moment();
  const applied = bench.connection.log.filter((line) => line.startsWith('candidate'));
  assert.deepEqual([applied.length, applied[0], applied.at(-1)], [256, 'candidate 44', 'candidate 299']);
});

test('offers that collide: the impolite side ignores the other and its candidates', async () => {
  const bench = new Bench(false);
  bench.connection.onnegotiationneeded();
  bench.offer(2n);
  bench.candidate('of the ignored', 2n);
  await pass();
  bench.answer(1n);
  await pass();
  assert.deepEqual(bench.connection.log, ['local offer', 'remote answer']);
  assert.deepEqual(bench.said, ['offer 1 to bob']);
});

test('offers that collide: the polite side gives way, and the answer to its own comes too late', async () => {
  const bench = new Bench(true);
  bench.offer(1n);
  await pass();
  bench.connection.onnegotiationneeded();
  bench.offer(3n);
  await pass();
  bench.answer(2n);
  await pass();
  assert.deepEqual(bench.connection.log.slice(2), ['local offer', 'remote offer', 'local answer']);
  assert.deepEqual(bench.said, ['answer 1 to bob', 'offer 2 to bob', 'answer 3 to bob']);
  bench.connection.onicecandidate({ candidate: { candidate: 'mine', toJSON: () => ({ candidate: 'mine' }) } });
  assert.equal(bench.said.at(-1), 'candidate mine 3 to bob');
});

test('the sides of DTLS stay what the first answer made them', async () => {
  const first = new Bench(false);
  first.connection.onnegotiationneeded();
  await pass();
  first.answer(1n, `${fingerprints.peer}\r\na=setup:active`);
  first.offer(2n);
  await pass();
  first.connection.onnegotiationneeded();
  await pass();
  assert.deepEqual(first.sides, ['offer actpass', 'answer passive', 'offer passive']);

  const second = new Bench(true);
  second.offer(1n);
  await pass();
  second.connection.onnegotiationneeded();
  await pass();
  assert.deepEqual(second.sides, ['answer active', 'offer active']);
  second.offer(3n, fingerprints.another);
  await pass();
  assert.equal(second.connections.length, 2);
  assert.equal(second.sides.at(-1), 'answer active');

  // Another connection may take the other side.
  const anew = new Bench(false);
  anew.connection.onnegotiationneeded();
  await pass();
  anew.answer(1n, `${fingerprints.peer}\r\na=setup:active`);
  anew.offer(2n, fingerprints.another);
  await pass();
  assert.deepEqual(anew.sides, ['offer actpass', 'answer active']);
});

test('a description of another connection at the other end begins anew', async () => {
  const bench = new Bench(true);
  bench.offer(1n);
  await pass();
  bench.offer(3n);
  await pass();
  assert.equal(bench.connections.length, 1);
  bench.offer(1n, fingerprints.another);
  await pass();
  assert.equal(bench.connections.length, 2);
  assert.equal(bench.connections[0]?.log.at(-1), 'close');
  assert.deepEqual(bench.connection.log, ['remote offer', 'local answer']);
});

test('an answer of another connection makes it offer again, from a new one', async () => {
  const bench = new Bench(false);
  bench.connection.onnegotiationneeded();
  await pass();
  bench.answer(1n);
  await pass();
  bench.connection.onnegotiationneeded();
  await pass();
  bench.answer(3n, fingerprints.another);
  await pass();
  assert.equal(bench.connections.length, 2);
  bench.connection.onnegotiationneeded();
  await pass();
  assert.equal(bench.said.at(-1), 'offer 5 to bob');
});

test('what the server could not take is said again when it says so, unless it is out of date', async () => {
  const bench = new Bench(false);
  let refusals = 1;
  bench.outcome = (said) => {
    if (!said.startsWith('offer') || refusals-- <= 0) return { status: 'accepted' };
    return { status: 'undelivered', failures: [{ to: 'bob', reason: 'RATE_LIMITED', retryAfterMs: 2_000 }] };
  };
  bench.connection.onnegotiationneeded();
  await pass(1_900);
  assert.deepEqual(bench.said, ['offer 1 to bob']);
  await pass(200);
  assert.deepEqual(bench.said, ['offer 1 to bob', 'offer 1 to bob']);
  bench.answer(1n);
  await pass();
  refusals = 1;
  bench.connection.onnegotiationneeded();
  await pass();
  bench.offer(4n);
  bench.answer(3n);
  bench.offer(6n);
  await pass(5_000);
  assert.equal(bench.said.filter((said) => said.startsWith('offer 3')).length, 1, 'overtaken by offer 6');
});

test('a failed connection: the impolite side restarts ICE at once, the polite one 3 s later', async () => {
  const impolite = new Bench(false);
  impolite.connection.become('failed');
  await pass();
  assert.ok(impolite.connection.log.includes('restart'));
  assert.equal(impolite.peer.state, 'failed');

  const polite = new Bench(true);
  polite.connection.become('failed');
  await pass(2_800);
  assert.ok(!polite.connection.log.includes('restart'));
  await pass(400);
  assert.ok(polite.connection.log.includes('restart'));

  const healed = new Bench(true);
  healed.connection.become('failed');
  await pass(1_000);
  healed.connection.become('connected');
  await pass(5_000);
  assert.ok(!healed.connection.log.includes('restart'));
});

test('under new member_ids a connection that works is left alone, one that does not is repaired', async () => {
  const works = new Bench(false);
  works.connection.become('connected');
  works.peer.rebind(member('bob-again'));
  await pass(5_000);
  assert.deepEqual(works.connection.log, []);
  assert.equal(works.peer.member.memberId, 'bob-again');

  // The answer to its offer was lost with the old session.
  const waits = new Bench(false);
  waits.connection.onnegotiationneeded();
  await pass();
  waits.connection.become('connected');
  waits.peer.rebind(member('bob-again'));
  await pass();
  assert.ok(waits.connection.log.includes('rollback'));
  assert.equal(waits.said.at(-1), 'offer 3 to bob-again');
});

test('the end of candidates is told once for each negotiation', async () => {
  const bench = new Bench(false);
  bench.connection.onnegotiationneeded();
  await pass();
  bench.connection.onicecandidate({ candidate: { candidate: 'x', toJSON: () => ({ candidate: 'x' }) } });
  bench.connection.onicecandidate({ candidate: null });
  bench.connection.onicecandidate({ candidate: null });
  assert.deepEqual(bench.said.slice(1), ['candidate x 1 to bob', 'candidate 1 to bob']);
});

test('nothing is done after close', async () => {
  const bench = new Bench(false);
  bench.offer(1n);
  bench.peer.close();
  await pass();
  bench.connection.onnegotiationneeded();
  bench.candidate('x', 1n);
  await pass(20_000);
  assert.deepEqual(bench.said, []);
  assert.deepEqual(bench.connection.log, ['close']);
  assert.deepEqual(bench.warnings, []);
});
