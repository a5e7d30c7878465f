import { byId, find } from './dom.js';

/** A panel next to the tiles, with the button that opens it. */
interface Panel {
  readonly root: HTMLElement;
  readonly button: HTMLElement;
  readonly onShow: () => void;
}

/** The panels of the call: closed at first, and at most one is open. */
export class Panels {
  readonly #panels = new Map<string, Panel>();
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Adds a panel. `onShow` is called when the user opens it, and may move the focus. */
  add(id: string, buttonId: string, onShow: () => void): void {
    const panel = { root: byId(id), button: byId(buttonId), onShow };
    const options = { signal: this.#signal };
    this.#panels.set(id, panel);
    panel.button.addEventListener('click', () => this.toggle(id), options);
    find(panel.root, '.panel-close').addEventListener('click', () => this.close(id), options);
    panel.root.addEventListener('keydown', (event) => event.key === 'Escape' && this.close(id), options);
    this.#show(panel, false);
  }

  isOpen(id: string): boolean {
    return this.#panels.get(id)?.root.hidden === false;
  }

  toggle(id: string): void {
    if (this.isOpen(id)) this.close(id);
    else this.open(id);
  }

  open(id: string): void {
    for (const [key, panel] of this.#panels) this.#show(panel, key === id);
    this.#panels.get(id)?.onShow();
  }

  /** Closes the panel and returns the focus to its button. */
  close(id: string): void {
    const panel = this.#panels.get(id);
    if (!panel || panel.root.hidden) return;
    const hadFocus = panel.root.contains(document.activeElement);
    this.#show(panel, false);
    if (hadFocus) panel.button.focus();
  }

  #show({ root, button }: Panel, open: boolean): void {
    root.hidden = !open;
    button.setAttribute('aria-expanded', String(open));
  }
}
