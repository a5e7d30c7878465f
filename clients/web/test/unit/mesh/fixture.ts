import assert from 'node:assert/strict';
import { mock, test as nodeTest } from 'node:test';
import { Peer, type PeerHost } from '../../../src/mesh/peer.js';
import type { Member } from '../../../src/model.js';
import type { Outcome } from '../../../src/outbox.js';

/** Descriptions of two RTCPeerConnections of the remote peer. */
export const fingerprints = { peer: 'a=fingerprint:sha-256 AA', another: 'a=fingerprint:sha-256 BB' };

/** The parts of an RTCPeerConnection that a peer uses. Operations are asynchronous, as in a browser. */
export class FakeConnection {
  signalingState = 'stable';
  connectionState = 'new';
  iceConnectionState = 'new';
  localDescription: { type: string; sdp: string } | null = null;
  remoteDescription: { type: string; sdp: string } | null = null;
  onnegotiationneeded: () => void = () => {};
  onicecandidate: (event: { candidate: unknown }) => void = () => {};
  onicecandidateerror: (event: { errorCode: number; errorText: string; url: string }) => void = () => {};
  onconnectionstatechange: () => void = () => {};
  readonly sctp: { maxMessageSize: number; transport: { state: string } } | null = null;
  readonly log: string[] = [];
  readonly stats = new Map<string, unknown>();
  readonly channel = {
    readyState: 'connecting',
    bufferedAmount: 0,
    onopen: () => {},
    onclose: () => {},
    sent: [] as unknown[],
    send(data: unknown) {
      this.sent.push(data);
    },
  };
  iceTransportPolicy = 'all';
  /** Operations that fail once, such as `remote answer`. */
  readonly failures: string[] = [];
  #isBusy = false;
  #isClosed = false;

  createDataChannel() {
    return this.channel;
  }

  getTransceivers() {
    return [];
  }

  getConfiguration() {
    return { iceTransportPolicy: this.iceTransportPolicy };
  }

  async setLocalDescription(description?: { type: string }): Promise<void> {
    this.#isBusy = true;
    await this.#operation();
    this.#isBusy = false;
    if (description?.type === 'rollback') {
      this.log.push('rollback');
      this.signalingState = 'stable';
      // Unless another operation follows at once, as in a browser.
      setImmediate(() => this.signalingState === 'stable' && !this.#isBusy && this.onnegotiationneeded());
      return;
    }
    const type = this.signalingState === 'have-remote-offer' ? 'answer' : 'offer';
    this.#failOnce(`local ${type}`);
    this.signalingState = type === 'answer' ? 'stable' : 'have-local-offer';
    // Like Firefox, it ignores the DTLS role negotiated before.
    this.localDescription = { type, sdp: `local ${type}\r\na=setup:${type === 'answer' ? 'active' : 'actpass'}\r\n` };
    this.log.push(`local ${type}`);
  }

  async setRemoteDescription(description: { type: string; sdp: string }): Promise<void> {
    await this.#operation();
    if (description.type === 'rollback') {
      this.log.push('remote rollback');
      this.signalingState = 'stable';
      return;
    }
    this.#failOnce(`remote ${description.type}`);
    this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable';
    this.remoteDescription = description;
    this.log.push(`remote ${description.type}`);
  }

  async addIceCandidate({ candidate }: RTCIceCandidateInit): Promise<void> {
    assert.ok(this.remoteDescription, 'a candidate before the remote description');
    await this.#operation();
    this.log.push(`candidate ${candidate}`);
  }

  restartIce(): void {
    this.log.push('restart');
    if (this.signalingState === 'stable') this.onnegotiationneeded();
  }

  close(): void {
    this.log.push('close');
    this.#isClosed = true;
  }

  async getStats(): Promise<Map<string, unknown>> {
    return this.stats;
  }

  become(state: string): void {
    this.connectionState = state;
    this.onconnectionstatechange();
  }

  /** Takes a task, and never ends once the connection is closed. */
  async #operation(): Promise<void> {
    await nextTask();
    if (this.#isClosed) await new Promise(() => {});
  }

  #failOnce(operation: string): void {
    const at = this.failures.indexOf(operation);
    if (at < 0) return;
    this.failures.splice(at, 1);
    throw new Error(`failed: ${operation}`);
  }
}

