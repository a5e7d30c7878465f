import { SignalError } from '../src/index.js';
import { byId } from './dom.js';
import { isAllowed, type LocalMedia } from './localMedia.js';
import { isRoomName, suggestRoomName } from './names.js';
import { Preview } from './preview.js';
import { rememberedName, rememberName } from './storage.js';
import { reasonText } from './text.js';

/** How long a join may take before the page says that the server does not respond, in milliseconds. */
const SLOW_MS = 3_000;

/** What the user filled in. */
export interface JoinForm {
  readonly room: string;
  readonly displayName: string;
  readonly passcode: string;
}

const room = byId<HTMLInputElement>('room-input');
const displayName = byId<HTMLInputElement>('name-input');
const passcode = byId<HTMLInputElement>('passcode-input');
const button = byId<HTMLButtonElement>('join-button');
const withoutMedia = byId<HTMLButtonElement>('join-without');
const cancel = byId<HTMLButtonElement>('cancel-join');

/** The form in front of a call, with a preview. Joins only when the user asks for it. */
export class Lobby {
  readonly #media: LocalMedia;
  readonly #join: (form: JoinForm, signal: AbortSignal) => Promise<void>;
  #preview: Preview | undefined;
  #attempt: AbortController | undefined;

  /** `join` enters the room, and throws a SignalError if that fails. */
  constructor(media: LocalMedia, join: (form: JoinForm, signal: AbortSignal) => Promise<void>) {
    this.#media = media;
    this.#join = join;
    byId('join-form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (!this.#attempt) void this.#enter();
    });
    byId('suggest').addEventListener('click', () => {
      room.value = suggestRoomName();
    });
    withoutMedia.addEventListener('click', () => media.abandon());
    cancel.addEventListener('click', () => this.#attempt?.abort());
    // Without a question to the user, the preview can start at once.
    void isAllowed().then((allowed) => {
      if (allowed && this.#preview && !this.#attempt) void media.open();
    });
  }

  /** Shows the lobby, with an error if given. */
  show(error?: string): void {
    byId('lobby').hidden = false;
    const wanted = new URLSearchParams(location.search).get('room') ?? '';
    if (wanted) room.value = wanted;
    else if (!room.value) room.value = suggestRoomName();
    displayName.value ||= rememberedName();
    document.title = wanted ? `Join ${wanted} – Signalbox` : 'Signalbox';
    this.#preview ??= new Preview(this.#media);
    this.#showError(error);
    this.#showStep('ready');
    (displayName.value ? button : displayName).focus();
  }

  #hide(): void {
    byId('lobby').hidden = true;
    this.#preview?.close();
    this.#preview = undefined;
  }

  async #enter(): Promise<void> {
    const form = { room: room.value.trim(), displayName: displayName.value.trim(), passcode: passcode.value };
    const valid = isRoomName(form.room);
    room.setAttribute('aria-invalid', String(!valid));
    this.#showError(valid ? undefined : reasonText('INVALID_ROOM_NAME'));
    if (!valid) return room.focus();
    rememberName(form.displayName);
    const attempt = new AbortController();
    this.#attempt = attempt;
    try {
      await this.#askForMedia(attempt.signal);
      if (attempt.signal.aborted) return;
      this.#showStep('joining');
      await this.#join(form, attempt.signal);
      this.#hide();
    } catch (error) {
      if (!(error instanceof SignalError)) throw error;
      if (error.reason !== 'ABORTED') this.#explain(error);
    } finally {
      this.#attempt = undefined;
      this.#showStep('ready');
    }
  }

  /** Waits for the user's answer, unless the user joins without camera and microphone or cancels. */
  async #askForMedia(signal: AbortSignal): Promise<void> {
    const media = this.#media;
    if (media.canOpen) void media.open();
    if (!media.isOpening) return;
    this.#showStep('asking');
    await new Promise<void>((resolve) => {
      const done = new AbortController();
      const check = () => {
        if (media.isOpening && !signal.aborted) return;
        done.abort();
        resolve();
      };
      media.addEventListener('change', check, { signal: done.signal });
      signal.addEventListener('abort', check, { signal: done.signal });
    });
  }

  #showStep(step: 'ready' | 'asking' | 'joining'): void {
    const labels = { ready: 'Join', asking: 'Waiting for camera and microphone…', joining: 'Joining…' };
    button.textContent = labels[step];
    // Unlike `disabled`, this keeps the focus on the button.
    button.setAttribute('aria-disabled', String(step !== 'ready'));
    withoutMedia.hidden = step !== 'asking';
    cancel.hidden = step === 'ready';
    const status = byId('join-status');
    status.textContent =
      step === 'asking' ? 'Answer the question of your browser, or join without and turn them on later.' : '';
    if (step !== 'joining') return;
    const attempt = this.#attempt;
    setTimeout(() => {
      if (attempt && attempt === this.#attempt) status.textContent = 'The server does not respond yet. Still trying…';
    }, SLOW_MS);
  }

  #explain(error: SignalError): void {
    if (error.reason !== 'PASSCODE_WRONG') {
      this.#showError(reasonText(error.reason, error));
      return;
    }
    const first = byId('passcode-field').hidden;
    byId('passcode-field').hidden = false;
    passcode.focus();
    this.#showError(first ? 'This room requires a passcode.' : reasonText(error.reason));
  }

  #showError(text: string | undefined): void {
    const error = byId('join-error');
    error.hidden = text === undefined;
    error.textContent = text ?? '';
  }
}
