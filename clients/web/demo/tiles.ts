import type { Peer } from '../src/index.js';
import { byId, find } from './dom.js';
import { initials } from './names.js';
import { stateText, tileState } from './text.js';

const GAP = 10;
const RATIO = 16 / 9;
const COLORS = 6;

/** What a tile shows in addition to the video. */
interface TileLabel {
  name: string;
  audio: boolean;
  video: boolean;
}

class Tile {
  readonly root: HTMLElement;
  readonly #video: HTMLVideoElement;
  readonly #onBlocked: () => void;

  constructor(onBlocked: () => void) {
    const template = byId('tile-template') as unknown as HTMLTemplateElement;
    this.root = find<HTMLElement>(template.content.cloneNode(true) as DocumentFragment, '.tile');
    this.#video = find<HTMLVideoElement>(this.root, 'video');
    this.#onBlocked = onBlocked;
  }

  play(stream: MediaStream, muted: boolean): void {
    if (this.#video.srcObject === stream) return;
    this.#video.muted = muted;
    this.#video.srcObject = stream;
    this.#video.play().catch((error) => {
      // Browsers block sound until the user interacts with the page.
      if (error instanceof DOMException && error.name === 'NotAllowedError') this.#onBlocked();
    });
  }

  /** Plays again after the user has interacted with the page. */
  retryPlayback(): void {
    this.#video.play().catch(() => {});
  }

  show(label: TileLabel, status: string): void {
    this.root.classList.toggle('no-video', !label.video);
    this.root.classList.toggle('no-audio', !label.audio);
    find(this.root, '.name').textContent = label.name;
    find(this.root, '.status').textContent = status;
    const avatar = find(this.root, '.avatar');
    avatar.textContent = initials(label.name);
    avatar.className = `avatar c${[...label.name].reduce((sum, char) => sum + char.charCodeAt(0), 0) % COLORS}`;
  }
}

/** The video grid: the own tile and one per member, as large as possible. */
export class Tiles {
  readonly #grid = byId('grid');
  readonly #own: Tile;
  readonly #others = new Map<Peer, Tile>();
  readonly #resize = new ResizeObserver(() => this.#arrange());
  readonly #onBlocked: () => void;

  /** `onBlocked` is called when the browser blocks sound. */
  constructor(onBlocked: () => void) {
    this.#onBlocked = onBlocked;
    this.#grid.replaceChildren();
    this.#own = new Tile(() => {});
    this.#own.root.classList.add('mine');
    this.#own.root.dataset['testid'] = 'local-tile';
    this.#grid.append(this.#own.root);
    this.#resize.observe(this.#grid);
  }

  /** Number of tiles of other members. */
  get others(): number {
    return this.#others.size;
  }

  showOwn(stream: MediaStream | undefined, label: TileLabel): void {
    if (stream) this.#own.play(stream, true);
    this.#own.show({ ...label, name: `${label.name} (you)` }, '');
  }

  showPeer(peer: Peer): void {
    let tile = this.#others.get(peer);
    if (!tile) {
      tile = new Tile(this.#onBlocked);
      tile.root.dataset['testid'] = 'member-tile';
      this.#others.set(peer, tile);
      this.#grid.append(tile.root);
      this.#arrange();
    }
    const { member, stream, path } = peer;
    const state = tileState(member, peer.state);
    tile.root.dataset['memberId'] = member.memberId;
    tile.root.dataset['state'] = state;
    if (path) tile.root.dataset['path'] = `${path.local}/${path.remote} ${path.protocol}`;
    else delete tile.root.dataset['path'];
    const has = (kind: string) =>
      stream.getTracks().some((track) => track.kind === kind) &&
      member.attributes[kind] !== 'off' &&
      peer.state !== 'connecting';
    tile.play(stream, false);
    const status = stateText(state, peer.state, path && `${pathText(path.local, path.remote)}, ${path.protocol}`);
    tile.show({ name: nameOf(peer), audio: member.attributes['audio'] !== 'off', video: has('video') }, status);
  }

  removePeer(peer: Peer): void {
    this.#others.get(peer)?.root.remove();
    this.#others.delete(peer);
    this.#arrange();
  }

  /** Plays what the browser has blocked. */
  retryPlayback(): void {
    for (const tile of this.#others.values()) tile.retryPlayback();
  }

  close(): void {
    this.#resize.disconnect();
    this.#grid.replaceChildren();
  }

  /** Chooses the number of columns that makes 16:9 tiles largest. */
  #arrange(): void {
    const { clientWidth, clientHeight } = this.#grid;
    const count = this.#others.size + 1;
    let best = 0;
    for (let columns = 1; columns <= count; columns += 1) {
      const rows = Math.ceil(count / columns);
      const width = (clientWidth - GAP * (columns - 1)) / columns;
      const height = (clientHeight - GAP * (rows - 1)) / rows;
      best = Math.max(best, Math.min(width, height * RATIO));
    }
    this.#grid.style.setProperty('--tile-width', `${Math.floor(Math.max(best, 130))}px`);
  }
}

/** The display name of a peer. */
export function nameOf(peer: Peer): string {
  return peer.member.displayName || 'Guest';
}

function pathText(local: string, remote: string): string {
  const kinds = [local, remote];
  if (kinds.includes('relay')) return 'relay';
  if (kinds.every((kind) => kind === 'host')) return 'host';
  return kinds.includes('srflx') ? 'srflx' : 'prflx';
}
