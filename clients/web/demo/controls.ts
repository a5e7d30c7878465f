import { byId } from './dom.js';
import { type LocalMedia, whyNoMedia } from './localMedia.js';
import { bindMediaButton } from './mediaButton.js';
import { ScreenShare } from './screenShare.js';

/** The buttons for devices at the bottom of a call. */
export function bindControls(media: LocalMedia, screen: ScreenShare, signal: AbortSignal): void {
  bindMediaButton(byId<HTMLButtonElement>('mic-button'), 'audio', media, signal, true);
  bindMediaButton(byId<HTMLButtonElement>('camera-button'), 'video', media, signal, true);
  bindFlip(media, signal);
  bindScreen(screen, signal);
}

/** Phones have a front and a rear camera. Elsewhere the device list is the better choice. */
function bindFlip(media: LocalMedia, signal: AbortSignal): void {
  const button = byId<HTMLButtonElement>('flip-button');
  const isTouch = matchMedia('(pointer: coarse)').matches;
  const show = async () => {
    const hasTwo = isTouch && !whyNoMedia() && (await media.list('video')).length > 1;
    button.hidden = !hasTwo || !media.track('video');
  };
  button.addEventListener('click', () => void media.flip(), { signal });
  media.addEventListener('change', () => void show(), { signal });
  void show();
}

function bindScreen(screen: ScreenShare, signal: AbortSignal): void {
  const button = byId<HTMLButtonElement>('screen-button');
  const show = () => {
    const label = screen.track ? 'Stop sharing your screen' : 'Share your screen';
    button.dataset['active'] = String(screen.track !== undefined);
    button.setAttribute('aria-label', label);
    button.title = `${label} (S)`;
  };
  button.hidden = !ScreenShare.isSupported;
  button.addEventListener('click', () => (screen.track ? screen.stop() : void screen.start()), { signal });
  screen.addEventListener('change', show, { signal });
  show();
}
