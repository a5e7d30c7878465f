import { byId } from './dom.js';

const BRIEF_MS = 3_000;

/** The line at the top of the page: one text at a time, or else a lasting notice. */
export class Banner {
  readonly #banner = byId('banner');
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lasting: (string | HTMLElement)[] = [];

  /** Shows a text until the next call. */
  show(text: string): void {
    this.#render([text], '');
  }

  /** Shows good news for a moment. */
  showBriefly(text: string): void {
    this.#render([text], 'good');
    this.#timer = setTimeout(() => this.clear(), BRIEF_MS);
  }

  /** Sets what is shown while there is nothing else. */
  setLasting(content: (string | HTMLElement)[]): void {
    this.#lasting = content;
    this.clear();
  }

  /** Returns to the lasting notice, if any. */
  clear(): void {
    this.#render(this.#lasting, '');
  }

  /** Removes everything. */
  close(): void {
    this.setLasting([]);
  }

  #render(content: (string | HTMLElement)[], kind: string): void {
    clearTimeout(this.#timer);
    this.#banner.replaceChildren(...content);
    this.#banner.hidden = content.length === 0;
    this.#banner.className = `banner ${kind}`.trim();
  }
}

/** Reports an event to screen readers, without anything to see. */
export function announce(text: string): void {
  byId('announcer').textContent = text;
}
