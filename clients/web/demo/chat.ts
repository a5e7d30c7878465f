import { announce } from './banner.js';
import { byId, element } from './dom.js';
import { linkify } from './linkify.js';
import type { Panels } from './panels.js';

const MAX_LINES = 500;
const MAX_TEXT = 2_000;

/** The chat panel. */
export class Chat {
  readonly #panels: Panels;
  readonly #scroll = byId('chat-scroll');
  readonly #log = byId('chat-log');
  readonly #input = byId<HTMLInputElement>('chat-input');
  readonly #button = byId('chat-button');
  readonly #badge = byId('unread');
  #unread = 0;

  /** `send` is called with each text that the user submits. */
  constructor(panels: Panels, signal: AbortSignal, send: (text: string) => void) {
    this.#panels = panels;
    this.#log.replaceChildren();
    this.#input.value = '';
    this.#setUnread(0);
    byId('chat-empty').hidden = false;
    byId('chat-form').addEventListener(
      'submit',
      (event) => {
        event.preventDefault();
        const text = this.#input.value.trim();
        this.#input.value = '';
        if (text) send(text);
      },
      { signal },
    );
    panels.add('chat', 'chat-button', () => {
      this.#setUnread(0);
      this.#scroll.scrollTop = this.#scroll.scrollHeight;
      this.#input.focus();
    });
  }

  /** Adds a chat message. */
  addMessage(sender: string, text: string, own: boolean): void {
    const line = document.createElement('li');
    if (own) line.className = 'own';
    const content = element('span', 'text', '');
    content.append(...linkify(text.slice(0, MAX_TEXT)));
    line.append(element('span', 'sender', sender), content);
    this.#append(line);
    byId('chat-empty').hidden = true;
    if (own || this.#panels.isOpen('chat')) return;
    this.#setUnread(this.#unread + 1);
    announce(`New message from ${sender}`);
  }

  /** Adds a notice about the call. */
  addNotice(text: string): void {
    this.#append(element('li', 'system', text));
    // The open log announces its lines itself.
    if (!this.#panels.isOpen('chat')) announce(text);
  }

  #append(line: HTMLElement): void {
    this.#log.append(line);
    while (this.#log.childElementCount > MAX_LINES) this.#log.firstElementChild?.remove();
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #setUnread(count: number): void {
    this.#unread = count;
    this.#badge.hidden = count === 0;
    this.#badge.textContent = count > 99 ? '99+' : String(count);
    const unread = count === 1 ? '1 unread message' : `${count} unread messages`;
    this.#button.setAttribute('aria-label', count === 0 ? 'Chat' : `Chat, ${unread}`);
  }
}
