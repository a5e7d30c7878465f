import { bindDeviceChoice } from './deviceChoice.js';
import { byId } from './dom.js';
import { watchLevel } from './level.js';
import { type LocalMedia, whyNoMedia } from './localMedia.js';
import { bindMediaButton } from './mediaButton.js';
import { mediaText } from './mediaText.js';

/** The own picture and microphone level before joining. */
export class Preview {
  readonly #media: LocalMedia;
  readonly #listening = new AbortController();
  readonly #video = byId<HTMLVideoElement>('preview-video');
  #levelOf: MediaStreamTrack | undefined;
  #stopLevel: (() => void) | undefined;

  constructor(media: LocalMedia) {
    this.#media = media;
    const { signal } = this.#listening;
    bindMediaButton(byId<HTMLButtonElement>('lobby-mic'), 'audio', media, signal, false);
    bindMediaButton(byId<HTMLButtonElement>('lobby-camera'), 'video', media, signal, false);
    bindDeviceChoice(byId('lobby-devices'), media, signal);
    byId('preview-open').addEventListener('click', () => void media.open(), { signal });
    media.addEventListener('change', () => this.#show(), { signal });
    this.#show();
  }

  close(): void {
    this.#listening.abort();
    this.#stopLevel?.();
    this.#video.srcObject = null;
  }

  #show(): void {
    const media = this.#media;
    const camera = media.track('video');
    const tile = byId('preview-tile');
    tile.classList.toggle('no-video', !camera);
    tile.classList.toggle('mirrored', media.isMirrored);
    if (camera && !(this.#video.srcObject instanceof MediaStream && this.#video.srcObject.getTracks()[0] === camera)) {
      this.#video.srcObject = new MediaStream([camera]);
    } else if (!camera) {
      this.#video.srcObject = null;
    }
    byId('preview-text').textContent = camera ? '' : this.#text();
    byId('preview-open').hidden = whyNoMedia() !== undefined || media.isOpening || !media.canOpen;
    this.#showLevel();
  }

  #text(): string {
    const media = this.#media;
    const problem = mediaText(media);
    if (problem) return problem;
    if (media.isOpening) return 'Allow camera and microphone when your browser asks.';
    if (!media.isWanted('video')) return 'Your camera is off.';
    return 'Your browser asks for camera and microphone when you join.';
  }

  #showLevel(): void {
    const microphone = this.#media.track('audio');
    byId('level-field').hidden = !microphone;
    if (microphone === this.#levelOf) return;
    this.#stopLevel?.();
    this.#levelOf = microphone;
    const meter = byId<HTMLMeterElement>('level');
    this.#stopLevel = microphone && watchLevel(microphone, (level) => (meter.value = level));
  }
}
