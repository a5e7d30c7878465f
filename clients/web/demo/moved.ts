import type { Mesh, Peer } from '../src/index.js';
import { SignalError } from '../src/index.js';
import { takeToken } from './token.js';

/** Topic of the data with which a share (scripts/share.sh) tells of its new address. */
const TOPIC = 'signalbox.address';
/** Identities that only a share gives out: its own, and that of the one who shares. */
const SHARE = 'share';
const HOST = 'host';

/** What became of a new address. */
export interface Moved {
  /** The link of this page there. */
  readonly link: string;
  /** Whether the session has gone there; if not, the page cannot reach it from where it is. */
  readonly followed: boolean;
}

/**
 * Follows the server of this room to another address, and calls `moved` then. Who came by the old one cannot be told by
 * the server any more, so the page of the one who shares, on the server's own machine, tells the others directly.
 * Returns a function that takes what came through a data channel.
 */
export function watchAddress(mesh: Mesh, moved: (moved: Moved) => void): (peer: Peer, data: ArrayBuffer) => void {
  const { session } = mesh;
  const follow = async (address: string) => {
    const origin = portOfSameHost(address);
    // Where no token is asked for, identities are what members say, and nothing is shared.
    const token = takeToken();
    if (!origin || origin === session.url || !token) return;
    const link = `${origin}/?room=${session.room.name}#token=${token}`;
    try {
      await session.moveTo(origin);
      moved({ link, followed: true });
    } catch (error) {
      const isMoot = error instanceof SignalError && (error.reason === 'ENDED' || error.reason === 'ABORTED');
      if (!isMoot) moved({ link, followed: false });
    }
  };
  session.on('data', ({ from, topic, text }) => {
    if (topic !== TOPIC || session.members.get(from)?.identity !== SHARE) return;
    mesh.broadcast(new TextEncoder().encode(JSON.stringify({ [TOPIC]: text })).buffer as ArrayBuffer);
    void follow(text);
  });
  return (peer, data) => {
    if (peer.member.identity === HOST) void follow(addressIn(data));
  };
}

function addressIn(data: ArrayBuffer): string {
  try {
    const said: unknown = JSON.parse(new TextDecoder().decode(data));
    const address = said && typeof said === 'object' ? (said as Record<string, unknown>)[TOPIC] : undefined;
    return typeof address === 'string' ? address : '';
  } catch {
    return '';
  }
}

/** The origin of an address, which must be of the host that this page came from: another port of the tunnel server. */
function portOfSameHost(address: string): string | undefined {
  if (!URL.canParse(address)) return undefined;
  const { origin, hostname, protocol } = new URL(address);
  return hostname === location.hostname && protocol === location.protocol ? origin : undefined;
}
