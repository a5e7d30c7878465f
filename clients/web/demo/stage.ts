import { byId } from './dom.js';
import { Tile, type TileView } from './tile.js';

const GAP = 10;
const RATIO = 16 / 9;
const MIN_TILE_WIDTH = 130;

/**
 * The tiles, in one of these layouts:
 *
 * - `alone`: the own picture in a corner, next to the invitation.
 * - `pair`: the other member large, the own picture in a corner.
 * - `grid`: equal tiles, from three on.
 * - `focus`: a pinned tile or a shared screen large, the others in a row below.
 */
export class Stage {
  readonly #root = byId('stage');
  readonly #tiles = byId('tiles');
  readonly #byKey = new Map<string, Tile>();
  readonly #resize = new ResizeObserver(() => this.#arrange());
  readonly #onBlocked: () => void;
  readonly #onRemove: (key: string) => void;
  // A key: the user's choice. null: the user has unpinned what would be large by itself.
  #pinned: string | null | undefined;

  /** `onBlocked` is called when the browser blocks sound, `onRemove` when the user removes the member of a tile. */
  constructor(onBlocked: () => void, onRemove: (key: string) => void) {
    this.#onBlocked = onBlocked;
    this.#onRemove = onRemove;
    this.#tiles.replaceChildren();
    this.#resize.observe(this.#tiles);
  }

  /** Shows these tiles, in this order, and no others. */
  show(views: readonly TileView[]): void {
    const keys = new Set(views.map(({ key }) => key));
    for (const [key, tile] of this.#byKey) {
      if (keys.has(key)) continue;
      tile.close();
      this.#byKey.delete(key);
      if (this.#pinned === key) this.#pinned = undefined;
    }
    for (const view of views) {
      // A screen that is shared now is large, whatever was unpinned before.
      const isNewScreen = view.kind === 'screen' && !this.#byKey.has(view.key);
      if (isNewScreen && this.#pinned === null) this.#pinned = undefined;
      this.#tile(view.key).show(view);
    }
    this.#arrange();
  }

  /** The tiles by key, for what changes often. */
  get tiles(): ReadonlyMap<string, Tile> {
    return this.#byKey;
  }

  /** Pins the next tile, and after the last one none. */
  pinNext(): void {
    const keys = [...this.#byKey.keys()];
    const next = keys[keys.indexOf(this.#pinned ?? '') + 1];
    this.#pinned = next ?? null;
    this.#arrange();
  }

  /** Plays what the browser has blocked. */
  retryPlayback(): void {
    for (const tile of this.#byKey.values()) tile.retryPlayback();
  }

  close(): void {
    this.#resize.disconnect();
    for (const tile of this.#byKey.values()) tile.close();
  }

  #tile(key: string): Tile {
    const existing = this.#byKey.get(key);
    if (existing) return existing;
    const tile = new Tile(this.#onBlocked);
    tile.pin.addEventListener('click', () => {
      this.#pinned = tile.pin.getAttribute('aria-pressed') === 'true' ? null : key;
      this.#arrange();
    });
    tile.remove.addEventListener('click', () => this.#onRemove(key));
    this.#byKey.set(key, tile);
    this.#tiles.append(tile.root);
    return tile;
  }

  #arrange(): void {
    const tiles = [...this.#byKey];
    const kindOf = (tile: Tile) => tile.view?.kind;
    const screen =
      tiles.find(([, tile]) => kindOf(tile) === 'screen') ?? tiles.find(([, tile]) => kindOf(tile) === 'own-screen');
    const pinned = this.#pinned ?? (this.#pinned === null ? undefined : screen?.[0]);
    const layout = tiles.length < 2 ? 'alone' : tiles.length === 2 ? 'pair' : pinned ? 'focus' : 'grid';
    const large = pinned ?? (layout === 'pair' ? tiles.find(([, tile]) => kindOf(tile) !== 'own')?.[0] : undefined);
    this.#root.dataset['layout'] = layout;
    this.#tiles.style.setProperty('--count', String(tiles.length));
    if (layout === 'grid') this.#sizeGrid(tiles.length);
    for (const [key, tile] of tiles) {
      tile.root.classList.toggle('large', key === large && layout !== 'alone');
      tile.showPinned(key === pinned);
      tile.fit();
    }
  }

  /** Chooses the number of columns that makes 16:9 tiles largest. */
  #sizeGrid(count: number): void {
    const { clientWidth, clientHeight } = this.#tiles;
    let best = 0;
    for (let columns = 1; columns <= count; columns += 1) {
      const rows = Math.ceil(count / columns);
      const width = (clientWidth - GAP * (columns - 1)) / columns;
      const height = (clientHeight - GAP * (rows - 1)) / rows;
      best = Math.max(best, Math.min(width, height * RATIO));
    }
    this.#tiles.style.setProperty('--tile-width', `${Math.floor(Math.max(best, MIN_TILE_WIDTH))}px`);
  }
}