export function nextTask(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Lets `ms` milliseconds of the mocked time pass, and everything that is pending happen. */
export async function pass(ms = 0): Promise<void> {
  for (let passed = 0; passed <= ms; passed += 100) {
    if (passed > 0) mock.timers.tick(100);
    for (let i = 0; i < 16; i += 1) await nextTask();
  }
}

/** A peer, its successive connections and the signals that it sent. */
export class Fixture {
  readonly connections: FakeConnection[] = [];
  readonly sent: string[] = [];
  /** DTLS roles in the descriptions sent. */
  readonly dtlsRoles: string[] = [];
  readonly warnings: unknown[] = [];
  /** Results of connections, as reported to the server. */
  readonly results: { elapsedMs: number; error: string | undefined }[] = [];
  polite: boolean;
  reachable = true;
  /** Errors that creating a connection throws, one after another. */
  readonly createErrors: Error[] = [];
  outcome: (sent: string) => Outcome = () => ({ status: 'accepted' });
  readonly peer: Peer;

  constructor(polite: boolean, createErrors: Error[] = []) {
    this.polite = polite;
    this.createErrors = createErrors;
    const fixture = this;
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
        const error = this.createErrors.shift();
        if (error) throw error;
        const connection = new FakeConnection();
        this.connections.push(connection);
        return connection as unknown as RTCPeerConnection;
      },
      createStream: () => ({ addTrack() {}, removeTrack() {} }) as unknown as MediaStream,
      prepare: () => {},
      isPolite: () => this.polite,
      get isReachable() {
        return fixture.reachable;
      },
      sendOffer: (to, sdp, negotiation) => describe(to, 'offer', sdp, negotiation),
      sendAnswer: (to, sdp, negotiation) => describe(to, 'answer', sdp, negotiation),
      sendCandidate: (to, { candidate }, negotiation) => send(to, `candidate ${candidate}`.trim(), negotiation),
      onChange: () => {},
      onConnectionResult: (peer, elapsedMs) => this.results.push({ elapsedMs, error: peer.error?.reason }),
      onMessage: () => {},
      onChannelMessage: () => {},
      onTrackAdded: () => {},
      onTrackRemoved: () => {},
      onTrackMuted: () => {},
      onWarning: (_, error) => this.warnings.push(error),
    };
    this.peer = new Peer(member('bob'), host);
  }

  get connection(): FakeConnection {
    const connection = this.connections.at(-1);
    assert.ok(connection);
    return connection;
  }

  /** Number of ICE restarts of every connection. */
  get restarts(): number {
    return this.connections.flatMap(({ log }) => log).filter((line) => line === 'restart').length;
  }

  offer(negotiation: number, sdp = fingerprints.peer): void {
    this.peer.handleOffer({ from: 'bob', sdp, negotiation });
  }

  answer(negotiation: number, sdp = fingerprints.peer): void {
    this.peer.handleAnswer({ from: 'bob', sdp, negotiation });
  }

  candidate(candidate: string, negotiation: number): void {
    this.peer.handleCandidate({ from: 'bob', candidate: { candidate, sdpMLineIndex: 0 }, negotiation });
  }
}

export function member(memberId: string, state: Member['state'] = 'connected'): Member {
  const rest = { identity: '', displayName: '', attributes: {}, joinOrder: 1, joinedAt: undefined };
  return { memberId, state, ...rest };
}

/** A test with mocked timers. */
export function test(name: string, body: () => Promise<void>): void {
  nodeTest(name, async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    try {
      await body();
    } finally {
      mock.timers.reset();
    }
  });
}
