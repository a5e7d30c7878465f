import type { Mesh, Peer } from '../src/index.js';

/** How often the connections are measured, in milliseconds. */
const INTERVAL_MS = 2_000;
/** Limits for `fair` and `poor`: ITU-T G.114 asks for delays below 300 ms there and back; loss as a share of packets. */
const FAIR = { rttMs: 300, loss: 0.03 };
const POOR = { rttMs: 800, loss: 0.1 };

export type Level = 'good' | 'fair' | 'poor' | 'lost';

/** How well media and data reach a peer and come back. */
export interface Quality {
  readonly level: Level;
  readonly rttMs: number | undefined;
  /** Share of lost packets from the peer, 0 to 1. */
  readonly lossIn: number;
  /** Share of lost packets to the peer, 0 to 1. */
  readonly lossOut: number;
}

/** Measures the quality of every connection. */
export class QualityMeter {
  readonly #mesh: Mesh;
  readonly #onChange: () => void;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #quality = new WeakMap<Peer, Quality>();
  readonly #counts = new WeakMap<RTCPeerConnection, { received: number; lost: number }>();

  /** `onChange` is called after each measurement. */
  constructor(mesh: Mesh, onChange: () => void) {
    this.#mesh = mesh;
    this.#onChange = onChange;
    this.#timer = setInterval(() => void this.#measureAll(), INTERVAL_MS);
  }

  /** The last measurement while connected. */
  of(peer: Peer): Quality | undefined {
    if (peer.state === 'disconnected' || peer.state === 'failed') {
      return { level: 'lost', rttMs: undefined, lossIn: 0, lossOut: 0 };
    }
    return peer.state === 'connected' ? this.#quality.get(peer) : undefined;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #measureAll(): Promise<void> {
    await Promise.all([...this.#mesh.peers.values()].map((peer) => this.#measure(peer)));
    this.#onChange();
  }

  async #measure(peer: Peer): Promise<void> {
    if (peer.state !== 'connected') return;
    const { connection } = peer;
    const stats = [...(await connection.getStats()).values()] as Record<string, unknown>[];
    const numbers = (type: string, key: string) =>
      stats.flatMap((stat) =>
        // Candidate pairs that are not in use keep old values.
        stat['type'] === type && typeof stat[key] === 'number' && stat['nominated'] !== false ? [stat[key]] : [],
      );
    const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
    const now = {
      received: sum(numbers('inbound-rtp', 'packetsReceived')),
      lost: sum(numbers('inbound-rtp', 'packetsLost')),
    };
    const before = this.#counts.get(connection) ?? { received: 0, lost: 0 };
    this.#counts.set(connection, now);
    const lost = Math.max(0, now.lost - before.lost);
    const total = lost + now.received - before.received;
    const lossIn = total > 0 ? lost / total : 0;
    const lossOut = Math.max(0, ...numbers('remote-inbound-rtp', 'fractionLost'));
    const rtts = [
      ...numbers('remote-inbound-rtp', 'roundTripTime'),
      ...numbers('candidate-pair', 'currentRoundTripTime'),
    ];
    const rttMs = rtts.length > 0 ? Math.round(Math.max(...rtts) * 1_000) : undefined;
    this.#quality.set(peer, { level: levelOf(rttMs ?? 0, Math.max(lossIn, lossOut)), rttMs, lossIn, lossOut });
  }
}

function levelOf(rttMs: number, loss: number): Level {
  if (rttMs > POOR.rttMs || loss > POOR.loss) return 'poor';
  return rttMs > FAIR.rttMs || loss > FAIR.loss ? 'fair' : 'good';
}

/** The level of the sound that a peer sends, 0 to 1. */
export function audioLevel({ connection }: Peer): number {
  const receivers = connection.getReceivers().filter(({ track }) => track.kind === 'audio');
  const levels = receivers.flatMap((receiver) =>
    receiver.getSynchronizationSources().map(({ audioLevel }) => audioLevel ?? 0),
  );
  return Math.max(0, ...levels);
}
