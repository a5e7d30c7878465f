import type { Mesh, Peer } from '../src/index.js';
import { SignalError } from '../src/index.js';
import { takeToken } from './token.js';

/** Topic of the data with which a share (scripts/share.sh) announces its new address. */
const TOPIC = 'signalbox.address';
/** Identities reserved by a share, for itself and for the user who runs it. */
const SHARE_IDENTITY = 'share';
const HOST_IDENTITY = 'host';

/** A new address of the server. */
export interface AddressChange {
  /** The link to this page at the new address. */
  readonly link: string;
  /** Whether the session moved there. If not, this page cannot reach the new address. */
  readonly followed: boolean;
}

/**
 * Moves the session to a new address of the server and calls `onChange`. The server cannot notify visitors at the old
 * address, so the host's page, which is local to the server, forwards the address over data channels.
 * Returns the handler for data channel messages.
 */
export function watchAddress(
  mesh: Mesh,
  onChange: (change: AddressChange) => void,
): (peer: Peer, data: ArrayBuffer) => void {
  const { session } = mesh;
  const follow = async (address: string) => {
    const origin = portOfSameHost(address);
    // Without tokens identities are unverified, and the server is not shared.
    const token = takeToken();
    if (!origin || origin === session.url || !token) return;
    const link = `${origin}/?room=${session.room.name}#token=${token}`;
    try {
      await session.moveTo(origin);
      onChange({ link, followed: true });
    } catch (error) {
      const isObsolete = error instanceof SignalError && (error.reason === 'ENDED' || error.reason === 'ABORTED');
      if (!isObsolete) onChange({ link, followed: false });
    }
  };
  session.on('data', ({ from, topic, text }) => {
    if (topic !== TOPIC || session.members.get(from)?.identity !== SHARE_IDENTITY) return;
    mesh.broadcast(new TextEncoder().encode(JSON.stringify({ [TOPIC]: text })).buffer as ArrayBuffer);
    void follow(text);
  });
  return (peer, data) => {
    if (peer.member.identity === HOST_IDENTITY) void follow(addressIn(data));
  };
}

function addressIn(data: ArrayBuffer): string {
  try {
    const content: unknown = JSON.parse(new TextDecoder().decode(data));
    const address = content && typeof content === 'object' ? (content as Record<string, unknown>)[TOPIC] : undefined;
    return typeof address === 'string' ? address : '';
  } catch {
    return '';
  }
}

/** The origin of an address if it differs from this page in its port only, as it does with a tunnel server. */
function portOfSameHost(address: string): string | undefined {
  if (!URL.canParse(address)) return undefined;
  const { origin, hostname, protocol } = new URL(address);
  return hostname === location.hostname && protocol === location.protocol ? origin : undefined;
}
