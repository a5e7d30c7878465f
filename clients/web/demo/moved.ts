import type { Mesh, Peer } from '../src/index.js';
import { takeToken } from './token.js';

/** Topic of the data with which a share (scripts/share.sh) tells of its new address. */
const TOPIC = 'signalbox.address';
/** Identities that only a share gives out: its own, and that of the one who shares. */
const SHARE = 'share';
const HOST = 'host';

/**
 * Calls `moved` with a link to this room when its server is shared at another address. Who came by the old one cannot be
 * told by the server any more, so the page of the one who shares, on the server's own machine, tells the others directly.
 * Returns a function that takes what came through a data channel.
 */
export function watchAddress(mesh: Mesh, moved: (link: string) => void): (peer: Peer, data: ArrayBuffer) => void {
  mesh.session.on('data', ({ from, topic, text }) => {
    if (topic !== TOPIC || mesh.session.members.get(from)?.identity !== SHARE) return;
    mesh.broadcast(new TextEncoder().encode(JSON.stringify({ [TOPIC]: text })).buffer as ArrayBuffer);
    follow(text);
  });
  const follow = (address: string) => {
    const link = linkTo(address, mesh.session.room.name);
    if (link) moved(link);
  };
  return (peer, data) => {
    if (peer.member.identity === HOST) follow(addressIn(data));
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

/** The link of this page at that address, which must be the same host: another port of the tunnel server. */
function linkTo(address: string, room: string): string | undefined {
  if (!URL.canParse(address)) return undefined;
  const { origin, hostname, protocol } = new URL(address);
  if (hostname !== location.hostname || protocol !== location.protocol || origin === location.origin) return undefined;
  const token = takeToken();
  return `${origin}/?room=${room}${token ? `#token=${token}` : ''}`;
}
