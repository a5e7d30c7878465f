import { element } from './dom.js';
import type { Kind, LocalMedia } from './localMedia.js';
import { rememberedDevice } from './storage.js';

const LABELS: Readonly<Record<Kind, string>> = { audio: 'Microphone', video: 'Camera' };

/** Lists the microphones and cameras to choose from, in the lobby and in the call. */
export function bindDeviceChoice(root: HTMLElement, media: LocalMedia, signal: AbortSignal): void {
  root.replaceChildren();
  for (const kind of ['audio', 'video'] as const) bindOne(root, kind, media, signal);
}

function bindOne(root: HTMLElement, kind: Kind, media: LocalMedia, signal: AbortSignal): void {
  const label = element('label', 'device', '');
  const select = element('select', '', '') as HTMLSelectElement;
  label.append(element('span', '', LABELS[kind]), select);
  select.dataset['testid'] = `choose-${kind}`;
  root.append(label);
  const show = async () => {
    const devices = await media.list(kind);
    const current = media.track(kind)?.getSettings().deviceId ?? rememberedDevice(kind);
    const options = devices.map(({ deviceId, label }, index) => {
      const option = element('option', '', label || `${LABELS[kind]} ${index + 1}`) as HTMLOptionElement;
      option.value = deviceId;
      option.selected = deviceId === current;
      return option;
    });
    select.replaceChildren(...options);
    // Before access is allowed, browsers hide what there is to choose from.
    label.hidden = options.length === 0;
  };
  select.addEventListener('change', () => void media.choose(kind, select.value), { signal });
  media.addEventListener('change', () => void show(), { signal });
  void show();
}
