import { type Kind, type LocalMedia, whyNoMedia } from './localMedia.js';

const LABELS: Readonly<Record<Kind, { on: string; off: string; key: string }>> = {
  audio: { on: 'Mute microphone', off: 'Unmute microphone', key: 'M' },
  video: { on: 'Turn camera off', off: 'Turn camera on', key: 'V' },
};

/**
 * Makes a button turn a device on and off. Its name is what a press does, so it has no aria-pressed, which screen
 * readers would combine to "Unmute microphone, pressed".
 */
export function bindMediaButton(
  button: HTMLButtonElement,
  kind: Kind,
  media: LocalMedia,
  signal: AbortSignal,
  withShortcut: boolean,
): void {
  const { on, off, key } = LABELS[kind];
  const show = () => {
    const label = media.isWanted(kind) ? on : off;
    button.dataset['off'] = String(!media.isWanted(kind));
    button.disabled = whyNoMedia() !== undefined;
    button.setAttribute('aria-label', label);
    button.title = withShortcut ? `${label} (${key})` : label;
  };
  button.addEventListener('click', () => void media.setOn(kind, !media.isWanted(kind)), { signal });
  media.addEventListener('change', show, { signal });
  show();
}
