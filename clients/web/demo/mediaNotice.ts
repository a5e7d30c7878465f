import { byId } from './dom.js';
import type { LocalMedia } from './localMedia.js';
import { mediaText } from './mediaText.js';

/** The notice about the own devices during a call, which the user can dismiss. */
export class MediaNotice {
  readonly #media: LocalMedia;
  #dismissed: string | undefined;

  constructor(media: LocalMedia, signal: AbortSignal) {
    this.#media = media;
    media.addEventListener('change', () => this.#show(), { signal });
    byId('media-notice-close').addEventListener(
      'click',
      () => {
        this.#dismissed = mediaText(media);
        this.#show();
        byId('mic-button').focus();
      },
      { signal },
    );
    this.#show();
  }

  #show(): void {
    const text = mediaText(this.#media);
    if (text !== this.#dismissed) this.#dismissed = undefined;
    byId('media-notice-text').textContent = text ?? '';
    byId('media-notice').hidden = text === undefined || text === this.#dismissed;
  }
}
