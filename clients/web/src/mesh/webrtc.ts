import { SignalError } from '../errors.js';

/** The browser's WebRTC classes, or those of another implementation. */
export interface WebRtc {
  readonly RTCPeerConnection: new (configuration?: RTCConfiguration) => RTCPeerConnection;
  readonly MediaStream: new (tracks?: MediaStreamTrack[]) => MediaStream;
}

/**
 * Returns the classes of the browser.
 *
 * @throws SignalError with `UNSUPPORTED`.
 */
export function findWebRtc(): WebRtc {
  const { RTCPeerConnection, MediaStream } = globalThis as Partial<WebRtc>;
  if (RTCPeerConnection && MediaStream) return { RTCPeerConnection, MediaStream };
  throw SignalError.unsupported(
    'WebRTC is unavailable: this browser lacks or disables RTCPeerConnection. In Node, pass the option "webrtc".',
  );
}

/**
 * Checks that a connection can be created.
 *
 * @throws SignalError with `UNSUPPORTED`.
 */
export function checkWebRtc({ RTCPeerConnection }: WebRtc, configuration: RTCConfiguration | undefined): void {
  try {
    new RTCPeerConnection(configuration).close();
  } catch (error) {
    throw SignalError.unsupported(`the browser cannot create an RTCPeerConnection: ${String(error)}`, error);
  }
}

/**
 * Creates a connection. Omits ICE servers that the browser rejects, because a connection without them is better than
 * none. Throws if the browser rejects anything else.
 */
export function createConnection(
  webrtc: WebRtc,
  configuration: RTCConfiguration,
  onWarning: (error: unknown) => void,
): RTCPeerConnection {
  try {
    return new webrtc.RTCPeerConnection(configuration);
  } catch (error) {
    const { iceServers = [] } = configuration;
    const usable = iceServers.flatMap((server) => {
      const urls = [server.urls].flat().filter((url) => isUsable(webrtc, { ...server, urls: url }, onWarning));
      return urls.length > 0 ? [{ ...server, urls }] : [];
    });
    const count = (servers: readonly RTCIceServer[]) => servers.flatMap(({ urls }) => urls).length;
    if (count(usable) === count(iceServers)) throw error;
    return new webrtc.RTCPeerConnection({ ...configuration, iceServers: usable });
  }
}

function isUsable({ RTCPeerConnection }: WebRtc, server: RTCIceServer, onWarning: (error: unknown) => void): boolean {
  try {
    new RTCPeerConnection({ iceServers: [server] }).close();
    return true;
  } catch (error) {
    onWarning(error);
    return false;
  }
}
