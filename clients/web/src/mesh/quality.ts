/** Rating of a connection. `lost`: not connected. */
export type QualityLevel = 'good' | 'fair' | 'poor' | 'lost';

/** How well media and data flow, measured over the last two seconds. */
export interface Quality {
  readonly level: QualityLevel;
  /** Round-trip time in milliseconds, if known. */
  readonly rttMs: number | undefined;
  /** Share of the peer's packets that did not arrive here, 0 to 1. */
  readonly lossIn: number;
  /** Share of this client's packets that did not arrive at the peer, 0 to 1. */
  readonly lossOut: number;
  /** Received bits per second. */
  readonly bitrate: number;
  /** The direction with noticeable packet loss: `in` is what this client receives, `out` what it sends. */
  readonly side: 'in' | 'out' | 'both' | 'none';
}

/** The quality without a connection. */
export const LOST: Quality = { level: 'lost', rttMs: undefined, lossIn: 0, lossOut: 0, bitrate: 0, side: 'none' };

// ITU-T G.114 rates 150 ms one way (300 ms round trip) as good for speech, and 400 ms (800 ms) as the limit. Audio
// decoders conceal about 2 % loss, and video freezes often at 10 %.
const FAIR = { rttMs: 300, loss: 0.02 };
const POOR = { rttMs: 800, loss: 0.1 };

/** Counters of an earlier report. */
interface Counters {
  readonly at: number;
  readonly bytes: number;
  readonly received: number;
  readonly lost: number;
}

/** The fields used here; browsers omit some of them. */
interface Stat extends RTCStats {
  bytesReceived?: number;
  packetsReceived?: number;
  packetsLost?: number;
  fractionLost?: number;
  roundTripTime?: number;
  currentRoundTripTime?: number;
  nominated?: boolean;
  state?: string;
}

/** Derives the quality of one connection from successive statistics. */
export class QualityMeter {
  #before: Counters | undefined;

  /** Reads a report of `getStats`. */
  read(report: ReadonlyMap<string, unknown>): Quality {
    const stats = [...report.values()] as Stat[];
    const now = count(stats);
    const before = this.#before ?? { ...now, bytes: now.bytes, at: now.at - 1 };
    // Counters that decrease belong to a new connection.
    const isNew = now.bytes < before.bytes || now.received < before.received;
    this.#before = now;
    const received = isNew ? 0 : now.received - before.received;
    const lost = isNew ? 0 : Math.max(0, now.lost - before.lost);
    const remote = stats.filter(({ type }) => type === 'remote-inbound-rtp');
    const lossIn = received + lost > 0 ? lost / (received + lost) : 0;
    const lossOut = Math.max(0, ...remote.map(({ fractionLost = 0 }) => fractionLost));
    const rttMs = roundTripTime(stats, remote);
    const bitrate = isNew ? 0 : Math.round(((now.bytes - before.bytes) * 8_000) / Math.max(1, now.at - before.at));
    return {
      level: levelOf(Math.max(lossIn, lossOut), rttMs),
      rttMs,
      lossIn,
      lossOut,
      bitrate,
      side: sideOf(lossIn, lossOut),
    };
  }
}

function count(stats: readonly Stat[]): Counters {
  const inbound = stats.filter(({ type }) => type === 'inbound-rtp');
  const pairs = stats.filter(({ type }) => type === 'candidate-pair');
  return {
    at: Math.max(0, ...stats.map(({ timestamp }) => timestamp)),
    bytes: sum(pairs.map(({ bytesReceived }) => bytesReceived)),
    received: sum(inbound.map(({ packetsReceived }) => packetsReceived)),
    lost: sum(inbound.map(({ packetsLost }) => packetsLost)),
  };
}

function roundTripTime(stats: readonly Stat[], remote: readonly Stat[]): number | undefined {
  const pair = stats.find(
    ({ type, nominated, state }) => type === 'candidate-pair' && nominated && state === 'succeeded',
  );
  // Firefox reports the round-trip time only in `remote-inbound-rtp`.
  const seconds = pair?.currentRoundTripTime ?? remote.find(({ roundTripTime }) => roundTripTime)?.roundTripTime;
  return seconds === undefined ? undefined : Math.round(seconds * 1_000);
}

function levelOf(loss: number, rttMs = 0): QualityLevel {
  if (loss > POOR.loss || rttMs > POOR.rttMs) return 'poor';
  return loss > FAIR.loss || rttMs > FAIR.rttMs ? 'fair' : 'good';
}

function sideOf(lossIn: number, lossOut: number): Quality['side'] {
  if (lossIn > FAIR.loss && lossOut > FAIR.loss) return 'both';
  if (lossIn > FAIR.loss) return 'in';
  return lossOut > FAIR.loss ? 'out' : 'none';
}

function sum(values: readonly (number | undefined)[]): number {
  return values.reduce<number>((total, value) => total + (value ?? 0), 0);
}

/** Linear audio level from which a member counts as speaking: -40 dBov, above the noise of a quiet room. */
const SPEAKING_LEVEL = 0.01;

/** Whether the peer's audio is above `SPEAKING_LEVEL` in the packets that the browser played last. */
export function isSpeaking(connection: RTCPeerConnection): boolean {
  return connection
    .getReceivers()
    .filter(({ track }) => track.kind === 'audio')
    .some((receiver) =>
      // Some WebRTC implementations outside browsers lack this method.
      receiver.getSynchronizationSources?.().some(({ audioLevel = 0 }) => audioLevel > SPEAKING_LEVEL),
    );
}
