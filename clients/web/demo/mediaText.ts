import { type Kind, type LocalMedia, type Trouble, whyNoMedia } from './localMedia.js';

const NAMES: Readonly<Record<Kind, string>> = { audio: 'microphone', video: 'camera' };
/** What still works without the device. */
const REST: Readonly<Record<Kind, string>> = {
  audio: 'The others cannot hear you.',
  video: 'The others cannot see you.',
};

/** Describes what is wrong with the own devices, or returns undefined. */
export function mediaText(media: LocalMedia): string | undefined {
  const impossible = whyNoMedia();
  if (impossible) return impossible;
  const [audio, video] = [media.trouble('audio'), media.trouble('video')];
  if (audio && audio === video) return bothText(audio);
  const texts = [audio && oneText('audio', audio), video && oneText('video', video)].filter(Boolean);
  return texts.length > 0 ? texts.join(' ') : undefined;
}

function bothText(trouble: Trouble): string {
  const rest = 'You can still see and hear the others, and chat.';
  switch (trouble) {
    case 'blocked':
      return `Camera and microphone are not allowed for this page. Allow them in the address bar, then turn them on. ${rest}`;
    case 'missing':
      return `No camera or microphone was found. ${rest}`;
    case 'busy':
      return `Camera and microphone are in use by another program. Close it, then turn them on. ${rest}`;
    case 'unplugged':
      return `Your camera and microphone were unplugged. Connect them, then turn them on. ${rest}`;
    case 'failed':
      return `Camera and microphone could not be opened. ${rest}`;
  }
}

function oneText(kind: Kind, trouble: Trouble): string {
  const name = NAMES[kind];
  switch (trouble) {
    case 'blocked':
      return `The ${name} is not allowed for this page. Allow it in the address bar, then turn it on.`;
    case 'missing':
      return `No ${name} was found. ${REST[kind]}`;
    case 'busy':
      return `Your ${name} is in use by another program. Close it, then turn the ${name} on.`;
    case 'unplugged':
      return `Your ${name} was unplugged. Connect it or choose another, then turn it on.`;
    case 'failed':
      return `The ${name} could not be opened. ${REST[kind]}`;
  }
}
