import { byId, element } from './dom.js';

const MAX_LINES = 500;
const MAX_TEXT = 2_000;
const NARROW = '(max-width: 860px)';

/** The chat panel. */
export class Chat {
  readonly #panel = byId('chat');
  readonly #log = byId('chat-log');
  readonly #input = byId<HTMLInputElement>('chat-input');
  readonly #button = byId('chat-button');
  readonly #badge = byId('unread');
  readonly #listening = new AbortController();
  #unread = 0;

  /** `send` is called with each text that the user submits. */
  constructor(send: (text: string) => void) {
    const options = { signal: this.#listening.signal };
    this.#log.replaceChildren();
    this.#input.value = '';
    byId('chat-form').addEventListener(
      'submit',
      (event) => {
        event.preventDefault();
        const text = this.#input.value.trim();
        this.#input.value = '';
        if (text) send(text);
      },
      options,
    );
    this.#button.addEventListener('click', () => this.#show(!this.#isShown(), true), options);
    byId('chat-close').addEventListener('click', () => this.#show(false, true), options);
    this.#panel.addEventListener('keydown', (event) => event.key === 'Escape' && this.#show(false, true), options);
    this.#show(!matchMedia(NARROW).matches, false);
  }

  /** Adds a chat message. */
  addMessage(sender: string, text: string, own: boolean): void {
    const line = document.createElement('li');
    if (own) line.className = 'own';
    line.append(element('span', 'sender', sender), element('span', 'text', text.slice(0, MAX_TEXT)));
    this.#append(line);
    if (!own && !this.#isShown()) this.#setUnread(this.#unread + 1);
  }

  /** Adds a notice about the call. */
  addNotice(text: string): void {
    this.#append(element('li', 'system', text));
  }

  close(): void {
    this.#listening.abort();
  }

  #isShown(): boolean {
    return this.#panel.hidden === false;
  }

  #append(line: HTMLElement): void {
    this.#log.append(line);
    while (this.#log.childElementCount > MAX_LINES) this.#log.firstElementChild?.remove();
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #show(shown: boolean, byUser: boolean): void {
    this.#panel.hidden = !shown;
    this.#button.setAttribute('aria-expanded', String(shown));
    if (shown) this.#setUnread(0);
    if (!byUser) return;
    if (shown) this.#input.focus();
    else this.#button.focus();
  }

  #setUnread(count: number): void {
    this.#unread = count;
    this.#badge.hidden = count === 0;
    this.#badge.textContent = count > 99 ? '99+' : String(count);
  }
}
