import type { QualityLevel } from '../src/index.js';
import { byId, find } from './dom.js';
import { initials } from './names.js';
import type { TileState } from './text.js';

const COLORS = 6;
/** A picture is cropped to fill its tile if at least this share of it stays visible. */
const MIN_VISIBLE = 0.55;

const TEST_IDS = {
  own: 'local-tile',
  member: 'member-tile',
  'own-screen': 'local-screen-tile',
  screen: 'screen-tile',
} as const;

/** What a tile shows. */
export interface TileView {
  /** Identifies the tile in the stage. */
  readonly key: string;
  /** The name of the member, without additions. */
  readonly name: string;
  readonly kind: 'own' | 'member' | 'own-screen' | 'screen';
  readonly tracks: readonly (MediaStreamTrack | undefined)[];
  readonly micOff: boolean;
  readonly mirrored: boolean;
  readonly state: TileState | undefined;
  readonly level: QualityLevel | undefined;
  /** State in a word or two, next to the name. */
  readonly status: string;
  /** State as a sentence in the middle, for what needs attention. */
  readonly message: string;
  /** Name and state for screen readers. */
  readonly description: string;
  /** Whether the user may remove the member from the room. */
  readonly removable: boolean;
  readonly data: Readonly<Record<string, string | undefined>>;
}

/** The picture of a member, or a shared screen. */
export class Tile {
  readonly root: HTMLElement;
  readonly pin: HTMLButtonElement;
  readonly remove: HTMLButtonElement;
  readonly #video: HTMLVideoElement;
  readonly #stream = new MediaStream();
  readonly #onBlocked: () => void;
  #view: TileView | undefined;

  /** `onBlocked` is called when the browser blocks sound. */
  constructor(onBlocked: () => void) {
    const template = byId('tile-template') as unknown as HTMLTemplateElement;
    this.root = find<HTMLElement>(template.content.cloneNode(true) as DocumentFragment, '.tile');
    this.pin = find<HTMLButtonElement>(this.root, '.pin');
    this.remove = find<HTMLButtonElement>(this.root, '.remove');
    this.#video = find<HTMLVideoElement>(this.root, 'video');
    this.#onBlocked = onBlocked;
    this.#video.srcObject = this.#stream;
    this.#video.addEventListener('resize', () => this.fit());
  }

  /** The view shown last. */
  get view(): TileView | undefined {
    return this.#view;
  }

  show(view: TileView): void {
    this.#view = view;
    const { root } = this;
    const isScreen = view.kind === 'screen' || view.kind === 'own-screen';
    const isOwn = view.kind === 'own' || view.kind === 'own-screen';
    this.#play(view.tracks, isOwn);
    const hasVideo = view.tracks.some((track) => track?.kind === 'video');
    for (const [name, on] of [
      ['no-video', !hasVideo],
      ['no-audio', view.micOff],
      ['mirrored', view.mirrored],
      ['is-screen', isScreen],
      ['needs-attention', view.message !== ''],
    ] as const)
      root.classList.toggle(name, on);
    root.setAttribute('aria-label', view.description);
    root.dataset['testid'] = TEST_IDS[view.kind];
    for (const [key, value] of Object.entries({ ...view.data, state: view.state, level: view.level })) {
      if (value === undefined) delete root.dataset[key];
      else root.dataset[key] = value;
    }
    setText(find(root, '.name'), titleOf(view));
    setText(find(root, '.status'), view.status);
    setText(find(root, '.tile-message'), view.message);
    const avatar = find(root, '.avatar');
    setText(avatar, initials(view.name));
    avatar.className = `avatar c${[...view.name].reduce((sum, char) => sum + char.charCodeAt(0), 0) % COLORS}`;
    this.remove.hidden = !view.removable;
    this.remove.setAttribute('aria-label', `Remove ${view.name}`);
    this.remove.title = `Remove ${view.name}`;
    this.fit();
  }

  showPinned(pinned: boolean): void {
    const label = `Pin ${this.#view ? titleOf(this.#view) : ''}`;
    this.pin.setAttribute('aria-pressed', String(pinned));
    this.pin.setAttribute('aria-label', label);
    this.pin.title = pinned ? 'Unpin' : label;
  }

  showSpeaking(speaking: boolean): void {
    this.root.classList.toggle('speaking', speaking);
  }

  /** Chooses between cropping the picture to fill the tile and showing more of it. */
  fit(): void {
    const { videoWidth, videoHeight } = this.#video;
    const { clientWidth, clientHeight } = this.root;
    if (!videoWidth || !videoHeight || !clientWidth || !clientHeight) return;
    const ratio = videoWidth / videoHeight / (clientWidth / clientHeight);
    this.root.classList.toggle('too-wide', ratio > 1 / MIN_VISIBLE);
    this.root.classList.toggle('too-high', ratio < MIN_VISIBLE);
  }

  /** Plays again after the user has interacted with the page. */
  retryPlayback(): void {
    this.#video.play().catch(() => {});
  }

  close(): void {
    this.#video.srcObject = null;
    this.root.remove();
  }

  #play(tracks: TileView['tracks'], muted: boolean): void {
    const wanted = new Set(tracks.filter((track) => track !== undefined));
    const current = this.#stream.getTracks();
    const added = [...wanted].filter((track) => !current.includes(track));
    for (const track of current) if (!wanted.has(track)) this.#stream.removeTrack(track);
    for (const track of added) this.#stream.addTrack(track);
    this.#video.muted = muted;
    if (added.length === 0) return;
    this.#video.play().catch((error) => {
      // Browsers block sound until the user interacts with the page.
      if (error instanceof DOMException && error.name === 'NotAllowedError') this.#onBlocked();
    });
  }
}

/** What a tile is called in the label and in the names of its buttons. */
function titleOf({ kind, name }: TileView): string {
  return { own: 'You', member: name, 'own-screen': 'Your screen', screen: `Screen of ${name}` }[kind];
}

/** Leaves equal text alone, so that screen readers and selections are not disturbed. */
function setText(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}
