/** How often levels are measured, in milliseconds. */
const INTERVAL_MS = 100;

let context: AudioContext | undefined;

/** Calls `report` with the level of an audio track, 0 to 1, ten times a second. Returns a function that stops it. */
export function watchLevel(track: MediaStreamTrack, report: (level: number) => void): () => void {
  context ??= new AudioContext();
  const audio = context;
  const resume = () => void audio.resume();
  // Browsers start audio only after the user has interacted with the page.
  if (audio.state === 'suspended') document.addEventListener('pointerdown', resume, { once: true });
  resume();
  const source = audio.createMediaStreamSource(new MediaStream([track]));
  const analyser = audio.createAnalyser();
  analyser.fftSize = 1_024;
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    report(track.enabled ? Math.sqrt(sum / samples.length) : 0);
  }, INTERVAL_MS);
  return () => {
    clearInterval(timer);
    source.disconnect();
    document.removeEventListener('pointerdown', resume);
  };
}
