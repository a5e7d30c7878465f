import type { Peer } from '../src/index.js';
import type { LocalMedia } from './localMedia.js';
import type { Publishing, RemoteMedia } from './publishing.js';
import { describe, messageText, stateText, tileState } from './text.js';
import type { TileView } from './tile.js';

/** Key of the own tile. */
export const OWN = 'own';

const keys = new WeakMap<Peer, string>();
let nextKey = 1;

/** The key of a peer's tile. Unlike its member_id it outlives a rejoin. */
export function keyOf(peer: Peer): string {
  let key = keys.get(peer);
  if (!key) {
    key = `peer-${nextKey}`;
    nextKey += 1;
    keys.set(peer, key);
  }
  return key;
}

/** The display name of a peer. */
export function nameOf(peer: Peer): string {
  return peer.member.displayName || 'Guest';
}

/** What the own tiles show: the camera, and the screen while it is shared. */
export function ownViews(name: string, media: LocalMedia, screen: MediaStreamTrack | undefined): TileView[] {
  const camera = media.track('video');
  const micOff = !media.isOn('audio');
  const common = { name, state: undefined, level: undefined, status: '', message: '', removable: false, data: {} };
  const own: TileView = {
    ...common,
    key: OWN,
    kind: 'own',
    tracks: [camera],
    micOff,
    mirrored: media.isMirrored,
    description: describe('You', [micOff && 'microphone off', !camera && 'camera off']),
  };
  if (!screen) return [own];
  const description = 'Your screen, which you share';
  return [
    { ...common, key: 'own-screen', kind: 'own-screen', tracks: [screen], micOff: false, mirrored: false, description },
    own,
  ];
}

/** What the tiles of a peer show: its camera, and its screen while it is shared. */
export function peerViews(peer: Peer, publishing: Publishing, removable: boolean): TileView[] {
  const media = publishing.mediaOf(peer);
  const name = nameOf(peer);
  const screen: TileView | undefined = media.screen && {
    ...common(peer),
    key: `${keyOf(peer)}-screen`,
    kind: 'screen',
    tracks: [media.screen],
    micOff: false,
    status: '',
    message: '',
    level: undefined,
    description: `Screen of ${name}`,
    removable: false,
    data: {},
  };
  const camera = { ...cameraView(peer, media), removable };
  return screen ? [screen, camera] : [camera];
}

function cameraView(peer: Peer, media: RemoteMedia): Omit<TileView, 'removable'> {
  const { member, path, state, quality, error } = peer;
  const micOff = member.attributes['audio'] === 'off';
  const tile = tileState(member, state);
  const status = stateText(tile, state, quality.level);
  // Before the connection is up there is nothing to show.
  const camera = state === 'connecting' ? undefined : media.camera;
  return {
    ...common(peer),
    key: keyOf(peer),
    kind: 'member',
    tracks: [media.microphone, camera],
    micOff,
    level: state === 'connected' && tile === 'connected' ? quality.level : undefined,
    status,
    message: messageText(state, error?.reason),
    description: describe(nameOf(peer), [
      tile === 'connected' ? `${quality.level} connection` : status,
      micOff && 'microphone off',
      !camera && 'camera off',
    ]),
    data: { memberId: member.memberId, path: path && `${path.local}/${path.remote} ${path.protocol}` },
  };
}

function common(peer: Peer) {
  return { name: nameOf(peer), mirrored: false, state: tileState(peer.member, peer.state) };
}
